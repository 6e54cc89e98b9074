"""write, pwrite64, writev, pwritev, pwritev2: bytes from memory into a file, or onto standard output."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from time import monotonic_ns

from harness.core.operation import Ack, AnyOperation, Write
from harness.engines.calls.call import Call
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode.call import Arguments, Cut, TracedCall
from harness.engines.ptrace.descriptors import Description, position
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_MAX_PARTS = 1024
_MOST_SHOWN = 1 << 24
"""Bytes of one write to standard output that are searched for acknowledgements (16 MiB)."""

_RWF_APPEND = 0x10
CURRENT_POSITION = -1


class WriteCall(TracedCall):
    """A write into a file of the state directory. ``offset`` is -1 for "at the file position"."""

    __slots__ = ("data", "description", "fd", "ino", "length", "offset")

    def __init__(
        self,
        watch: Watch,
        thread: Thread,
        syscall: str,
        *,
        fd: int,
        ino: int,
        description: Description,
        data: bytes,
        offset: int,
        length: Cut,
    ) -> None:
        # Not through the base class: this is the hot path.
        self.watch = watch
        self.thread = thread
        self.syscall = syscall
        self.at_ns = monotonic_ns() - watch.started_ns
        self.exclusive = True
        self.fd = fd
        self.ino = ino
        self.description = description
        self.data = data
        self.offset = offset
        self.length = length

    def predict(self) -> AnyOperation:
        """Return the write as asked; its offset is not known before it ran."""
        return self._refused(0)

    def _refused(self, error: int) -> Write:
        return Write(
            ino=self.ino,
            offset=max(self.offset, 0),
            data=b"",
            requested=self.data,
            fd=self.fd,
            **self.stamp(error),
        )

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the write with the bytes that landed, where they landed."""
        if returned < 0:
            return (self._refused(-returned),)
        whole = returned == len(self.data)
        offset = self._landed_at(returned)
        self.watch.check_size(offset + returned)
        sizes = self.watch.sizes
        known = sizes.get(self.ino)
        if known is not None and offset + returned > known:
            sizes[self.ino] = offset + returned
        op = Write(
            ino=self.ino,
            offset=offset,
            data=self.data if whole else self.data[:returned],
            requested=b"" if whole else self.data,
            fd=self.fd,
            **self.stamp(),
        )
        return (op,)

    def _landed_at(self, returned: int) -> int:
        if self.description.append and returned:
            # A descriptor with O_APPEND appends on Linux, whatever the offset of pwrite says (pwrite(2), BUGS).
            known = self.watch.sizes.get(self.ino)
            if known is not None:
                return known
            size = os.stat(f"/proc/{self.thread.tid}/fd/{self.fd}").st_size
            self.watch.sizes[self.ino] = size
            return size - returned
        if self.offset == CURRENT_POSITION:
            return position(self.thread.tid, self.fd) - returned
        return self.offset

    def needs_space(self) -> bool:
        """Whether anything is written at all."""
        return bool(self.data)

    def cut(self) -> Cut:
        """Return where the length stands."""
        return self.length


class StdoutCall(TracedCall):
    """A write to the target's standard output: the place of acknowledgements in the order."""

    __slots__ = ("data",)

    def __init__(self, watch: Watch, thread: Thread, syscall: str, data: bytes) -> None:
        super().__init__(watch, thread, syscall)
        self.data = data

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return one acknowledgement per complete line that matches."""
        if returned <= 0:
            return ()
        watch = self.watch
        ids = watch.take_output(self.data if returned >= len(self.data) else self.data[:returned])
        return [Ack(id=name, batch=index, **self.stamp(ahead=index)) for index, name in enumerate(ids)]


def _parts(thread: Thread, address: int, count: int) -> tuple[tuple[int, int], ...]:
    raw = thread.process.read(address, 16 * min(count, _MAX_PARTS))
    return tuple(struct.iter_unpack("QQ", raw[: len(raw) // 16 * 16]))


def _scalar(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    fd = args[0] & 0xFFFFFFFF
    table = thread.process.descriptors
    description = table.open[fd] if fd in table.open else watch.descriptors.lookup(table, thread.tid, fd)
    if description is None:
        return None
    if description.stdout:
        return StdoutCall(watch, thread, name, thread.process.read(args[1], min(args[2], _MOST_SHOWN)))
    ino = watch.inodes.get(description.key)
    watch.spend(args[2])
    if ino is None:
        return None
    return WriteCall(
        watch,
        thread,
        name,
        fd=fd,
        ino=ino,
        description=description,
        data=thread.process.read(args[1], args[2]),
        offset=abi.signed(args[3]) if name == "pwrite64" else CURRENT_POSITION,
        length=Cut(args[2], abi.RDX),
    )


def _vector(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    fd = args[0] & 0xFFFFFFFF
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, fd)
    if description is None:
        return None
    parts = _parts(thread, args[1], args[2])
    length = sum(size for _, size in parts)
    if description.stdout:
        shown = b"".join(thread.process.read(address, size) for address, size in parts if size < _MOST_SHOWN)
        return StdoutCall(watch, thread, name, shown)
    watch.spend(length)
    ino = watch.inodes.get(description.key)
    if ino is None:
        return None
    data = b"".join(thread.process.read(address, size) for address, size in parts if size)
    offset = CURRENT_POSITION if name == "writev" else abi.signed(args[3])
    if name == "pwritev2" and args[5] & _RWF_APPEND:
        description = Description(description.key, append=True)
        offset = max(offset, 0)
    return WriteCall(
        watch,
        thread,
        name,
        fd=fd,
        ino=ino,
        description=description,
        data=data,
        offset=offset,
        length=Cut(length, vector=args[1], parts=parts),
    )


DECODERS = {
    "write": _scalar,
    "pwrite64": _scalar,
    "writev": _vector,
    "pwritev": _vector,
    "pwritev2": _vector,
}
