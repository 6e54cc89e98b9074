"""truncate, ftruncate, fallocate: sizes, holes and zeroed ranges."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness.core.operation import AnyOperation, Truncate, Write
from harness.engines.calls.call import Call, status
from harness.engines.calls.files import TruncateCall
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode.call import Arguments, TracedCall
from harness.engines.ptrace.decode.reading import read_back
from harness.engines.ptrace.paths import locate
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_KEEP_SIZE = 0x01
_COLLAPSE = 0x08
_INSERT = 0x20


class AllocateCall(TracedCall):
    """fallocate. A change of content (hole, zeroes, collapse, insert) is read back as one write."""

    __slots__ = ("before", "fd", "ino", "mode", "offset", "size")

    def __init__(self, watch: Watch, thread: Thread, syscall: str, ino: int, args: Arguments) -> None:
        super().__init__(watch, thread, syscall)
        self.ino = ino
        self.fd, self.mode = args[0] & 0xFFFFFFFF, args[1] & 0xFFFFFFFF
        self.offset, self.size = abi.signed(args[2]), abi.signed(args[3])
        info = status(f"/proc/{thread.tid}/fd/{self.fd}")
        self.before = 0 if info is None else info.st_size

    def predict(self) -> AnyOperation:
        """Return the allocation as the size it leaves."""
        grown = self.before if self.mode & _KEEP_SIZE else max(self.before, self.offset + self.size)
        return Truncate(ino=self.ino, size=grown, **self.stamp())

    def needs_space(self) -> bool:
        """Every mode may need blocks."""
        return True

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the new size, and the content of the range if the mode changes it."""
        if returned < 0:
            return (Truncate(ino=self.ino, size=self.before, **self.stamp(-returned)),)
        info = os.stat(f"/proc/{self.thread.tid}/fd/{self.fd}")
        self.watch.check_size(info.st_size)
        self.watch.sizes[self.ino] = info.st_size
        sized = Truncate(ino=self.ino, size=info.st_size, **self.stamp())
        if self.mode in (0, _KEEP_SIZE):
            return (sized,)
        shifts = self.mode & (_COLLAPSE | _INSERT)
        end = info.st_size if shifts else min(info.st_size, self.offset + self.size)
        data = read_back(self.watch, self.thread, self.fd, self.offset, end - self.offset)
        if not data:
            return (sized,)
        written = Write(
            ino=self.ino, offset=self.offset, data=data, fd=self.fd, atomic=True, **self.stamp(ahead=1)
        )
        return (sized, written)


def _truncate(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    info = status(locate(thread, abi.AT_FDCWD, thread.process.string(args[0])))
    ino = None if info is None else watch.inodes.get((info.st_dev, info.st_ino))
    if info is None or ino is None:
        return None
    return TruncateCall(watch, thread, name, ino, abi.signed(args[1]), info.st_size)


def _by_descriptor(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    fd = args[0] & 0xFFFFFFFF
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, fd)
    ino = None if description is None else watch.inodes.get(description.key)
    if ino is None:
        return None
    if name == "fallocate":
        return AllocateCall(watch, thread, name, ino, args)
    info = status(f"/proc/{thread.tid}/fd/{fd}")
    return TruncateCall(watch, thread, name, ino, abi.signed(args[1]), 0 if info is None else info.st_size)


DECODERS = {"truncate": _truncate, "ftruncate": _by_descriptor, "fallocate": _by_descriptor}
