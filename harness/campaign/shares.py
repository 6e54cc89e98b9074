"""How a budget is shared, so that what comes last is not what goes without: between phases, and between cases.

A phase may use of what is left as large a share as it has of the work still planned; what it does not use goes to
those behind it. Within a phase the cases take turns (``trials.run_trials``). Without a budget nothing changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from harness.campaign.context import Context, Measured
from harness.campaign.damage import STARTS
from harness.campaign.errors import plans_for
from harness.campaign.power_confirm import recordings_planned
from harness.campaign.power_shown import checked_per_profile, shown_per_profile
from harness.campaign.power_sync import syncs_planned

BOUNDED = (
    "power",
    "shown",
    "syncs",
    "recover",
    "damage",
    "errno",
    "timed",
    "signal",
    "concurrency",
    "schedules",
    "cuts",
)
"""The phases that a budget bounds, in the order in which they come."""

WINDOW_TRIALS = 6
"""What it costs to find where to aim timed kills: three runs one after the other, while the other workers wait."""

WATCHED = 2
"""A run whose operations are watched costs about two plain ones."""
WHOLE = 2
"""A run that nothing ends costs about two that are killed."""
EXPLORED = 25
"""Exploring one profile costs about as much as so many runs, mostly less; what is left over goes to who comes next."""

ON_DISK = 25
"""Recording on a disk, and cutting its power some hundred times."""


def planned(measured: Measured) -> dict[str, int]:
    """Return how much work a case asks of each bounded phase, in trials of a plain run. Controls run whatever the
    budget.
    """
    case = measured.case
    if case.control:
        return {}
    return {
        "power": EXPLORED * len(case.profiles),
        "shown": len(case.profiles) * (shown_per_profile(case) + checked_per_profile(case)),
        "syncs": WATCHED * syncs_planned(case, measured.trace),
        "recover": case.sample_max * len({"kill", "short"} & set(case.faults)),
        "damage": 2 * STARTS if "damage" in case.faults and case.sample_max else 0,
        "errno": WATCHED * len(plans_for(case, measured.trace)[0]),
        "timed": case.timed + case.signals + (WINDOW_TRIALS if case.timed + case.signals else 0),
        "signal": WATCHED * min(case.signals, len(measured.trace.acks)),
        "concurrency": WHOLE * case.runs,
        "schedules": (WATCHED * WHOLE * case.schedules + case.sample_max) if case.schedules else 0,
        "cuts": ON_DISK * recordings_planned(case),
    }


class Shares:
    """The deadlines of the bounded phases of one campaign."""

    def __init__(self, ctx: Context, cases: Iterable[Measured]) -> None:
        self._ctx = ctx
        self._planned = dict.fromkeys(BOUNDED, 0)
        if ctx.deadline < math.inf:
            for measured in cases:
                for phase, number in planned(measured).items():
                    self._planned[phase] += number

    def of(self, phase: str) -> Context:
        """Return the context of a phase that begins now: the same, with the deadline of its share."""
        ctx, now = self._ctx, time.monotonic()
        ahead = sum(self._planned[name] for name in BOUNDED[BOUNDED.index(phase) :])
        if ctx.deadline == math.inf or not ahead:
            return ctx
        left = max(0.0, ctx.deadline - now)
        return ctx._replace(deadline=now + left * self._planned[phase] / ahead)
