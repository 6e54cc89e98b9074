"""All interleavings with at most so many preemptions, fewest first: iterative context bounding.

A preemption takes the turn from a strand that could go on (Musuvathi and Qadeer, PLDI 2007). The search is stateless:
each run begins with a prefix of decisions and then interrupts nobody; where other strands waited behind the prefix,
further prefixes begin. Each is begun once, so no interleaving is tried twice. Pure.

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
    """The prefixes that are left. ``limit``: the most preemptions of an interleaving.

    Who waits after the same decisions should be the same in every run. Where a run met others than an earlier one, both
    are followed, and ``unsteady`` says that nobody knows whether there are more.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tried = 0
        self.unsteady = False
        self._left: list[deque[Decisions]] = [deque() for _ in range(limit + 1)]
        self._left[0].append(())
        self._begun: set[int] = set()
        """The prefixes that were run or are left, by the hash of their decisions."""
        self._waited: dict[int, frozenset[str]] = {}
        """Who waited behind a prefix, in the last run that began with it."""

    def next(self) -> Decisions | None:
        """Return the prefix to run next, one with the fewest preemptions first; ``None`` when all were run."""
        for prefixes in self._left:
            if prefixes:
                return prefixes.popleft()
        return None

    def ran(self, decisions: Sequence[str], offered: Sequence[Sequence[str]]) -> None:
        """Take what a run showed: its decisions, and who waited at each."""
        self.tried += 1
        spent = at = 0
        last = ""
        for index, (chosen, waiting) in enumerate(zip(decisions, offered, strict=True)):
            strands = frozenset(map(strand_of, waiting))
            self.unsteady = self.unsteady or self._waited.get(at, strands) != strands
            self._waited[at] = strands
            self._begun.add(hash((at, chosen)))
            for strand in sorted(strands - {strand_of(chosen)}):
                other = first_of(strand, waiting)
                cost, branch = spent + bool(last and _preempts(last, waiting, other)), hash((at, other))
                if cost <= self.limit and branch not in self._begun:
                    self._begun.add(branch)
                    self._left[cost].append((*decisions[:index], other))
            spent += bool(last) and _preempts(last, waiting, chosen)
            at, last = hash((at, chosen)), chosen

    @property
    def waiting(self) -> int:
        """How many prefixes are known and not run."""
        return sum(len(prefixes) for prefixes in self._left)
