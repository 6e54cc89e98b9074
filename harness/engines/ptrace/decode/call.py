"""A system call between its entry and its exit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from harness.core.operation import AnyOperation
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


class Call:
    """One call in flight.

    Subclasses say what it would do (:meth:`predict`) and what it did (:meth:`finish`). A call that may wait for
    another process is not ``exclusive``: the others run on meanwhile.
    """

    __slots__ = ("at_ns", "exclusive", "syscall", "thread", "watch")

    def __init__(self, watch: Watch, thread: Thread, syscall: str) -> None:
        self.watch = watch
        self.thread = thread
        self.syscall = syscall
        self.at_ns = watch.now()
        self.exclusive = True

    def predict(self) -> AnyOperation | None:
        """Return the operation as it would be recorded if it succeeded as asked; ``None`` if nothing would be."""
        return None

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the operations that the call was, given its return value (``-errno`` for a failure)."""
        raise NotImplementedError

    def needs_space(self) -> bool:
        """Whether the call fails on a full disk."""
        return False

    def cut(self) -> Cut | None:
        """Return where the call's length can be shortened, ``None`` where it cannot."""
        return None

    def stamp(self, error: int = 0, ahead: int = 0) -> dict[str, Any]:
        """Return the fields every operation of this call carries."""
        return self.watch.stamp(self.thread, self.syscall, self.at_ns, ahead, error)


Arguments = Sequence[int]
"""The six arguments of a system call as unsigned 64-bit values."""

Decoder = Callable[[Watch, Thread, str, Arguments], Call | None]
"""Looks at a call at its entry. ``None``: it does not matter, or its effect is recorded already."""
