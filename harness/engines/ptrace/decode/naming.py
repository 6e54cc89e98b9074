"""rename, link, unlink, mkdir, symlink, mknod, bind: calls that make, move and remove names.

Names are resolved at the entry, while nothing else changes them; new inodes are looked up at the exit. A name
that crosses the border of the state directory becomes a link (with its data) or an unlink.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from harness.core.content import MAX_FILE_BYTES
from harness.core.operation import AnyOperation, Link, MakeNode, Mkdir, Outside, Rename, Unlink
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode.call import Arguments, Call
from harness.engines.ptrace.paths import is_outside_file, locate, status
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch
from harness.engines.record import LimitReachedError

_RENAME_EXCHANGE = 2
_AF_UNIX = 1
_NEVER_SEEN = -1


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


def _read_whole(watch: Watch, absolute: str, size: int) -> bytes:
    if size > MAX_FILE_BYTES:
        raise LimitReachedError(f"moved a file of {size} bytes into the state directory")
    watch.spend(size)
    with open(absolute, "rb") as stream:
        return stream.read(MAX_FILE_BYTES + 1)


class RenameCall(Call):
    """rename, renameat, renameat2."""

    __slots__ = ("exchange", "source", "target")

    def __init__(self, watch: Watch, thread: Thread, syscall: str, source: str, target: str, flags: int) -> None:
        super().__init__(watch, thread, syscall)
        self.source = watch.root.name(source)
        self.target = watch.root.name(target)
        self.exchange = bool(flags & _RENAME_EXCHANGE)

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
        return None if new is None else Link(ino=_NEVER_SEEN, path=new, **self.stamp(error))

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
        self, watch: Watch, thread: Thread, syscall: str, source: str, target: str, *, follow: bool
    ) -> None:
        super().__init__(watch, thread, syscall)
        self.source = status(source, follow)
        self.target = watch.root.name(target)
        known = None if self.source is None else watch.inodes.get((self.source.st_dev, self.source.st_ino))
        self.ino = _NEVER_SEEN if known is None else known

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
        if self.ino != _NEVER_SEEN:
            return (Link(ino=self.ino, path=path, mode=mode, **self.stamp()),)
        if not stat.S_ISREG(info.st_mode):
            return (_node(self, absolute, path, info),)
        data = _read_whole(self.watch, absolute, info.st_size)
        ino = self.watch.inodes.create((info.st_dev, info.st_ino))
        return (Link(ino=ino, path=path, mode=mode, data=data, **self.stamp()),)


class UnlinkCall(Call):
    """unlink, unlinkat, rmdir."""

    __slots__ = ("path",)

    def __init__(self, watch: Watch, thread: Thread, syscall: str, path: str) -> None:
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
        watch: Watch,
        thread: Thread,
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
            return Mkdir(ino=_NEVER_SEEN, path=self.path, **self.stamp(error))
        return MakeNode(
            ino=_NEVER_SEEN,
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


def _rename(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    read = thread.process.string
    if name == "rename":
        source, target = locate(thread, abi.AT_FDCWD, read(args[0])), locate(thread, abi.AT_FDCWD, read(args[1]))
    else:
        source, target = locate(thread, args[0], read(args[1])), locate(thread, args[2], read(args[3]))
    call = RenameCall(watch, thread, name, source, target, args[4] if name == "renameat2" else 0)
    return call if call.touches_root() else None


def _link(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    read = thread.process.string
    flags = 0
    if name == "link":
        source, target = locate(thread, abi.AT_FDCWD, read(args[0])), locate(thread, abi.AT_FDCWD, read(args[1]))
    else:
        flags = args[4]
        source, target = locate(thread, args[0], read(args[1])), locate(thread, args[2], read(args[3]))
    by_descriptor = name == "linkat" and flags & abi.AT_EMPTY_PATH and not read(args[1])
    call = LinkCall(
        watch, thread, name, source, target, follow=bool(flags & abi.AT_SYMLINK_FOLLOW or by_descriptor)
    )
    if call.target[1] is None:
        _note_outside(watch, thread, call)
        return None
    return call


def _note_outside(watch: Watch, thread: Thread, call: LinkCall) -> None:
    """A file of the state directory gets a name outside: somebody may write to it unseen by its path."""
    absolute = call.target[0]
    if call.ino == _NEVER_SEEN or absolute is None or call.source is None or absolute in watch.outside:
        return
    if is_outside_file(absolute, call.source):
        watch.outside.add(absolute)
        watch.record((Outside(path=absolute, **watch.stamp(thread, call.syscall, call.at_ns)),))


def _unlink(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    at = name == "unlinkat"
    located = locate(thread, args[0] if at else abi.AT_FDCWD, thread.process.string(args[1] if at else args[0]))
    path = watch.root.name(located)[1]
    return None if path is None else UnlinkCall(watch, thread, name, path)


def _make(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    watch.opened.clear()
    read = thread.process.string
    destination = None
    type_bits = stat.S_IFDIR
    at = name.endswith("at")
    if name.startswith("symlink"):
        type_bits, destination = stat.S_IFLNK, read(args[0])
        located = locate(thread, args[1] if at else abi.AT_FDCWD, read(args[2 if at else 1]))
    else:
        located = locate(thread, args[0] if at else abi.AT_FDCWD, read(args[1 if at else 0]))
        if name.startswith("mknod"):
            type_bits = stat.S_IFMT(args[2 if at else 1]) or stat.S_IFREG
    absolute, path = watch.root.name(located)
    if absolute is None or path is None:
        return None
    return MakeCall(watch, thread, name, (absolute, path), type_bits=type_bits, destination=destination)


def _bind(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    raw = thread.process.read(args[1], min(args[2], 110))
    if len(raw) < 3 or int.from_bytes(raw[:2], "little") != _AF_UNIX or raw[2] == 0:
        return None
    located = locate(thread, abi.AT_FDCWD, os.fsdecode(raw[2:].split(b"\0", 1)[0]))
    absolute, path = watch.root.name(located)
    if absolute is None or path is None:
        return None
    return MakeCall(watch, thread, name, (absolute, path), type_bits=stat.S_IFSOCK)


DECODERS = {
    **dict.fromkeys(("rename", "renameat", "renameat2"), _rename),
    **dict.fromkeys(("link", "linkat"), _link),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), _unlink),
    **dict.fromkeys(("mkdir", "mkdirat", "symlink", "symlinkat", "mknod", "mknodat"), _make),
    "bind": _bind,
}
