"""A run as the few places at which it did not go on by itself, and fewer of them: how a schedule is made simpler.

Left to itself a run interrupts nobody: a strand goes on until it waits or has ended, then comes the one with the
smallest label. What a run did otherwise are its *handovers*; they make it again, and with some of them left out it is a
simpler run, whatever its program then does.

What it is measured by: its preemptions (Musuvathi and Qadeer, PLDI 2007: the turn is taken from a strand that could go
on), then all its switches, then its handovers. A switch that is no preemption is the program's own, whatever the
schedule: a thread waits for another or has ended, a piece of a pool's work is done. So it is the preemptions that say
how much a scheduler has to do to a program to break it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness.core.schedule import Handover, Handovers, schedule_of
from harness.explore.schedule.actors import strand_of
from harness.explore.schedule.systematic import preemptions

_SINGLY = 6
"""Up to so many handovers each is tried alone; of more, halves are."""


def handovers(decisions: Sequence[str], offered: Sequence[Sequence[str]]) -> Handovers:
    """Return at which places a run did not go on by itself. ``offered``: who waited at each decision."""
    turns: list[Handover] = []
    made: dict[str, int] = {}
    last = ""
    for label, waiting in zip(decisions, offered, strict=True):
        strand, there = strand_of(label), {strand_of(each) for each in waiting}
        if strand != (last if last in there else min(there)):
            turns.append(Handover(after=last, made=made.get(last, 0), to=strand))
        made[strand] = made.get(strand, 0) + 1
        last = strand
    return Handovers(turns=tuple(turns))


def fewer(order: Handovers) -> Iterator[Handovers]:
    """Yield orders with fewer handovers, those with the fewest first.

    Some are left out (delta debugging: Zeller, Hildebrandt 2002), or two become one, so that what stood between them is
    put off: where the turn went from A to B and on to C, it goes from A to C.
    """
    turns, size = order.turns, len(order.turns)
    kept: dict[tuple[Handover, ...], None] = {}
    if size <= _SINGLY:
        kept = dict.fromkeys((turn,) for turn in turns)
    while size:
        kept |= dict.fromkeys(turns[:begin] + turns[begin + size :] for begin in range(0, len(turns), size))
        size //= 2
    for index, (before, after) in enumerate(pairwise(turns)):
        if before.to == after.after and before.after != after.to:
            straight = Handover(after=before.after, made=before.made, to=after.to)
            kept[(*turns[:index], straight, *turns[index + 2 :])] = None
    yield from (Handovers(turns=each) for each in sorted(kept, key=len) if len(each) < len(turns))


def order_measure(decisions: Sequence[str], offered: Sequence[Sequence[str]]) -> tuple[int, int, int]:
    """Return how simple a run was: preemptions, switches, handovers."""
    turns = handovers(decisions, offered).turns
    return preemptions(decisions, offered), schedule_of(decisions).switches, len(turns)
