"""open, openat, openat2, creat with write intent. What they did is read at their exit, from the descriptor."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence

from harness.core.operation import AnyOperation, Open, Outside
from harness.engines.calls.call import Call, is_outside_file, status
from harness.engines.inodes import Key
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode.call import Arguments, TracedCall
from harness.engines.ptrace.descriptors import Description
from harness.engines.ptrace.filter import WRITE_INTENT
from harness.engines.ptrace.paths import locate, opened_name
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_O_TMPFILE = 0o20000000
_O_PATH = 0o10000000
_EXCLUSIVE_CREATE = os.O_CREAT | os.O_EXCL
_DELETED = " (deleted)"


class OpenCall(TracedCall):
    """An open that may create, truncate or write.

    ``before`` is the file's status at entry, if there was one; ``known`` is what an earlier open of the same path
    found, if no name has changed since.
    """

    __slots__ = ("before", "flags", "known", "located", "unnamed")

    def __init__(self, watch: Watch, thread: Thread, syscall: str, located: str, flags: int) -> None:
        super().__init__(watch, thread, syscall)
        self.located = located
        self.flags = flags
        self.unnamed = bool(flags & _O_TMPFILE)
        self.known = None if flags & (os.O_EXCL | os.O_NOFOLLOW | _O_TMPFILE) else watch.opened.get(located)
        self.before: os.stat_result | None = None
        if self.known is None and not self.unnamed:
            exclusive_create = flags & _EXCLUSIVE_CREATE == _EXCLUSIVE_CREATE
            self.before = status(located, not (flags & os.O_NOFOLLOW or exclusive_create))

    def predict(self) -> AnyOperation | None:
        """Return the open as it would go; ``None`` if it leads outside."""
        path = self.watch.root.relative(opened_name(self.located))
        if path is None and not (self.unnamed and self._directory_inside()):
            return None
        return Open(path=None if self.unnamed else path, flags=self.flags, created=self._creates(), **self.stamp())

    def _directory_inside(self) -> bool:
        return f"{opened_name(self.located)}/".startswith(self.watch.root.path + "/")

    def _creates(self) -> bool:
        return self.before is None and self.known is None

    def needs_space(self) -> bool:
        """Whether a new file would be made."""
        return self._creates() and bool(self.flags & os.O_CREAT or self.unnamed)

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the open, with the inode and the name that the descriptor shows."""
        watch, table = self.watch, self.thread.process.descriptors
        if returned < 0:
            predicted = watch.root.relative(opened_name(self.located))
            if predicted is None:
                return ()
            return (Open(path=predicted, flags=self.flags, **self.stamp(-returned)),)
        if self.known is not None:
            return self._opened_again(returned, *self.known)
        link = f"/proc/{self.thread.tid}/fd/{returned}"
        info = os.stat(link)
        if not stat.S_ISREG(info.st_mode):
            watch.descriptors.remove(table, returned)
            return ()
        key = (info.st_dev, info.st_ino)
        absolute = os.readlink(link)
        path = watch.root.relative(absolute)
        created = self._creates()
        ino = self._number(key, created, path is not None)
        self._install(returned, key)
        if ino is None and path is not None:
            watch.not_seen(f"who made {path}: it was not there at the start and no traced process made it")
            return ()
        if ino is None:
            if absolute in watch.outside or not is_outside_file(absolute, info):
                return ()
            watch.outside.add(absolute)
            return (Outside(path=absolute, **self.stamp()),)
        if self.unnamed or (info.st_nlink == 0 and absolute.endswith(_DELETED)):
            path = None
        mode = stat.S_IMODE(info.st_mode)
        watch.sizes[ino] = info.st_size
        op = self._operation(returned, path, ino, mode, created=created)
        if path is not None and not self.located.startswith("/proc/"):
            watch.opened[self.located] = (key, path, mode)
        return (op,)

    def _opened_again(self, fd: int, key: Key, path: str, mode: int) -> Sequence[AnyOperation]:
        ino = self.watch.inodes.get(key)
        assert ino is not None  # only files of the state directory are remembered
        self._install(fd, key)
        if self.flags & os.O_TRUNC:
            self.watch.sizes[ino] = 0
        return (self._operation(fd, path, ino, mode, created=False),)

    def _install(self, fd: int, key: Key) -> None:
        flags = self.flags
        opened = Description(key, writable=bool(flags & os.O_ACCMODE), append=bool(flags & os.O_APPEND))
        self.watch.descriptors.install(self.thread.process.descriptors, fd, opened)

    def _operation(self, fd: int, path: str | None, ino: int, mode: int, *, created: bool) -> Open:
        flags = self.flags
        return Open(
            path=path,
            ino=ino,
            fd=fd,
            flags=flags,
            mode=mode,
            created=created,
            truncated=not created and bool(flags & os.O_TRUNC),
            append=bool(flags & os.O_APPEND),
            **self.stamp(),
        )

    def _number(self, key: Key, created: bool, inside: bool) -> int | None:
        if not created:
            return self.watch.inodes.get(key)
        if inside:
            return self.watch.inodes.create(key)
        self.watch.inodes.forget(key)
        return None


def _begin(watch: Watch, thread: Thread, name: str, located: str, flags: int) -> Call | None:
    if flags & _O_PATH or not flags & WRITE_INTENT:
        return None
    call = OpenCall(watch, thread, name, located, flags)
    if call.before is not None and not stat.S_ISREG(call.before.st_mode) and not stat.S_ISLNK(call.before.st_mode):
        return None  # a FIFO may wait for its reader; a device or directory is no file of the state
    return call


def _open(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    flags = args[1] & 0xFFFFFFFF if name == "open" else os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    return _begin(watch, thread, name, locate(thread, abi.AT_FDCWD, thread.process.string(args[0])), flags)


def _openat(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    flags = args[2] & 0xFFFFFFFF
    if name == "openat2":
        raw = thread.process.read(args[2], 8)
        if len(raw) < 8:
            return None
        flags = struct.unpack("Q", raw)[0] & 0xFFFFFFFF
    return _begin(watch, thread, name, locate(thread, args[0], thread.process.string(args[1])), flags)


DECODERS = {"open": _open, "creat": _open, "openat": _openat, "openat2": _openat}
