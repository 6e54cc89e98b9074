"""Who goes next: schedulers over the labels of the actors that wait. Pure; no clock, no process.

A scheduler is asked once per decision, with the labels in the order in which they came, each once. It answers with
one of them, or with nothing: then it waits for somebody who has not come. Probabilistic concurrency testing is that of
Burckhardt, Kothari, Musuvathi and Nagarakatti (ASPLOS 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.core.schedule import AnySchedule, Handovers, Schedule, Search
from harness.explore.schedule.actors import strand_of
from harness.explore.schedule.draws import Draws


class Scheduler(Protocol):
    """One run's decisions."""

    patient: bool
    """Whether a decision waits until nobody else is on the way."""
    says_first: bool
    """Whether a line is said as soon as somebody stands before one, without a choice: no file is otherwise for it."""

    def choose(self, waiting: Sequence[str]) -> str:
        """Return which of ``waiting`` goes next, or an empty string to wait for somebody else."""
        ...

    def due(self) -> str:
        """Return who alone may come next, an empty string where anybody may."""
        ...

    def over(self) -> bool:
        """Whether the schedule says nothing about any further decision, so that there must be none."""
        ...


class Free:
    """What schedulers share that take whoever is there."""

    patient = True
    says_first = True

    def due(self) -> str:
        """Anybody may come."""
        return ""

    def over(self) -> bool:
        """A search never ends before the run."""
        return False


class Natural(Free):
    """Whoever comes first."""

    patient = False
    says_first = False

    def choose(self, waiting: Sequence[str]) -> str:
        """Return the first."""
        return waiting[0]


class Random(Free):
    """Any strand of those that wait, each as likely as the other."""

    def __init__(self, seed: int) -> None:
        self._draws = Draws(seed)

    def choose(self, waiting: Sequence[str]) -> str:
        """Return one; nothing is drawn where there is no choice."""
        strands = sorted({strand_of(label) for label in waiting})
        chosen = strands[self._draws.below(len(strands))] if len(strands) > 1 else strands[0]
        return first_of(chosen, waiting)


class Pct(Free):
    """Probabilistic concurrency testing: the strand with the highest priority goes, until a change point lowers it.

    A step is a moment at which several strands wait: at any other there is nothing to decide.
    """

    def __init__(self, seed: int, depth: int, steps: int) -> None:
        self._draws = Draws(seed)
        places = self._draws.sample(max(0, depth - 1), max(1, steps))
        self._changes = {place + 1: rank for rank, place in enumerate(places, 1)}
        self._lowest = depth
        self._priorities: dict[str, int] = {}
        self._step = 0

    def choose(self, waiting: Sequence[str]) -> str:
        """Return the strand with the highest priority, after the change that is due at this step."""
        strands = sorted({strand_of(label) for label in waiting})
        for strand in strands:
            if strand not in self._priorities:
                self._priorities[strand] = self._lowest + self._draws.below(1 << 48)
        if len(strands) == 1:
            return first_of(strands[0], waiting)
        self._step += 1
        chosen = max(strands, key=self._priorities.__getitem__)
        if self._step in self._changes:
            self._priorities[chosen] = self._changes[self._step]
            chosen = max(strands, key=self._priorities.__getitem__)
        return first_of(chosen, waiting)


class Uninterrupted(Free):
    """The strand that went last goes on while it can; else the first in the order of labels."""

    def __init__(self) -> None:
        self._last = ""

    def choose(self, waiting: Sequence[str]) -> str:
        """Return the last strand if it waits, else the one with the smallest label."""
        strands = {strand_of(label) for label in waiting}
        self._last = self._last if self._last in strands else min(strands)
        return first_of(self._last, waiting)

    def went(self, label: str) -> None:
        """Note who went by somebody else's decision."""
        self._last = strand_of(label)


class Replay:
    """The decisions of a schedule, each waited for; none beyond it."""

    patient = True
    says_first = False

    def __init__(self, schedule: Schedule) -> None:
        self._decisions = schedule.decisions
        self._next = 0

    def choose(self, waiting: Sequence[str]) -> str:
        """Return the label whose turn it is, if it has come."""
        due = self.due()
        if due not in waiting:
            return ""
        self._next += 1
        return due

    def due(self) -> str:
        """Return the label whose turn it is."""
        return self._decisions[self._next] if not self.over() else ""

    def over(self) -> bool:
        """Whether all decisions are made."""
        return self._next >= len(self._decisions)

    @property
    def left(self) -> int:
        """How many decisions are not made."""
        return len(self._decisions) - self._next


class Begun:
    """The decisions of a prefix, then nobody is interrupted."""

    patient = True
    says_first = True

    def __init__(self, begin: Schedule) -> None:
        self._replay = Replay(begin)
        self._rest = Uninterrupted()

    def choose(self, waiting: Sequence[str]) -> str:
        """Return the label of the prefix whose turn it is, behind it the one that goes on."""
        if self._replay.over():
            return self._rest.choose(waiting)
        chosen = self._replay.choose(waiting)
        if chosen:
            self._rest.went(chosen)
        return chosen

    def due(self) -> str:
        """Return who must come next while the prefix lasts."""
        return self._replay.due()

    def over(self) -> bool:
        """There is always somebody who may go on."""
        return False


class HandedOver(Free):
    """Nobody is interrupted but where a handover says so; one whose strand does not wait then is passed over."""

    says_first = False  # who says a line is interrupted by nobody either

    def __init__(self, order: Handovers) -> None:
        self._turns = {(turn.after, turn.made): turn.to for turn in order.turns}
        self._rest = Uninterrupted()
        self._made: dict[str, int] = {}
        self._last = ""

    def choose(self, waiting: Sequence[str]) -> str:
        """Return the label of the strand that the turn is handed to, else that of the one that goes on."""
        to = self._turns.get((self._last, self._made.get(self._last, 0)), "")
        handed = any(strand_of(label) == to for label in waiting)
        chosen = first_of(to, waiting) if handed else self._rest.choose(waiting)
        self._rest.went(chosen)
        self._last = strand_of(chosen)
        self._made[self._last] = self._made.get(self._last, 0) + 1
        return chosen


def first_of(strand: str, waiting: Sequence[str]) -> str:
    """Return the smallest label of a strand among those that wait: two of them are rare, and no order is better."""
    return min(label for label in waiting if strand_of(label) == strand)


def scheduler_for(order: AnySchedule) -> Scheduler:
    """Return a fresh scheduler. Raises :class:`ValueError` for a schedule that makes no sense."""
    if isinstance(order, Schedule):
        return Replay(order)
    if isinstance(order, Search):
        if order.policy == "natural":
            return Natural()
        return Random(order.seed) if order.policy == "random" else Pct(order.seed, order.depth, order.steps)
    return HandedOver(order) if isinstance(order, Handovers) else Begun(order.begin)


def contended(offered: Sequence[Sequence[str]]) -> int:
    """Return at how many decisions several strands waited: the ``k`` of the bound."""
    return sum(len({strand_of(label) for label in waiting}) > 1 for waiting in offered)


def strands(offered: Sequence[Sequence[str]]) -> int:
    """Return how many strands there were: the ``n`` of the bound."""
    return len({strand_of(label) for waiting in offered for label in waiting})


def pct_bound(strands: int, steps: int, depth: int) -> float:
    """Return the published lower bound for one schedule to meet a bug of ``depth``: 1 / (n · k^(d-1))."""
    return float(max(1, strands) * max(1, steps) ** max(0, depth - 1)) ** -1
