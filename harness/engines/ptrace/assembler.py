"""A tiny assembler for classic BPF: instructions with labels, resolved to relative jumps.

Source of the encoding: ``include/uapi/linux/filter.h``. Jumps reach 255 instructions forward; a program that needs
more is refused.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

LOAD = 0x20
JUMP = 0x05
JUMP_EQUAL = 0x15
JUMP_SET = 0x45
RETURN = 0x06


class _Line(NamedTuple):
    code: int
    operand: int
    then: str
    otherwise: str


class Assembler:
    """Collects instructions; an empty label means "the next instruction"."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """Name the next instruction."""
        if name in self._labels:
            raise ValueError(f"label {name!r} is set twice")
        self._labels[name] = len(self._lines)

    def load(self, offset: int) -> None:
        """Load the 32-bit word at ``offset`` of ``struct seccomp_data``."""
        self._lines.append(_Line(LOAD, offset, "", ""))

    def if_equal(self, value: int, then: str = "", otherwise: str = "") -> None:
        """Branch on the loaded word being ``value``."""
        self._lines.append(_Line(JUMP_EQUAL, value, then, otherwise))

    def if_set(self, mask: int, then: str = "", otherwise: str = "") -> None:
        """Branch on the loaded word having any bit of ``mask``."""
        self._lines.append(_Line(JUMP_SET, mask, then, otherwise))

    def jump(self, label: str) -> None:
        """Go to ``label``."""
        self._lines.append(_Line(JUMP, 0, label, ""))

    def give(self, value: int) -> None:
        """Return ``value`` as the filter's decision."""
        self._lines.append(_Line(RETURN, value, "", ""))

    def assemble(self) -> bytes:
        """Return the program as ``struct sock_filter[]``."""
        out = []
        for position, line in enumerate(self._lines):
            if line.code == JUMP:
                out.append(struct.pack("HBBI", JUMP, 0, 0, self._distance(position, line.then)))
                continue
            jumps = [self._distance(position, name) if name else 0 for name in (line.then, line.otherwise)]
            if max(jumps) > 255:
                raise ValueError(f"jump of {max(jumps)} instructions at {position}")
            out.append(struct.pack("HBBI", line.code, jumps[0], jumps[1], line.operand))
        return b"".join(out)

    def _distance(self, position: int, label: str) -> int:
        distance = self._labels[label] - position - 1
        if distance < 0:
            raise ValueError(f"label {label!r} lies behind its jump")
        return distance
