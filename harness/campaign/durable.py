"""Files written the way this project asks others to write them: whole files, and a log of rows.

A whole file: unique temporary name in the same directory, all bytes, fsync, rename, fsync of the directory. A log:
one descriptor with O_APPEND, one ``write()`` per row, a short write continued, a row that could not be written
whole cut off again. Every failure is a :class:`StoreError` of one line that names the file; what was on disk
before is still there.

Non-goals: a second writer of one log (:mod:`harness.campaign.run_lock` keeps it out).
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import secrets
import time
from collections.abc import Iterator

TEMPORARY_PREFIX = ".tw-"
TEMPORARY_SUFFIX = ".tmp"
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_APPEND = os.O_CREAT | os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Virus scanners and indexers hold a file for moments; a rename over it fails meanwhile (Windows only).
_REPLACE_ATTEMPTS = 20
_REPLACE_PAUSE_S = 0.05


class StoreError(Exception):
    """The store cannot be read or written; one line with the path and the reason."""


@contextlib.contextmanager
def storing(what: str, path: str) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`StoreError`: cannot ``what`` ``path``: reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(f"cannot {what} {os.fsdecode(path)!r}: {reason}") from None


def sync_file(fd: int) -> None:
    """Make the bytes of ``fd`` durable. macOS needs F_FULLFSYNC to reach the medium (its fsync does not)."""
    if os.uname().sysname == "Darwin" if hasattr(os, "uname") else False:
        fcntl = importlib.import_module("fcntl")
        with contextlib.suppress(OSError):  # not every file system knows it; plain fsync is then what there is
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable. Windows has no such call and needs none."""
    if os.name != "posix":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems refuse it
            raise
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``: a short write is continued, so that a full disk shows as its error."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        if written == 0:
            raise OSError(errno.EIO, "write accepted nothing")
        view = view[written:]


def replace(source: str, target: str) -> None:
    """Rename over ``target``; where another program holds it for a moment, try again for up to a second."""
    for attempt in range(_REPLACE_ATTEMPTS):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == _REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(_REPLACE_PAUSE_S)


def temporary_name(directory: str) -> str:
    """Return a name in ``directory`` that nothing else uses and that a later sweep recognises."""
    return os.path.join(directory, f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")


def make_directories(path: str) -> None:
    """Make ``path`` and what is missing above it, each name durable in its parent."""
    with storing("make", path):
        missing = []
        while path and not os.path.isdir(path):
            missing.append(path)
            parent = os.path.dirname(path)
            if parent == path:
                break
            path = parent
        for directory in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory)
            sync_directory(os.path.dirname(directory) or ".")


def write_whole(path: str, data: bytes, *, sync_name: bool = True) -> None:
    """Make ``path`` hold exactly ``data``, durably, or leave it as it was. Raises :class:`StoreError`.

    Without ``sync_name`` the caller makes the names of many files durable at once (:func:`sync_directory`).
    """
    directory = os.path.dirname(path) or "."
    make_directories(directory)
    temporary = temporary_name(directory)
    with storing("write", path):
        try:
            fd = os.open(temporary, _CREATE, 0o644)
            try:
                write_all(fd, data)
                sync_file(fd)
            finally:
                os.close(fd)
            replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if sync_name:
            sync_directory(directory)


def sweep(directory: str) -> None:
    """Remove what an interrupted writer left in and below ``directory``. Only for the holder of the lock."""
    for here, _, names in os.walk(directory):
        for name in names:
            if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(here, name))


def torn_tail(data: bytes) -> bytes:
    r"""Return what interrupted appends left at the end: bytes after the last ``\n``, and lines that nobody wrote.

    Lines are printable ASCII. Where the power went before a line was durable, its size may be there and its data not:
    then its blocks hold NUL, or what they held before.
    """
    end = data.rfind(b"\n") + 1
    while end:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        if not _FOREIGN.search(data, begin, end - 1):
            break
        end = begin
    return data[end:]


_FOREIGN = re.compile(rb"[^ -~]")


class AppendLog:
    r"""Appends lines to one file.

    ``sync_interval_s``: 0 makes every line durable before :meth:`append` returns; otherwise the first append after
    that many seconds does it for all before it. A killed process loses no line that was appended; a power loss
    loses at most those of the last interval, and a torn tail is healed on the next open.
    """

    def __init__(self, path: str, sync_interval_s: float) -> None:
        self.path = path
        self._interval_s = sync_interval_s
        self._failed = ""
        with storing("open", path):
            self._fd = os.open(path, _APPEND, 0o644)
            self._size = os.fstat(self._fd).st_size
        with storing("open", path):
            sync_directory(os.path.dirname(path) or ".")
        self._synced_at = time.monotonic()
        self._dirty = False

    def append(self, line: bytes) -> None:
        r"""Write one line, which ends in its only ``\n``, with one ``write()``."""
        if self._failed:
            raise StoreError(f"cannot write {self.path!r}: {self._failed}")
        try:
            with storing("write", self.path):
                write_all(self._fd, line)
        except BaseException:
            self._take_back()
            raise
        self._size += len(line)
        self._dirty = True
        if time.monotonic() - self._synced_at >= self._interval_s:
            self.flush()

    def _take_back(self) -> None:
        """Cut what landed of a line that could not be written whole."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            # The next open heals the tail; until then no line may be glued to it.
            self._failed = f"an earlier row could not be taken back: {error.strerror}"

    def flush(self) -> None:
        """Make every appended line durable."""
        if not self._dirty:
            return
        try:
            with storing("sync", self.path):
                sync_file(self._fd)
        except StoreError:
            # After a failed fsync the kernel may have dropped the pages: a later success would prove nothing.
            self._failed = "an earlier sync failed"
            raise
        self._dirty = False
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Make every line durable and close the file; a second close does nothing."""
        if self._fd < 0:
            return
        try:
            if not self._failed:
                self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1
