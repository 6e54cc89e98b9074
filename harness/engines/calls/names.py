"""Calls that make, move and remove names.

Names are resolved at the entry, while nothing else changes them; new inodes are looked up at the exit. A name
that crosses the border of the state directory becomes a link (with its data) or an unlink.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from harness.core.content import MAX_FILE_BYTES
from harness.core.operation import AnyOperation, Link, MakeNode, Mkdir, Outside, Rename, Unlink
from harness.engines.calls.call import Call, is_outside_file, status
from harness.engines.record import LimitReachedError, Record

RENAME_EXCHANGE = 2
NEVER_SEEN = -1


def _taken_in(call: Call, absolute: str, path: str, ahead: int = 0) -> Iterator[AnyOperation]:
    """Yield what it takes to build ``path``, which has just come in from outside, with all that is below it."""
    watch = call.watch
    info = os.lstat(absolute)
    key = (info.st_dev, info.st_ino)
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISDIR(info.st_mode):
        yield Mkdir(ino=watch.inodes.create(key), path=path, mode=mode, **call.stamp(ahead=ahead))
        for name in sorted(os.listdir(absolute)):
            for op in _taken_in(call, f"{absolute}/{name}", f"{path}/{name}", ahead + 1):
                yield op
                ahead = op.seq - len(watch.operations)
        return
    known = watch.inodes.get(key)
    if known is not None and info.st_nlink > 1:
        yield Link(ino=known, path=path, mode=mode, **call.stamp(ahead=ahead))
    elif stat.S_ISREG(info.st_mode):
        data = _read_whole(watch, absolute, info.st_size)
        yield Link(ino=watch.inodes.create(key), path=path, mode=mode, data=data, **call.stamp(ahead=ahead))
    else:
        yield _node(call, absolute, path, info, ahead)


def _node(call: Call, absolute: str, path: str, info: os.stat_result, ahead: int = 0) -> MakeNode:
    is_link = stat.S_ISLNK(info.st_mode)
    return MakeNode(
        ino=call.watch.inodes.create((info.st_dev, info.st_ino)),
        path=path,
        destination=os.readlink(absolute) if is_link else None,
        type_bits=stat.S_IFMT(info.st_mode),
        mode=stat.S_IMODE(info.st_mode),
        **call.stamp(ahead=ahead),
    )


def _read_whole(watch: Record, absolute: str, size: int) -> bytes:
    if size > MAX_FILE_BYTES:
        raise LimitReachedError(f"moved a file of {size} bytes into the state directory")
    watch.spend(size)
    with open(absolute, "rb") as stream:
        return stream.read(MAX_FILE_BYTES + 1)


class RenameCall(Call):
    """rename, renameat, renameat2."""

    __slots__ = ("exchange", "source", "target")

    def __init__(self, watch: Record, thread: Any, syscall: str, source: str, target: str, flags: int) -> None:
        super().__init__(watch, thread, syscall)
        self.source = watch.root.name(source)
        self.target = watch.root.name(target)
        self.exchange = bool(flags & RENAME_EXCHANGE)

    def touches_root(self) -> bool:
        """Whether one of the two names lies in the state directory."""
        return self.source[1] is not None or self.target[1] is not None

    def predict(self) -> AnyOperation | None:
        """Return the rename, or what a name crossing the border is."""
        return self._operation(0)

    def _operation(self, error: int) -> AnyOperation | None:
        old, new = self.source[1], self.target[1]
        if old is not None and new is not None:
            return Rename(path=old, to=new, exchange=self.exchange, **self.stamp(error))
        if old is not None:
            return Unlink(path=old, **self.stamp(error))
        return None if new is None else Link(ino=NEVER_SEEN, path=new, **self.stamp(error))

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the rename; a name that came in comes with its data."""
        op = self._operation(max(-returned, 0))
        if op is None:
            return ()
        absolute, path = self.target
        if returned < 0 or isinstance(op, Rename):
            return (op,)
        if isinstance(op, Link) and absolute and path:
            return list(_taken_in(self, absolute, path))
        if self.exchange and self.source[0] and self.source[1]:
            return [op, *_taken_in(self, self.source[0], self.source[1], ahead=1)]
        return (op,)


class LinkCall(Call):
    """link, linkat: a second name for an inode, which may have had none (O_TMPFILE) or come from outside."""

    __slots__ = ("ino", "source", "target")

    def __init__(
        self, watch: Record, thread: Any, syscall: str, source: str, target: str, *, follow: bool
    ) -> None:
        super().__init__(watch, thread, syscall)
        self.source = status(source, follow)
        self.target = watch.root.name(target)
        known = None if self.source is None else watch.inodes.get((self.source.st_dev, self.source.st_ino))
        self.ino = NEVER_SEEN if known is None else known

    def predict(self) -> AnyOperation | None:
        """Return the link, if its new name is inside."""
        return None if self.target[1] is None else Link(ino=self.ino, path=self.target[1], **self.stamp())

    def needs_space(self) -> bool:
        """A directory may grow."""
        return True

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the link; of an inode never seen, with its data."""
        absolute, path = self.target
        if path is None or absolute is None:
            return ()
        if returned < 0:
            return (Link(ino=self.ino, path=path, **self.stamp(-returned)),)
        info = os.lstat(absolute)
        mode = stat.S_IMODE(info.st_mode)
        if self.ino != NEVER_SEEN:
            return (Link(ino=self.ino, path=path, mode=mode, **self.stamp()),)
        if not stat.S_ISREG(info.st_mode):
            return (_node(self, absolute, path, info),)
        data = _read_whole(self.watch, absolute, info.st_size)
        ino = self.watch.inodes.create((info.st_dev, info.st_ino))
        return (Link(ino=ino, path=path, mode=mode, data=data, **self.stamp()),)


class UnlinkCall(Call):
    """unlink, unlinkat, rmdir."""

    __slots__ = ("path",)

    def __init__(self, watch: Record, thread: Any, syscall: str, path: str) -> None:
        super().__init__(watch, thread, syscall)
        self.path = path

    def predict(self) -> AnyOperation:
        """Return the unlink."""
        return Unlink(path=self.path, **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the unlink, or its failure."""
        return (Unlink(path=self.path, **self.stamp(max(-returned, 0))),)


class MakeCall(Call):
    """mkdir, symlink, mknod, bind: a new inode with a name. ``destination`` is a symbolic link's."""

    __slots__ = ("absolute", "destination", "directory", "path", "type_bits")

    def __init__(
        self,
        watch: Record,
        thread: Any,
        syscall: str,
        name: tuple[str, str],
        *,
        type_bits: int,
        destination: str | None = None,
    ) -> None:
        super().__init__(watch, thread, syscall)
        self.absolute, self.path = name
        self.type_bits = type_bits
        self.destination = destination

    def predict(self) -> AnyOperation:
        """Return the new directory or node, without an inode."""
        return self._operation(0)

    def _operation(self, error: int) -> AnyOperation:
        if self.type_bits == stat.S_IFDIR:
            return Mkdir(ino=NEVER_SEEN, path=self.path, **self.stamp(error))
        return MakeNode(
            ino=NEVER_SEEN,
            path=self.path,
            destination=self.destination,
            type_bits=self.type_bits,
            **self.stamp(error),
        )

    def needs_space(self) -> bool:
        """A directory may grow."""
        return True

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return what was made, with the inode and mode it got."""
        if returned < 0:
            return (self._operation(-returned),)
        info = os.lstat(self.absolute)
        if not stat.S_ISDIR(info.st_mode):
            return (_node(self, self.absolute, self.path, info),)
        ino = self.watch.inodes.create((info.st_dev, info.st_ino))
        return (Mkdir(ino=ino, path=self.path, mode=stat.S_IMODE(info.st_mode), **self.stamp()),)


def note_outside(watch: Record, thread: Any, call: LinkCall) -> None:
    """A file of the state directory gets a name outside: somebody may write to it unseen by its path."""
    absolute = call.target[0]
    if call.ino == NEVER_SEEN or absolute is None or call.source is None or absolute in watch.outside:
        return
    if is_outside_file(absolute, call.source):
        watch.outside.add(absolute)
        watch.record((Outside(path=absolute, **watch.stamp(thread, call.syscall, call.at_ns)),))
