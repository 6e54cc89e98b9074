"""The contract of the run store, held on a real file system and on a fake one that can be full or read-only."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyfakefs.helpers import set_uid

from harness.campaign import durable
from harness.campaign.durable import StoreError
from harness.campaign.store import RunStore
from harness.core.content import content_of
from harness.core.operation import Write
from harness.core.trace import Actor, Trace
from harness.core.tree import File, build_tree
from harness.core.verdict import Finding, TrialRow

Break = Callable[[], Any]


def row(number: int, note: str = "") -> TrialRow:
    return TrialRow(
        trial_id=f"t/v/exact/{number}", kind="exact", target="t", variant="v", seed=1, verdict="held", note=note
    )


def finding(message: str = "torn") -> Finding:
    return Finding(
        fingerprint="f" * 32,
        target="t",
        variant="v",
        invariant="B1",
        fault_class="kill",
        operation="write",
        role="a",
        phase="torn",
        damage="torn",
        message=message,
        path="bad\udcff",
    )


def trace() -> Trace:
    return Trace(
        root="/r",
        engine="ptrace",
        actors=(Actor(process=0),),
        start=build_tree({"a": 1}, {1: File(content_of(b"x" * 100))}),
        operations=(Write(seq=0, ino=1, offset=0, data=b"y" * 100),),
    )


class Place:
    """Where the store stands, and how to break what is below it."""

    def __init__(self, reports: str, fill: Break, free: Break) -> None:
        self.reports = reports
        self.fill = fill
        self.free = free


@pytest.fixture(params=["real", "fake"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if request.param == "fake":
        fs = request.getfixturevalue("fs")
        fs.set_disk_usage(1 << 30)
        fs.create_dir("/work")
        yield Place(
            "/fake/reports",
            lambda: fs.set_disk_usage(fs.get_disk_usage().used),
            lambda: fs.set_disk_usage(1 << 30),
        )
        return
    real_write = os.write
    full = False

    def write(fd: int, data: bytes) -> int:
        if not full:
            return real_write(fd, data)
        if len(data) > 10:  # as a real disk: what still fits is accepted, and the next write fails
            return real_write(fd, bytes(data[:10]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def set_full(value: bool) -> None:
        nonlocal full
        full = value

    monkeypatch.setattr(durable.os, "write", write)
    yield Place(str(tmp_path / "reports"), lambda: set_full(True), lambda: set_full(False))


def everything_below(directory: str) -> dict[str, bytes]:
    out = {}
    for here, _, files in os.walk(directory):
        for name in files:
            path = os.path.join(here, name)
            with open(path, "rb") as file:
                out[os.path.relpath(path, directory)] = file.read()
    return out


def test_what_was_written_is_read_back(place: Place) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        store.write_run({"name": "smoke", "seed": 7})
        store.append_row(row(1))
        store.append_row(row(2, "bad\udcff name"))
        store.write_finding("f" * 32, finding())
        store.write_trace("t-v", trace())
        store.write_artifact("report.md", b"# report\n")
    for writable in (False, True):
        with RunStore.open(os.path.join(place.reports, "runs", "run1"), writable=writable) as again:
            assert again.notices == []
            assert again.rows() == (row(1), row(2, "bad\udcff name"))
            assert again.row("t/v/exact/1") == row(1)
            assert again.row("t/v/exact/9") is None
            assert again.read_run()["seed"] == 7
            assert again.findings() == {"f" * 32: finding()}
            assert again.read_trace("t-v") == trace()
            assert again.traces() == ("t-v",)
            assert again.read_artifact("report.md") == b"# report\n"
            assert again.read_artifact("nothing") is None


def test_a_full_disk_is_one_line_and_tears_nothing(place: Place) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        store.write_run({"seed": 7})
        store.append_row(row(1))
        store.write_finding("f" * 32, finding())
        before = everything_below(store.directory)
        place.fill()
        for attempt in (
            lambda: store.append_row(row(2, "x" * 5000)),
            lambda: store.write_run({"seed": 8, "more": "x" * 5000}),
            lambda: store.write_finding("f" * 32, finding("y" * 5000)),
            lambda: store.write_artifact("report.md", b"z" * 5000),
        ):
            with pytest.raises(StoreError, match="No space left") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        assert everything_below(store.directory) == before
        assert store.rows() == (row(1),)
        place.free()
        store.append_row(row(3))
        store.write_run({"seed": 9})
    with RunStore.open(os.path.join(place.reports, "runs", "run1")) as again:
        assert again.notices == []
        assert again.rows() == (row(1), row(3))
        assert again.read_run()["seed"] == 9


@pytest.mark.parametrize(
    "torn",
    [b'{"trial_id":"t/v/ex', b"\0" * 18 + b"\n", b'{"trial_\0\0\0"\n\xff\xff\xff\xff\n', b"\0\n\0"],
    ids=["cut", "nul", "two rows", "nul and cut"],
)
def test_a_torn_last_row_is_kept_apart_cut_off_and_reported(place: Place, torn: bytes) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        store.append_row(row(1))
        directory = store.directory
    path = os.path.join(directory, "trials.jsonl")
    with open(path, "ab") as file:
        file.write(torn)
    with RunStore.open(directory, writable=False) as reader:
        assert reader.rows() == (row(1),)
        assert f"torn row of {len(torn)} bytes" in reader.notices[0]
    with open(path, "rb") as file:
        assert file.read().endswith(torn)  # a reader heals nothing
    with RunStore.open(directory) as writer:
        assert f"torn row of {len(torn)} bytes" in writer.notices[0]
        writer.append_row(row(2))
    with RunStore.open(directory) as again:
        assert again.notices == []
        assert again.rows() == (row(1), row(2))
    healed = os.listdir(os.path.join(directory, "healed"))
    with open(os.path.join(directory, "healed", healed[0]), "rb") as file:
        assert (len(healed), file.read()) == (1, torn)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"{}\n", "line 2: not a trial row"),
        (b"\n", "line 2: not a trial row: not JSON"),
        (b"\x00\x00\n{}\n", "line 2: not a trial row: not JSON"),  # not at the end: no power loss leaves that
        (b"\xff\n{}\n", "line 2: not a trial row: not UTF-8"),
        (b"[]\n", "line 2: not a trial row"),
    ],
)
def test_reading_tolerates_nothing_else(place: Place, damage: bytes, message: str) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        store.append_row(row(1))
        directory = store.directory
    with open(os.path.join(directory, "trials.jsonl"), "ab") as file:
        file.write(damage)
    for writable in (False, True):
        with pytest.raises(StoreError, match=message):
            RunStore.open(directory, writable=writable)


def test_a_trial_has_one_row(place: Place) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        store.append_row(row(1))
        with pytest.raises(StoreError, match="has a row already"):
            store.append_row(row(1))
        directory = store.directory
    path = os.path.join(directory, "trials.jsonl")
    with open(path, "rb") as file:
        line = file.read()
    with open(path, "ab") as file:
        file.write(line)
    with pytest.raises(StoreError, match="line 2: the trial 't/v/exact/1' has a row already"):
        RunStore.open(directory)


def test_litter_of_a_killed_writer_is_swept(place: Place) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        store.write_finding("f" * 32, finding())
        directory = store.directory
    litter = [
        durable.temporary_name(directory),
        durable.temporary_name(os.path.join(directory, "findings", "f" * 32)),
    ]
    for path in litter:
        with open(path, "wb") as file:
            file.write(b"half a rep")
    RunStore.open(directory, writable=False).close()
    assert all(os.path.exists(path) for path in litter)
    RunStore.open(directory).close()
    assert not any(os.path.exists(path) for path in litter)


def test_a_directory_made_just_before_a_kill_is_no_finding(place: Place) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        for name in ("findings/" + "a" * 32, "traces/t-v"):
            os.makedirs(os.path.join(store.directory, name))
        assert store.findings() == {}
        assert store.traces() == ()


def test_a_read_only_place_is_one_line(fs: Any) -> None:
    fs.create_dir("/ro")
    with RunStore.create("/ro/reports", run_id="run1") as store:
        store.append_row(row(1))
        directory = store.directory
    fs.chmod("/ro", 0o555)
    for path in ("/ro/reports", "/ro/reports/runs", "/ro/reports/runs/run1"):
        fs.chmod(path, 0o555)
    for name in ("lock", "trials.jsonl"):
        fs.chmod(os.path.join(directory, name), 0o444)
    set_uid(1000)
    try:
        for attempt in (lambda: RunStore.open(directory), lambda: RunStore.create("/ro/reports", run_id="run2")):
            with pytest.raises(StoreError, match="Permission denied") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        with RunStore.open(directory, writable=False) as reader:
            assert reader.rows() == (row(1),)
    finally:
        set_uid(0)


def test_a_reader_cannot_write(place: Place) -> None:
    with RunStore.create(place.reports, run_id="run1") as store:
        directory = store.directory
    with RunStore.open(directory, writable=False) as reader:
        for attempt in (
            lambda: reader.append_row(row(1)),
            lambda: reader.write_artifact("a", b""),
            lambda: reader.write_trace("t", trace()),
        ):
            with pytest.raises(StoreError, match="not open for writing"):
                attempt()
