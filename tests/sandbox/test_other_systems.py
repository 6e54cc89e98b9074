"""What other systems do with files, simulated: refused renames, a sync that ends in the drive's cache, case rules."""

from __future__ import annotations

import errno
import os
import sys
import types

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_filesystem_unittest import Patcher

from harness.campaign import durable, run_lock
from harness.campaign.durable import StoreError
from harness.catalog import lock
from harness.sandbox.machine import is_case_sensitive

ERROR_SHARING_VIOLATION = 32


class Renames:
    """``os.replace`` of a system where somebody holds the destination for the first ``held`` calls."""

    def __init__(self, held: int) -> None:
        self.held, self.calls = held, 0

    def __call__(self, source: str, target: str) -> None:
        self.calls += 1
        if self.calls <= self.held:
            error = PermissionError(errno.EACCES, "The process cannot access the file", target)
            error.winerror = ERROR_SHARING_VIOLATION  # type: ignore[attr-defined]
            raise error


def windows(monkeypatch: pytest.MonkeyPatch, renames: Renames) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(durable.os, "name", "nt")
    monkeypatch.setattr(durable.os, "replace", renames)
    monkeypatch.setattr(durable.time, "sleep", slept.append)
    return slept


def test_a_sharing_violation_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    renames = Renames(held=3)
    slept = windows(monkeypatch, renames)
    durable.replace("a.tmp", "a")
    assert renames.calls == 4
    assert len(slept) == 3


def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    renames = Renames(held=1 << 30)
    slept = windows(monkeypatch, renames)
    with pytest.raises(PermissionError):
        durable.replace("a.tmp", "a")
    assert 0.5 <= sum(slept) <= 2.0


def test_elsewhere_a_refusal_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    renames = Renames(held=1)
    windows(monkeypatch, renames)
    monkeypatch.setattr(durable.os, "name", "posix")
    with pytest.raises(PermissionError):
        durable.replace("a.tmp", "a")
    assert renames.calls == 1


@pytest.mark.parametrize("refused", [0, errno.ENOTSUP, errno.EINVAL])
def test_on_macos_a_sync_reaches_the_medium(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    asked: list[object] = []

    def fcntl(fd: int, command: int) -> None:
        asked.append(command)
        if refused:
            raise OSError(refused, os.strerror(refused))

    module = types.SimpleNamespace(F_FULLFSYNC=51, fcntl=fcntl)
    monkeypatch.setattr(durable.os, "uname", lambda: types.SimpleNamespace(sysname="Darwin"), raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", module)
    monkeypatch.setattr(durable.os, "fsync", lambda fd: asked.append("fsync"))
    durable.sync_file(7)
    assert asked == ([51, "fsync"] if refused else [51])


def test_windows_has_no_directory_to_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable.os, "name", "nt")
    monkeypatch.setattr(durable.os, "open", lambda *_: pytest.fail("a directory cannot be opened there"))
    durable.sync_directory("anywhere")


class Msvcrt(types.ModuleType):
    """Byte-range locks of one process after the other, as ``msvcrt.locking`` has them."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.locked: dict[tuple[int, int], int] = {}

    def locking(self, fd: int, mode: int, count: int) -> None:
        here = (os.fstat(fd).st_ino, os.lseek(fd, 0, os.SEEK_CUR))
        if self.locked.setdefault(here, fd) != fd:
            raise OSError(errno.EDEADLOCK, "Resource deadlock avoided")


def test_a_run_has_one_writer_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt())
    monkeypatch.setattr(run_lock.os, "name", "nt")
    path = os.path.join(str(tmp_path), "lock")
    held = run_lock.RunLock(path)
    run_lock._held.clear()  # as another process would see it
    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        run_lock.RunLock(path)
    held.release()


def test_an_install_waits_for_the_other_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt())
    monkeypatch.setattr(lock.sys, "platform", "win32")
    path = os.path.join(str(tmp_path), "lock")
    with lock.locked(path, 1.0), pytest.raises(lock.LockTimeoutError), lock.locked(path, 0.0):
        pytest.fail("two installs at once")


@pytest.mark.parametrize("case_sensitive", [True, False])
def test_the_case_rule_is_asked_of_the_file_system(case_sensitive: bool) -> None:
    with Patcher() as patcher:
        fs: FakeFilesystem = patcher.fs  # type: ignore[assignment]
        fs.is_case_sensitive = case_sensitive
        fs.create_dir("/state")
        assert is_case_sensitive("/state") == case_sensitive
        assert not os.listdir("/state")
