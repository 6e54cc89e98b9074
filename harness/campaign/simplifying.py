"""A violation that a search of schedules has found, in the simplest order that a few more runs can make of it.

A random walk passes the turn on a hundred times where once would do. Before the finding is confirmed, and so before its
token is made, handovers are left out as long as it shows. What else the simpler run violates has its order from now on;
findings that it does not show keep theirs. None of these runs counts for a rate: it was made because another violated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from harness.campaign.context import Context, Measured, case_id
from harness.campaign.observe import finding_plan
from harness.campaign.programs import Examined, run_and_examine
from harness.campaign.showing import Showing, Shown
from harness.campaign.trials import Result, Trial
from harness.core.fault import FaultPlan
from harness.explore.schedule import fewer
from harness.explore.shrinking import shrink

RUNS = 20
"""The most runs that one variant gets for it."""
_FIRST = -1
"""Its place among the trials of the phase: before all others, so that its evidence is that of the finding."""


def simplify_order(ctx: Context, measured: Measured, judge: Callable[[Trial, Examined], Result]) -> None:
    """Make the order of the case's first finding simpler and keep what that run shows. ``judge``: of such a run."""
    case = measured.case
    for finding in ctx.ledger:
        plan = finding_plan(finding)
        if case_id(finding) == case.id and plan is not None and plan.schedule and not plan.faults:
            break
    else:
        return
    showing = Showing(ctx.executor, ctx.engine, finding)
    start = showing.first(measured, [plan])
    if start is None or not start.handed.turns:
        return

    def candidates(shown: Shown) -> Iterator[FaultPlan]:
        for order in fewer(shown.handed):
            if showing.runs >= RUNS - 1 or ctx.expired():  # one that shows it takes two
                return
            yield msgspec.structs.replace(plan, schedule=order)

    left = shrink(
        start,
        candidates,
        lambda simpler: showing.first(measured, [simpler]),
        lambda shown: shown.order,
        RUNS,
    ).smallest
    if left is start:
        return
    trial = Trial(f"{case.id}/exact/simpler", measured, "exact", run_and_examine, (), plan=left.plan)
    result = judge(trial, left.examined)
    seen = [msgspec.structs.replace(each, runs=0) for each in result.observations]
    names = ctx.ledger.observe(case, seen, trial.id, _FIRST)
    ctx.ledger.save(names)
    ctx.record(msgspec.structs.replace(result.row, findings=names))
    before, after = start.order, left.order
    ctx.notice(
        f"the order that violates was made simpler in {showing.runs} runs: preemptions {before[0]:,} → {after[0]:,}, "
        f"switches {before[1]:,} → {after[1]:,}",
        case,
    )
