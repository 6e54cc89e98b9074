"""Values, errors and deaths come out of a chamber, and nothing stays in it."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import psutil
import pytest

from harness.engines.base import EngineError
from harness.engines.block import available, disk, why_not_available
from harness.engines.block.chamber import Send, chamber
from harness.engines.block.filesystems import BlockOptionError, filesystem, mount_options
from tests.block.conftest import require

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def no_child_left() -> object:
    require("ext4")
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


class OddError(Exception):
    """An error whose pickle cannot be loaded."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def test_values_arrive_in_order() -> None:
    def work(send: Send) -> None:
        for number in range(1000):
            send(number)
        send(b"x" * 3_000_000)

    *numbers, last = chamber(work)
    assert numbers == list(range(1000))
    assert last == b"x" * 3_000_000


def test_errors_are_raised_here() -> None:
    def known(send: Send) -> NoReturn:
        send(1)
        raise BlockOptionError("no such thing")

    def odd(send: Send) -> NoReturn:
        raise OddError(1, 2)

    with pytest.raises(BlockOptionError, match="no such thing"):
        list(chamber(known))
    with pytest.raises(EngineError, match="OddError: 1 and 2"):
        list(chamber(odd))


def test_a_death_is_an_error() -> None:
    def work(send: Send) -> None:
        send(1)
        os.kill(os.getpid(), signal.SIGKILL)

    values = chamber(work)
    assert next(values) == 1
    with pytest.raises(EngineError, match="was killed"):
        next(values)


def test_an_iterator_that_is_closed_ends_the_work_and_the_helper() -> None:
    def work(send: Send) -> None:
        while True:
            send(os.getpid())

    values = chamber(work, helper=signal.pause)
    worker = next(values)
    assert len(psutil.Process().children(recursive=True)) >= 3
    values.close()
    assert not psutil.pid_exists(worker)


def test_availability_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not_available("ext4") == ""
    with pytest.raises(BlockOptionError, match="the block engine knows ext4, xfs, btrfs; did you mean btrfs"):
        why_not_available("btrf")
    for change, reason in (
        (lambda patch: patch.setattr(sys, "platform", "darwin"), "needs Linux; this is darwin"),
        (lambda patch: patch.setattr(os, "geteuid", lambda: 1000), "needs root"),
        (lambda patch: patch.setattr(available, "_DEVICES", ("/dev/nonexistent",)), "needs /dev/nonexistent"),
        (lambda patch: patch.setattr("shutil.which", lambda *_, **__: None), "mkfs.ext4 is not installed"),
    ):
        with monkeypatch.context() as patch:
            change(patch)
            why_not_available.cache_clear()
            assert reason in why_not_available("ext4")
    why_not_available.cache_clear()


def test_what_the_kernel_cannot_mount_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = filesystem("ext4")._replace(name="nofs")
    with pytest.raises(EngineError, match="cannot make a nofs: No such device"):
        available.empty_image(kind)
    with pytest.raises(EngineError, match=r"^mkfs\.ext4 failed: "):
        available.empty_image(kind._replace(make=("mkfs.ext4", "-b", "3")))


def test_what_fuse_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(1, "Operation not permitted", "mount of fuse")

    monkeypatch.setattr(disk, "mount_detached", refuse)
    why_not_available.cache_clear()
    reason = why_not_available("ext4")
    why_not_available.cache_clear()
    assert reason.startswith("no disk through /dev/fuse: ") and "Operation not permitted" in reason


def test_options_are_split_as_mount_takes_them() -> None:
    assert mount_options(filesystem("xfs"), " noatime,, logbsize=32k") == (
        ("nouuid", None),
        ("noatime", None),
        ("logbsize", "32k"),
    )
