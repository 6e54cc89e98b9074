"""When the operations of a recording come in a plain run.

A recording is slower than a plain run by what every stop costs, and by a start-up that opens many files. So what it is
too long by is taken off its operations, a bounded cost each; then off the time before the first, where the clock begins
with the process; and only what is left then is a matter of scale. Times that a program sleeps stay as they are.

That is exact enough to aim kills, not to predict how often they do damage: :mod:`harness.explore.exposure`. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from harness.core.trace import Trace

STOP_US = 300.0
"""The most that watching one operation is taken to cost."""
LEAST_US = 2.0
"""What is left at least of the time between two operations: about one system call."""
_ROUNDS = 60


def undisturbed(gaps_us: Sequence[float], whole_us: float, starting: bool) -> list[float]:
    """Return the gaps between operations as a plain run of ``whole_us`` has them.

    Gaps that are shorter than that together stay as they are. The first comes before the first operation; ``starting``:
    the start of the process is in it.
    """
    gaps = list(gaps_us)
    if sum(gaps) <= whole_us:
        return gaps
    low, high = 0.0, STOP_US
    for _ in range(_ROUNDS):
        cost = (low + high) / 2
        low, high = (cost, high) if sum(_less(gap, cost) for gap in gaps) > whole_us else (low, cost)
    gaps = [_less(gap, high) for gap in gaps]
    rest = sum(gaps) - whole_us
    if starting and rest > 0:
        gaps[0] = _less(gaps[0], rest)
    left = sum(gaps)
    return [gap * whole_us / left for gap in gaps] if left > whole_us else gaps


def _less(gap: float, cost: float) -> float:
    return max(min(LEAST_US, gap), gap - cost)


def plain_moments(trace: Trace, armed_us: int, recorded_us: int, plain_us: int) -> list[float]:
    """Return when each operation comes in a plain run, from where its clock begins; negative before that.

    ``armed_us``: when the clock of the recording began (0: with the process), ``recorded_us``: how long it took in all,
    ``plain_us``: how long a plain run takes from the beginning of its clock.
    """
    moments = [op.at_ns / 1000 - armed_us for op in trace.operations]
    inside = [moment for moment in moments if moment >= 0]
    ends = [0.0, *inside, max(float(recorded_us - armed_us), inside[-1] if inside else 0.0)]
    gaps = [max(0.0, after - before) for before, after in pairwise(ends)]
    plain = list(accumulate(undisturbed(gaps, plain_us, starting=not armed_us)))
    before = len(moments) - len(inside)
    return [*moments[:before], *plain[:-1]]
