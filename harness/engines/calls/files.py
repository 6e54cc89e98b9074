"""Calls on a file that is there: its size, mode, times, attributes, locks and barriers."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import Any

from harness.core.operation import AnyOperation, Lock, SetAttribute, SetMode, SetTimes, Sync, Truncate
from harness.engines.calls.call import Call, status
from harness.engines.record import Record

SYNC_SCOPES = {"fsync": "file", "fdatasync": "data", "sync_file_range": "range"}
NO_INODE = -1


class TruncateCall(Call):
    """The size of a file set outright."""

    __slots__ = ("before", "ino", "size")

    def __init__(self, watch: Record, thread: Any, syscall: str, ino: int, size: int, before: int) -> None:
        super().__init__(watch, thread, syscall)
        self.ino = ino
        self.size = size
        self.before = before

    def predict(self) -> AnyOperation:
        """Return the truncation."""
        return Truncate(ino=self.ino, size=self.size, **self.stamp())

    def needs_space(self) -> bool:
        """Whether the file grows."""
        return self.size > self.before

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the truncation, or its failure."""
        if returned >= 0:
            self.watch.check_size(self.size)
            self.watch.sizes[self.ino] = self.size
        return (Truncate(ino=self.ino, size=self.size, **self.stamp(max(-returned, 0))),)


class SyncCall(Call):
    """A durability barrier."""

    __slots__ = ("ino", "scope")

    def __init__(self, watch: Record, thread: Any, syscall: str, ino: int, scope: str) -> None:
        super().__init__(watch, thread, syscall)
        self.ino = ino
        self.scope = scope

    def predict(self) -> AnyOperation:
        """Return the barrier."""
        return Sync(ino=self.ino, scope=self.scope, **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the barrier, or its failure."""
        return (Sync(ino=self.ino, scope=self.scope, **self.stamp(max(-returned, 0))),)


class LockCall(Call):
    """An advisory lock on a file of the state directory; one that may wait is not exclusive."""

    __slots__ = ("ino", "what")

    def __init__(self, watch: Record, thread: Any, syscall: str, ino: int, what: str, *, waits: bool) -> None:
        super().__init__(watch, thread, syscall)
        self.ino = ino
        self.what = what
        self.exclusive = not waits

    def predict(self) -> AnyOperation:
        """Return the lock request."""
        return Lock(ino=self.ino, what=self.what, **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the lock, or its refusal."""
        return (Lock(ino=self.ino, what=self.what, **self.stamp(max(-returned, 0))),)


class Located:
    """A file found for a call: how this process reaches it, and its trace number."""

    __slots__ = ("follow", "ino", "path")

    def __init__(self, path: str, follow: bool, ino: int) -> None:
        self.path = path
        self.follow = follow
        self.ino = ino


class ModeCall(Call):
    """Permission bits set."""

    __slots__ = ("file", "mode")

    def __init__(self, watch: Record, thread: Any, syscall: str, file: Located, mode: int) -> None:
        super().__init__(watch, thread, syscall)
        self.file = file
        self.mode = mode & 0o7777

    def predict(self) -> AnyOperation:
        """Return the mode as asked."""
        return SetMode(ino=self.file.ino, mode=self.mode, **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the mode as the file system took it."""
        info = status(self.file.path, self.file.follow) if returned >= 0 else None
        mode = self.mode if info is None else stat.S_IMODE(info.st_mode)
        return (SetMode(ino=self.file.ino, mode=mode, **self.stamp(max(-returned, 0))),)


class TimesCall(Call):
    """Modification time set; ``mtime_ns`` is ``None`` for "now"."""

    __slots__ = ("file", "mtime_ns")

    def __init__(self, watch: Record, thread: Any, syscall: str, file: Located, mtime_ns: int | None) -> None:
        super().__init__(watch, thread, syscall)
        self.file = file
        self.mtime_ns = mtime_ns

    def predict(self) -> AnyOperation:
        """Return the time as asked."""
        return SetTimes(ino=self.file.ino, mtime_ns=self.mtime_ns, **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the time as the file system stored it: it may round."""
        mtime_ns = self.mtime_ns
        if returned >= 0 and mtime_ns is not None:
            info = status(self.file.path, self.file.follow)
            mtime_ns = mtime_ns if info is None else info.st_mtime_ns
        return (SetTimes(ino=self.file.ino, mtime_ns=mtime_ns, **self.stamp(max(-returned, 0))),)


class AttributeCall(Call):
    """Owner or extended attribute changed: recorded, not modelled."""

    __slots__ = ("ino", "what")

    def __init__(self, watch: Record, thread: Any, syscall: str, file: Located, what: str) -> None:
        super().__init__(watch, thread, syscall)
        self.ino = file.ino
        self.what = what

    def predict(self) -> AnyOperation:
        """Return the change."""
        return SetAttribute(ino=self.ino, what=self.what, **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the change, or its failure."""
        return (SetAttribute(ino=self.ino, what=self.what, **self.stamp(max(-returned, 0))),)
