"""Schedules: who goes next where the actors of a run meet, as data that a plan carries and a token can hold.

An *actor* is a thread of the target by birth order (``p0``, ``p0.t2``) or, where threads are a pool, what is done on
one open of a file; how labels are made is :mod:`harness.explore.schedule.actors`. A *decision* lets one actor make the
file operation that it stands before. A run is a sequence of decisions, and the same sequence is the same run.

Non-goals: who decides (:mod:`harness.explore.schedule`), and how actors are held (an engine).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, pairwise
from typing import Literal, TypeAlias

import msgspec

Policy = Literal["natural", "random", "pct"]
MOST_DECISIONS = 1_000_000
"""A schedule longer than this is refused: no run that an engine records is so long."""
POLICIES: tuple[str, ...] = ("pct", "random", "systematic")
"""The ways to search for a schedule that breaks something."""


def strand_of(label: str) -> str:
    """Return what takes its turn: a thread itself, or of a pool the work on one open file, whatever the operation."""
    return label.rpartition(" ")[0] if "*" in label.partition(":")[0] else label


class Schedule(msgspec.Struct, frozen=True, kw_only=True, tag="schedule"):
    """A sequence of decisions, to be made again.

    ``turns`` holds pairs: an index into ``actors``, and how many operations that actor makes in a row.
    """

    actors: tuple[str, ...] = ()
    turns: tuple[int, ...] = ()

    @property
    def decisions(self) -> tuple[str, ...]:
        """The labels in order, one per operation. Raises :class:`ValueError` where the turns make no sense."""
        if wrong := self.problem():
            raise ValueError(wrong)
        pairs = zip(self.turns[::2], self.turns[1::2], strict=True)
        return tuple(label for index, count in pairs for label in [self.actors[index]] * count)

    def problem(self) -> str:
        """Return why the turns make no sense, in a few words; empty where they do."""
        counts = self.turns[1::2]
        if len(self.turns) % 2 or any(count < 1 for count in counts):
            return "the turns of a schedule are pairs of an actor and a positive count"
        if any(not 0 <= index < len(self.actors) for index in self.turns[::2]):
            return "a turn of a schedule names an actor that it does not have"
        return f"a schedule of more than {MOST_DECISIONS:,} decisions" if sum(counts) > MOST_DECISIONS else ""

    @property
    def switches(self) -> int:
        """How often the turn passes from one strand to another."""
        strands = [strand_of(self.actors[index]) for index in self.turns[::2]]
        return sum(before != after for before, after in pairwise(strands))


def schedule_of(decisions: Iterable[str]) -> Schedule:
    """Return the schedule that is this sequence of labels."""
    actors: dict[str, int] = {}
    turns: list[int] = []
    for label, group in groupby(decisions):
        turns += (actors.setdefault(label, len(actors)), sum(1 for _ in group))
    return Schedule(actors=tuple(actors), turns=tuple(turns))


class Search(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="search"):
    """Decisions drawn from ``seed``.

    ``pct``: random priorities, lowered at ``depth`` - 1 of the first ``steps`` moments at which several actors stand
    before an operation. ``random``: any of those that wait. ``natural``: whoever comes first, and nobody is waited for.
    """

    policy: Policy
    seed: int = 0
    depth: int = 3
    steps: int = 50


class Prefix(msgspec.Struct, frozen=True, kw_only=True, tag="prefix"):
    """The decisions of ``begin``, then nobody is interrupted: an actor goes on until it waits or has ended."""

    begin: Schedule


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """When strand ``after`` has made ``made`` operations (an empty one: at the beginning), ``to`` goes if it waits."""

    after: str
    made: int
    to: str


class Handovers(msgspec.Struct, frozen=True, kw_only=True, tag="handovers"):
    """Nobody is interrupted but at these places."""

    turns: tuple[Handover, ...] = ()


AnySchedule: TypeAlias = Schedule | Search | Prefix | Handovers


def leaves_alone(order: AnySchedule | None) -> bool:
    """Whether a run under ``order`` goes as it would by itself: nobody decides, and nobody is waited for."""
    return order is None or (isinstance(order, Search) and order.policy == "natural")


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a schedule: its decisions, who waited at each (by strand), how many operations were done before.

    ``problem``: why the run did not follow it to its end (another actor came, nobody could go on); empty if it did.
    ``slept``: somebody was in a timed sleep while others were decided between. Nobody waits for the end of one, so
    such an actor meets only what is left when it wakes.
    """

    schedule: Schedule
    offered: tuple[tuple[str, ...], ...] = ()
    done: tuple[int, ...] = ()
    problem: str = ""
    slept: bool = False
