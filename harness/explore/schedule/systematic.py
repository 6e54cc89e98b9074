"""All interleavings with at most so many preemptions, fewest first: iterative context bounding.

A preemption takes the turn from a strand that could go on (Musuvathi and Qadeer, PLDI 2007). The search is stateless:
each run begins with a prefix of decisions and then interrupts nobody; where other strands waited behind the prefix,
further prefixes begin. Every interleaving belongs to exactly one prefix, so none is tried twice. Pure.

Non-goals: leaving out interleavings that differ in nothing that matters (partial order reduction).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from harness.explore.schedule.actors import strand_of
from harness.explore.schedule.schedulers import first_of

Decisions = tuple[str, ...]


def preemptions(decisions: Sequence[str], offered: Sequence[Sequence[str]]) -> int:
    """Return how often the turn was taken from a strand that still waited."""
    return sum(
        _preempts(decisions[index - 1], offered[index], decisions[index]) for index in range(1, len(decisions))
    )


def _preempts(last: str, waiting: Sequence[str], chosen: str) -> bool:
    strand = strand_of(last)
    return strand != strand_of(chosen) and any(strand_of(label) == strand for label in waiting)


class Systematic:
    """The prefixes that are left. ``limit``: the most preemptions of an interleaving."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tried = 0
        self._left: list[deque[Decisions]] = [deque() for _ in range(limit + 1)]
        self._left[0].append(())

    def next(self) -> Decisions | None:
        """Return the prefix to run next, one with the fewest preemptions first; ``None`` when all were run."""
        for prefixes in self._left:
            if prefixes:
                return prefixes.popleft()
        return None

    def ran(self, prefix: Decisions, decisions: Sequence[str], offered: Sequence[Sequence[str]]) -> None:
        """Take what the run of ``prefix`` showed: its decisions, and who waited at each."""
        self.tried += 1
        spent = preemptions(decisions[: len(prefix)], offered)
        for index in range(len(prefix), len(decisions)):
            last = decisions[index - 1] if index else ""
            for strand in sorted({strand_of(label) for label in offered[index]} - {strand_of(decisions[index])}):
                other = first_of(strand, offered[index])
                cost = spent + bool(last and _preempts(last, offered[index], other))
                if cost <= self.limit:
                    self._left[cost].append((*decisions[:index], other))
            if last:  # who interrupts nobody spends nothing, but a run need not have kept to that
                spent += _preempts(last, offered[index], decisions[index])

    @property
    def waiting(self) -> int:
        """How many prefixes are known and not run."""
        return sum(len(prefixes) for prefixes in self._left)
