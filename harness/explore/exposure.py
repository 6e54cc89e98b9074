"""The rate that kills at random moments are predicted to have: how long the run stands in states that violate.

Exact verdicts say of each moment between two operations whether a kill there does damage; the recording says how long
each lasts. A recording is slower than a plain run by what every stop costs, so one cost per operation is taken off all
of them, as large as brings the whole down to the length of a plain run. A kill that arrives during a call takes effect
when the call is done: the moment behind an operation begins where the operation begins. Pure.

Non-goals: what lies outside the recorded run (a machine under load, other durations of tools).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from harness.core.strip import PlaceTally
from harness.core.trace import Trace

LEAST_US = 2.0
"""What is left at least of the time between two operations: about one system call."""
_ROUNDS = 60


def undisturbed(gaps_us: Sequence[float], whole_us: float) -> list[float]:
    """Return the gaps without the cost of stops: each less by the same, none below a system call, ``whole_us`` in sum.

    Gaps that are shorter than that together are returned as they are.
    """
    low, high = 0.0, max(gaps_us, default=0.0)
    if sum(gaps_us) <= whole_us:
        return list(gaps_us)
    for _ in range(_ROUNDS):
        cost = (low + high) / 2
        if sum(max(min(LEAST_US, gap), gap - cost) for gap in gaps_us) > whole_us:
            low = cost
        else:
            high = cost
    return [max(min(LEAST_US, gap), gap - high) for gap in gaps_us]


def exposed_us(
    trace: Trace, places: Iterable[PlaceTally], recorded: tuple[int, int], plain_us: int, window: tuple[int, int]
) -> float:
    """Return for how long, inside a window, a plain run stands where a kill does damage. All in microseconds.

    ``recorded``: when the clock of the recording began, and how long it took in all; ``plain_us``: how long a plain run
    takes from the beginning of its clock; ``window``: the first and last moment of that clock at which kills strike.
    """
    bad = {tally.seq for tally in places if tally.phase == "after" and tally.violated}
    armed, end = recorded
    ops = [op for op in trace.operations if op.at_ns // 1000 >= armed]
    moments = [armed, *(op.at_ns / 1000 for op in ops), end]
    gaps = undisturbed([max(0.0, after - before) for before, after in pairwise(moments)], plain_us)
    exposed, now = 0.0, 0.0
    for op, gap in zip((None, *ops), gaps, strict=True):
        if op is not None and op.seq in bad:
            exposed += max(0.0, min(now + gap, window[1]) - max(now, window[0]))
        now += gap
    return exposed
