"""One writer per run directory.

A lock of the operating system, so a killed holder never leaves it behind. POSIX record locks are not inherited
by a fork: workers that outlive their campaign for a moment do not block ``--resume``. They do not keep two
stores of one process apart either; a set of paths does.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import threading

from harness.campaign.durable import StoreError, storing

_FLAGS = os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_WINDOWS_BYTE = 1 << 30
"""The byte that stands for the lock on Windows, where locked bytes cannot be read: far behind the pid."""

_held: set[tuple[int, str]] = set()
_guard = threading.Lock()


def _lock(fd: int) -> None:
    if os.name == "nt":
        msvcrt = importlib.import_module("msvcrt")
        os.lseek(fd, _WINDOWS_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        fcntl = importlib.import_module("fcntl")
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunLock:
    """Held from construction to :meth:`release`. Raises :class:`StoreError` while another store holds it.

    ``notice`` is not empty where the file system has no locks.
    """

    def __init__(self, path: str) -> None:
        # The pid belongs to the key: a forked child starts with its parent's set and holds none of its locks.
        self._key = (os.getpid(), os.path.realpath(path))
        self._fd = -1
        self.notice = ""
        with _guard:
            if self._key in _held:
                raise StoreError(f"the run {os.path.dirname(path)!r} is already open for writing in this process")
            self._acquire(path)
            _held.add(self._key)

    def _acquire(self, path: str) -> None:
        with storing("open", path):
            self._fd = os.open(path, _FLAGS, 0o644)
        try:
            _lock(self._fd)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                self.notice = "this file system has no locks: nothing keeps a second writer off this run"
                return
            holder = self._holder()
            os.close(self._fd)
            raise StoreError(f"the run {os.path.dirname(path)!r} is being written by {holder}") from None
        except BaseException:
            os.close(self._fd)
            raise
        with contextlib.suppress(OSError):  # only for the message above
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, f"{os.getpid()}\n".encode())

    def _holder(self) -> str:
        try:
            os.lseek(self._fd, 0, os.SEEK_SET)
            pid = os.read(self._fd, 32).strip()
        except OSError:
            pid = b""
        return f"process {pid.decode()}" if pid.isdigit() else "another process"

    def release(self) -> None:
        """Give the lock back; a second release does nothing."""
        if self._fd < 0:
            return
        with _guard:
            os.close(self._fd)
            self._fd = -1
            _held.discard(self._key)
