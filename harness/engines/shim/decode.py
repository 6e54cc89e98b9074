"""From the frames of a process to calls: what each would do, and from its result what it did."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from harness.core.operation import Ack, AnyOperation, Map, Open, Outside, Truncate, Write
from harness.engines.calls.call import Call, is_outside_file, status
from harness.engines.calls.files import (
    NO_INODE,
    SYNC_SCOPES,
    AttributeCall,
    Located,
    LockCall,
    ModeCall,
    SyncCall,
    TimesCall,
    TruncateCall,
)
from harness.engines.calls.names import LinkCall, MakeCall, RenameCall, UnlinkCall, note_outside
from harness.engines.shim.doors import Frame
from harness.engines.shim.places import opened_name, spelled
from harness.engines.shim.watch import Acting, Held, Watch

_O_TMPFILE = getattr(os, "O_TMPFILE", 0)
_CREATE_NEW = os.O_CREAT | os.O_EXCL
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


class ShimCall(Call):
    """A call whose result comes with facts that only its process can know."""

    __slots__ = ()

    watch: Watch
    thread: Acting


class OpenCall(ShimCall):
    """An open that may create, truncate or write. Facts: descriptor, device, inode, mode, links, size."""

    __slots__ = ("before", "flags", "located", "name", "path", "unnamed")

    def __init__(self, watch: Watch, thread: Acting, syscall: str, located: str, flags: int) -> None:
        super().__init__(watch, thread, syscall)
        self.located = located
        self.flags = flags
        self.unnamed = bool(_O_TMPFILE) and flags & _O_TMPFILE == _O_TMPFILE
        self.name = opened_name(located)
        self.path = watch.root.relative(self.name)
        exclusive = flags & _CREATE_NEW == _CREATE_NEW
        self.before = None if self.unnamed else status(located, not (exclusive or flags & _NO_FOLLOW))

    @property
    def concerns_us(self) -> bool:
        """Whether the engine need know what this opens: a FIFO may wait for its reader, a directory is no file."""
        return self.before is None or stat.S_ISREG(self.before.st_mode) or stat.S_ISLNK(self.before.st_mode)

    def predict(self) -> AnyOperation | None:
        """Return the open as it would go; ``None`` if it leads outside."""
        if self.path is None and not (self.unnamed and self.watch.root.relative(f"{self.name}{os.sep}x")):
            return None
        path = None if self.unnamed else self.path
        return Open(path=path, flags=self.flags, created=self.before is None, **self.stamp())

    def needs_space(self) -> bool:
        """Whether a new file would be made."""
        return self.before is None and bool(self.flags & os.O_CREAT or self.unnamed)

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the open, with the inode that the descriptor shows."""
        watch = self.watch
        if returned < 0:
            if self.path is None:
                return ()
            return (Open(path=self.path, flags=self.flags, **self.stamp(-returned)),)
        fd, device, inode, mode, links, _ = self.facts
        if not stat.S_ISREG(mode):
            watch.drop(self.thread.process, fd)
            return ()
        key = (device, inode)
        created = self.before is None
        inside = self.path is not None or self.predict() is not None
        if created and inside:
            ino: int | None = watch.inodes.create(key)
        elif created:
            watch.inodes.forget(key)
            ino = None
        else:
            ino = watch.inodes.get(key)
        flags = self.flags
        writable, append = bool(flags & (os.O_WRONLY | os.O_RDWR)), bool(flags & os.O_APPEND)
        watch.hold(self.thread.process, fd, Held(ino, writable, append))
        if ino is None:
            return self._outside(mode)
        named = self.path is not None and not self.unnamed and links > 0
        truncated = not created and bool(flags & os.O_TRUNC)
        op = Open(
            path=self.path if named else None,
            ino=ino,
            fd=fd,
            flags=flags,
            mode=stat.S_IMODE(mode),
            created=created,
            truncated=truncated,
            append=append,
            **self.stamp(),
        )
        return (op,)

    def _outside(self, mode: int) -> Sequence[AnyOperation]:
        watch = self.watch
        if self.path is not None:
            watch.not_seen(f"who made {self.path}: it was not there at the start and no watched process made it")
            return ()
        info = status(self.name or self.located)
        if self.name is None or self.name in watch.outside or info is None or not is_outside_file(self.name, info):
            return ()
        watch.outside.add(self.name)
        return (Outside(path=self.name, **self.stamp()),)


class WriteCall(ShimCall):
    """A write into a file of the state directory. Facts: bytes written, position, size of the file."""

    __slots__ = ("data", "fd", "held", "offset")

    def __init__(
        self, watch: Watch, thread: Acting, syscall: str, fd: int, held: Held, data: bytes, at: int
    ) -> None:
        super().__init__(watch, thread, syscall)
        self.fd = fd
        self.held = held
        self.data = data
        self.offset = at

    def predict(self) -> AnyOperation:
        """Return the write as asked; where it lands is not known before it ran."""
        return self._refused(0)

    def _refused(self, error: int) -> Write:
        assert self.held.ino is not None
        offset = max(self.offset, 0)
        return Write(
            ino=self.held.ino, offset=offset, data=b"", requested=self.data, fd=self.fd, **self.stamp(error)
        )

    def needs_space(self) -> bool:
        """Whether anything is written at all."""
        return bool(self.data)

    def cut(self) -> int:
        """Return how many bytes could be kept from being written."""
        return len(self.data)

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the write with the bytes that landed, where they landed."""
        if returned < 0:
            return (self._refused(-returned),)
        done, position, size = self.facts
        # Linux appends whatever the offset of pwrite says (pwrite(2), BUGS)
        offset = size - done if self.held.append else self.offset if self.offset >= 0 else position - done
        self.watch.check_size(offset + done)
        whole = done == len(self.data)
        op = Write(
            ino=self.held.ino or 0,
            offset=offset,
            data=self.data if whole else self.data[:done],
            requested=b"" if whole else self.data,
            fd=self.fd,
            **self.stamp(),
        )
        return (op,)


class OutputCall(ShimCall):
    """A write to the target's standard output: the place of acknowledgements in the order. Facts: bytes written."""

    __slots__ = ("data",)

    def __init__(self, watch: Watch, thread: Acting, syscall: str, data: bytes) -> None:
        super().__init__(watch, thread, syscall)
        self.data = data

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return one acknowledgement per complete line that matches."""
        if returned < 0:
            return ()
        ids = self.watch.take_output(self.data[: self.facts[0]])
        return [Ack(id=name, batch=index, **self.stamp(ahead=index)) for index, name in enumerate(ids)]


class AllocateCall(ShimCall):
    """posix_fallocate. Facts: the size of the file."""

    __slots__ = ("ino", "size")

    def __init__(self, watch: Watch, thread: Acting, ino: int, size: int) -> None:
        super().__init__(watch, thread, "fallocate")
        self.ino = ino
        self.size = size

    def predict(self) -> AnyOperation:
        """Return the allocation as the size it may leave."""
        return Truncate(ino=self.ino, size=self.size, **self.stamp())

    def needs_space(self) -> bool:
        """It may need blocks."""
        return True

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the size that it left."""
        size = self.facts[0] if returned >= 0 else self.size
        return (Truncate(ino=self.ino, size=size, **self.stamp(max(-returned, 0))),)


class MapCall(ShimCall):
    """A shared writable mapping made: from now on the file's content cannot be answered for."""

    __slots__ = ("ino",)

    def __init__(self, watch: Watch, thread: Acting, ino: int) -> None:
        super().__init__(watch, thread, "mmap")
        self.ino = ino

    def predict(self) -> AnyOperation:
        """Return the mapping."""
        return Map(ino=self.ino, what="MAP_SHARED", **self.stamp())

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the mapping, and note what is not seen from now on."""
        self.watch.mapped.add(self.ino)
        self.watch.not_seen("stores through a shared mapping")
        return (Map(ino=self.ino, what="MAP_SHARED", **self.stamp(max(-returned, 0))),)


def _at(thread: Acting, frame: Frame, index: int) -> str:
    return spelled(frame.fields[index], frame.fields[index + 1], thread.process.pid)


def _held(thread: Acting, frame: Frame, index: int) -> Held | None:
    held = thread.process.fds.get(frame.number(index))
    return held if held is not None and held.ino is not None else None


def _open(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    call = OpenCall(watch, thread, frame.fields[2].decode(), _at(thread, frame, 3), frame.number(5))
    return call if call.concerns_us else None


def _write(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    watch.spend(len(frame.payload))
    held = _held(thread, frame, 3)
    if held is None:
        return None
    syscall, fd, offset = frame.fields[2].decode(), frame.number(3), frame.number(4)
    return WriteCall(watch, thread, syscall, fd, held, frame.payload, offset)


def _output(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    return OutputCall(watch, thread, frame.fields[2].decode(), frame.payload)


def _sync(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    syscall = frame.fields[2].decode()
    if syscall == "sync":
        return SyncCall(watch, thread, syscall, NO_INODE, "all")
    held = _held(thread, frame, 3)
    return None if held is None else SyncCall(watch, thread, syscall, held.ino or 0, SYNC_SCOPES[syscall])


def _ftruncate(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    held = _held(thread, frame, 2)
    return None if held is None else TruncateCall(watch, thread, "ftruncate", held.ino or 0, frame.number(3), 0)


def _truncate(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    info = status(_at(thread, frame, 2))
    ino = None if info is None else watch.inodes.get((info.st_dev, info.st_ino))
    if info is None or ino is None:
        return None
    return TruncateCall(watch, thread, "truncate", ino, frame.number(4), info.st_size)


def _allocate(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    held = _held(thread, frame, 2)
    return None if held is None else AllocateCall(watch, thread, held.ino or 0, frame.number(3))


def _rename(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    call = RenameCall(watch, thread, "rename", _at(thread, frame, 3), _at(thread, frame, 5), 0)
    return call if call.touches_root() else None


def _link(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    follow = bool(frame.number(7))
    call = LinkCall(watch, thread, "link", _at(thread, frame, 3), _at(thread, frame, 5), follow=follow)
    if call.target[1] is None:
        note_outside(watch, thread, call)
        return None
    return call


def _unlink(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    path = watch.root.name(_at(thread, frame, 3))[1]
    return None if path is None else UnlinkCall(watch, thread, frame.fields[2].decode(), path)


def _make(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    kind = frame.fields[0]
    absolute, path = watch.root.name(_at(thread, frame, 3))
    if absolute is None or path is None:
        return None
    destination = os.fsdecode(frame.fields[5]) if kind == b"symlink" else None
    bits = {b"mkdir": stat.S_IFDIR, b"symlink": stat.S_IFLNK}.get(kind)
    if bits is None:
        bits = stat.S_IFMT(frame.number(5)) or stat.S_IFREG
    syscall = frame.fields[2].decode()
    return MakeCall(watch, thread, syscall, (absolute, path), type_bits=bits, destination=destination)


def _located(watch: Watch, thread: Acting, frame: Frame) -> Located | None:
    """Return the file that a call on metadata is about: of a descriptor, a path, or a link itself."""
    how = frame.fields[3]
    if how == b"fd":
        held = _held(thread, frame, 4)
        return None if held is None else Located("", True, held.ino or 0)
    path = spelled(frame.fields[4], frame.fields[5], thread.process.pid)
    info = status(path, how == b"path")
    ino = None if info is None else watch.inodes.get((info.st_dev, info.st_ino))
    return None if ino is None else Located(path, how == b"path", ino)


class _ModeByFact(ModeCall):
    """fchmod: the file may have no name to look at. Facts: the mode it has now."""

    __slots__ = ()

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        if returned >= 0 and self.facts:
            self.mode = stat.S_IMODE(self.facts[0])
        return super().finish(returned)


class _TimesByFact(TimesCall):
    """utime. Facts: the modification time it has now."""

    __slots__ = ()

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        if returned >= 0 and self.facts and self.mtime_ns is not None:
            self.mtime_ns = self.facts[0]
        return super().finish(returned)


def _chmod(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    file = _located(watch, thread, frame)
    if file is None:
        return None
    return _ModeByFact(watch, thread, frame.fields[2].decode(), file, frame.number(6))


def _utime(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    file = _located(watch, thread, frame)
    if file is None:
        return None
    return _TimesByFact(watch, thread, frame.fields[2].decode(), file, None if frame.number(6) else 0)


def _attribute(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    file = _located(watch, thread, frame)
    what = frame.fields[6].decode("utf-8", "replace")
    return None if file is None else AttributeCall(watch, thread, frame.fields[2].decode(), file, what)


def _lock(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    held = _held(thread, frame, 2)
    if held is None:
        return None
    what = frame.fields[3].decode()
    syscall = "fcntl" if what.startswith("F_") else "flock"
    return LockCall(watch, thread, syscall, held.ino or 0, what, waits=bool(frame.number(4)))


def _map(watch: Watch, thread: Acting, frame: Frame) -> Call | None:
    held = _held(thread, frame, 2)
    return None if held is None else MapCall(watch, thread, held.ino or 0)


DECODERS: dict[bytes, Callable[[Watch, Acting, Frame], Call | None]] = {
    b"open": _open,
    b"write": _write,
    b"output": _output,
    b"sync": _sync,
    b"ftruncate": _ftruncate,
    b"truncate": _truncate,
    b"allocate": _allocate,
    b"rename": _rename,
    b"link": _link,
    b"unlink": _unlink,
    b"mkdir": _make,
    b"symlink": _make,
    b"mknod": _make,
    b"chmod": _chmod,
    b"utime": _utime,
    b"attribute": _attribute,
    b"lock": _lock,
    b"map": _map,
}
"""The first field of a request → what it asks for. ``None``: it does not matter, and need not be told of its end."""
