"""The phase of plain runs: what a target does to itself when its threads, processes and tools meet by chance.

Nothing strikes. The target runs again and again with its tools beside it, each time with durations of their own, under
the engine that lets all of it run at once, and each tree it leaves is judged against the acknowledgements of that run.
The count is a rate, and it belongs to the machine and the load that it was measured under: runs of one campaign share
the processors with each other.

Non-goals: choosing the interleaving; finding one that chance does not meet.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.campaign.context import Context, Measured
from harness.campaign.errors import judge_error_run as judge_plain_run
from harness.campaign.programs import ExamineRequest, run_and_examine
from harness.campaign.proof import engine_for
from harness.campaign.trials import Trial, run_trials, within_budget
from harness.core.fault import CONCURRENCY


def concurrency_phase(ctx: Context, cases: Iterable[Measured]) -> None:
    """Run each case so often without a fault as it asks for."""
    trials: list[Trial] = []
    for measured in cases:
        case = measured.case
        if not case.runs:
            continue
        if ctx.expired() and not case.control:
            ctx.notice("no runs without a fault were made: the budget is used up", case)
            ctx.leave_out(case, "concurrency", case.runs)
            continue
        ctx.phase("concurrency", case, case.runs)
        if measured.interleaves and not case.control:
            ctx.notice("several threads or processes write: of unwatched runs, form and lost ids are judged", case)
        request = ExamineRequest(check=case.subject.check)
        engine = engine_for(CONCURRENCY, ctx.engine)
        tools = case.subject.spec.tools is not None and bool(case.subject.spec.tools.steps)
        for index in range(case.runs):
            plan = msgspec.structs.replace(CONCURRENCY, draw=index if tools else 0)
            args = (engine, case.subject.spec, plan, request)
            name = f"{case.id}/schedule/{index}"
            trials.append(Trial(name, measured, "schedule", run_and_examine, args, plan=plan))
    left = run_trials(ctx, trials, judge_plain_run, within_budget(ctx))
    if left:
        ctx.notice(f"{len(left)} of {len(trials)} runs without a fault were not made: the budget is used up")
