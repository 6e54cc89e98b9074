"""Making a write shorter than the program asked: in a register, or in its iovec array."""

from __future__ import annotations

import struct

from harness.core.fault import Kill, Short
from harness.engines.calls.call import Call
from harness.engines.inject import Decision
from harness.engines.ptrace.abi import Registers
from harness.engines.ptrace.decode.call import Cut


class Shortened:
    """A call whose length was cut at its entry, and what it takes to undo that at its exit."""

    __slots__ = ("_call", "_cut", "fault", "length")

    def __init__(self, call: Call, cut: Cut, fault: Kill | Short, length: int) -> None:
        self._call = call
        self._cut = cut
        self.fault = fault
        self.length = length

    @classmethod
    def apply(cls, call: Call, registers: Registers, decision: Decision) -> Shortened:
        """Cut the call to ``decision.cut`` bytes; its thread stands at the entry."""
        cut = call.cut()
        assert cut is not None and isinstance(decision.fault, Kill | Short)
        shortened = cls(call, cut, decision.fault, decision.cut)
        if cut.register >= 0:
            registers.write(call.thread.tid, {cut.register: decision.cut})
        else:
            shortened._rewrite(decision.cut)
        return shortened

    def _rewrite(self, left: int) -> None:
        parts = []
        for address, size in self._cut.parts:
            kept = min(size, left)
            left -= kept
            parts.append(struct.pack("QQ", address, kept))
        self._call.thread.process.write(self._cut.vector, b"".join(parts))

    def restore(self, registers: Registers) -> None:
        """Put the length back; the thread stands at the exit, and ``registers`` were just read."""
        if self._cut.register >= 0:
            registers.write(self._call.thread.tid, {self._cut.register: self._cut.length})
        else:
            self._rewrite(self._cut.length)
