"""io_submit: the writes and syncs of libaio, decoded from their control blocks at the entry.

The kernel runs buffered ones before it returns; direct ones may land later, in an order nobody sees. Both are
recorded where they were submitted.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from harness.core.operation import AnyOperation, Sync, Write
from harness.engines.calls.call import Call
from harness.engines.ptrace.decode.call import Arguments, TracedCall
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_PWRITE, _FSYNC, _FDSYNC, _PWRITEV = 1, 2, 3, 8
_CONTROL_BLOCK = struct.Struct("<QIIHhIQQqQII")  # struct iocb of include/uapi/linux/aio_abi.h
_MAX_BLOCKS = 1024


class _Block(NamedTuple):
    """One submitted write or sync of a file in the state directory; ``place`` is where in the array."""

    place: int
    opcode: int
    fd: int
    ino: int
    offset: int
    data: bytes


class SubmitCall(TracedCall):
    """Several operations handed over in one call."""

    __slots__ = ("blocks",)

    def __init__(self, watch: Watch, thread: Thread, syscall: str, blocks: list[_Block]) -> None:
        super().__init__(watch, thread, syscall)
        self.blocks = blocks

    def _operation(self, block: _Block, error: int, ahead: int) -> AnyOperation:
        stamp = self.stamp(error, ahead)
        if block.opcode in (_FSYNC, _FDSYNC):
            return Sync(ino=block.ino, scope="file" if block.opcode == _FSYNC else "data", **stamp)
        landed, asked = (b"", block.data) if error else (block.data, b"")
        return Write(ino=block.ino, offset=block.offset, data=landed, requested=asked, fd=block.fd, **stamp)

    def predict(self) -> AnyOperation:
        """Return the first of the operations."""
        return self._operation(self.blocks[0], 0, 0)

    def needs_space(self) -> bool:
        """Whether one of them writes."""
        return any(block.data for block in self.blocks)

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the operations that were accepted; all of them, as failed, if none was."""
        error = max(-returned, 0)
        for block in self.blocks:
            self.watch.sizes.pop(block.ino, None)
        taken = [block for block in self.blocks if error or block.place < returned]
        return [self._operation(block, error, ahead) for ahead, block in enumerate(taken)]


def _submit(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    process = thread.process
    count = min(args[1], _MAX_BLOCKS)
    blocks: list[_Block] = []
    for index, (pointer,) in enumerate(struct.iter_unpack("Q", process.read(args[2], 8 * count))):
        raw = process.read(pointer, _CONTROL_BLOCK.size)
        if len(raw) < _CONTROL_BLOCK.size:
            break
        _, _, _, opcode, _, fd, buffer, size, offset, _, _, _ = _CONTROL_BLOCK.unpack(raw)
        if opcode not in (_PWRITE, _PWRITEV, _FSYNC, _FDSYNC):
            continue
        description = watch.descriptors.lookup(process.descriptors, thread.tid, fd)
        ino = None if description is None else watch.inodes.get(description.key)
        if ino is None:
            continue
        data = b""
        if opcode == _PWRITE:
            watch.spend(size)
            data = process.read(buffer, size)
        elif opcode == _PWRITEV:
            parts = list(struct.iter_unpack("QQ", process.read(buffer, 16 * min(size, _MAX_BLOCKS))))
            watch.spend(sum(length for _, length in parts))
            data = b"".join(process.read(address, length) for address, length in parts)
        blocks.append(_Block(index, opcode, fd, ino, offset, data))
    return SubmitCall(watch, thread, name, blocks) if blocks else None


DECODERS = {"io_submit": _submit}
