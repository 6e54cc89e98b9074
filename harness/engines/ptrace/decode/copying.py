"""sendfile, copy_file_range, splice, FICLONE: data that moves inside the kernel and is read back from its target."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence

from harness.core.operation import AnyOperation, Truncate, Write
from harness.engines.calls.call import Call, status
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode.call import Arguments, Cut, TracedCall
from harness.engines.ptrace.decode.reading import read_back
from harness.engines.ptrace.decode.writing import CURRENT_POSITION
from harness.engines.ptrace.descriptors import position
from harness.engines.ptrace.filter import FICLONERANGE
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_LENGTH_REGISTER = {"sendfile": abi.R10, "copy_file_range": abi.R8, "splice": abi.R8}


class CopyCall(TracedCall):
    """A copy into a file. ``offset`` is -1 for "at the file position".

    The kernel refuses these calls for descriptors with O_APPEND.
    """

    __slots__ = ("fd", "ino", "length", "offset")

    def __init__(
        self,
        watch: Watch,
        thread: Thread,
        syscall: str,
        *,
        fd: int,
        ino: int,
        offset: int,
        length: int,
    ) -> None:
        super().__init__(watch, thread, syscall)
        self.fd = fd
        self.ino = ino
        self.offset = offset
        self.length = length
        self.exclusive = syscall != "splice"  # a splice may wait for a pipe

    def predict(self) -> AnyOperation:
        """Return a write of unknown data."""
        return Write(ino=self.ino, offset=max(self.offset, 0), data=b"", fd=self.fd, **self.stamp())

    def needs_space(self) -> bool:
        """Whether anything is copied."""
        return self.length > 0

    def cut(self) -> Cut:
        """Return the length register."""
        return Cut(self.length, _LENGTH_REGISTER[self.syscall])

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the write with the data that is now in the file."""
        if returned < 0:
            op = Write(ino=self.ino, offset=max(self.offset, 0), data=b"", fd=self.fd, **self.stamp(-returned))
            return (op,)
        self.watch.sizes.pop(self.ino, None)
        offset = self.offset
        if offset == CURRENT_POSITION:
            offset = position(self.thread.tid, self.fd) - returned
        self.watch.check_size(offset + returned)
        data = read_back(self.watch, self.thread, self.fd, offset, returned)
        return (Write(ino=self.ino, offset=offset, data=data, fd=self.fd, **self.stamp()),)


class CloneCall(TracedCall):
    """FICLONE, FICLONERANGE: blocks shared with another file."""

    __slots__ = ("fd", "ino", "offset", "size")

    def __init__(
        self, watch: Watch, thread: Thread, syscall: str, fd: int, ino: int, offset: int, size: int
    ) -> None:
        super().__init__(watch, thread, syscall)
        self.fd = fd
        self.ino = ino
        self.offset = offset
        self.size = size

    def predict(self) -> AnyOperation:
        """Return a write of unknown data."""
        return Write(ino=self.ino, offset=self.offset, data=b"", fd=self.fd, atomic=True, **self.stamp())

    def needs_space(self) -> bool:
        """Shared blocks need metadata."""
        return True

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the data that is now in the file."""
        if returned < 0:
            op = Write(
                ino=self.ino, offset=self.offset, data=b"", fd=self.fd, atomic=True, **self.stamp(-returned)
            )
            return (op,)
        size = os.stat(f"/proc/{self.thread.tid}/fd/{self.fd}").st_size
        self.watch.check_size(size)
        self.watch.sizes[self.ino] = size
        end = min(size, self.offset + self.size) if self.size else size
        data = read_back(self.watch, self.thread, self.fd, self.offset, end - self.offset)
        written = Write(ino=self.ino, offset=self.offset, data=data, fd=self.fd, atomic=True, **self.stamp())
        return (written, Truncate(ino=self.ino, size=size, **self.stamp(ahead=1)))


def _copy(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    sendfile = name == "sendfile"
    fd = args[0 if sendfile else 2] & 0xFFFFFFFF
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, fd)
    if description is None:
        return None
    if description.stdout:
        watch.not_seen(f"acknowledgements among output that {name} copied to standard output")
        return None
    ino = watch.inodes.get(description.key)
    if ino is None:
        return None
    offset = CURRENT_POSITION
    if not sendfile and args[3]:
        offset = int.from_bytes(thread.process.read(args[3], 8), "little", signed=True)
    call = CopyCall(
        watch,
        thread,
        name,
        fd=fd,
        ino=ino,
        offset=offset,
        length=min(args[3 if sendfile else 4], 0x7FFFF000),
    )
    if sendfile:
        source = status(f"/proc/{thread.tid}/fd/{args[1] & 0xFFFFFFFF}")
        call.exclusive = source is not None and stat.S_ISREG(source.st_mode)
    return call


def _clone(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    fd = args[0] & 0xFFFFFFFF
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, fd)
    ino = None if description is None else watch.inodes.get(description.key)
    if ino is None:
        return None
    offset = size = 0
    if args[1] & 0xFFFFFFFF == FICLONERANGE:
        raw = thread.process.read(args[2], 32)
        if len(raw) == 32:
            _, _, size, offset = struct.unpack("qQQQ", raw)
    return CloneCall(watch, thread, "ficlone" if not size else "ficlonerange", fd, ino, offset, size)


DECODERS = {**dict.fromkeys(_LENGTH_REGISTER, _copy), "ioctl": _clone}
