"""A system call between its entry and its exit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.engines.calls.call import Call
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch


class Cut(NamedTuple):
    """How many bytes a call asks to write, and where that length stands: a register, or an iovec array.

    ``parts`` are the (address, length) pairs of the array at ``vector``.
    """

    length: int
    register: int = -1
    vector: int = 0
    parts: tuple[tuple[int, int], ...] = ()


class TracedCall(Call):
    """A system call of a traced thread."""

    __slots__ = ()

    watch: Watch
    thread: Thread


Arguments = Sequence[int]
"""The six arguments of a system call as unsigned 64-bit values."""

Decoder = Callable[[Watch, Thread, str, Arguments], Call | None]
"""Looks at a call at its entry. ``None``: it does not matter, or its effect is recorded already."""
