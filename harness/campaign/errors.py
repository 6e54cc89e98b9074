"""The phase of failing system calls: the real target runs on after an error or a write cut short.

The n-th operation of the undisturbed run fails, n = 1, 2, … over all of them, once and persistently; a plan whose
operation the run never reaches is *inconclusive* and counted apart. Every run is judged by what it says and by the
tree that was read from disk at its end.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.campaign.context import Case, Context, Measured
from harness.campaign.examine import check_violations
from harness.campaign.programs import Examined, ExamineRequest, run_and_examine
from harness.campaign.trials import Result, Trial, judge_faulted_run, run_trials
from harness.core.fault import FaultPlan
from harness.core.trace import Trace
from harness.explore import errno_plans


def plans_for(case: Case, trace: Trace) -> tuple[list[FaultPlan], int]:
    """Return the plans to run, the most telling first, and how many there would be without ``errno_max``."""
    wanted = {"errno", "short"} & set(case.faults)
    plans = [plan for plan in errno_plans(trace) if plan.fault_class in wanted] if wanted else []
    return plans[: case.errno_max], len(plans)


def judge_error_run(trial: Trial, examined: Examined) -> Result:
    """Return what one run says, with the verdict of the target's or user's own check where there is one."""
    return judge_faulted_run(trial, examined, check_violations(examined.check))


def errno_phase(ctx: Context, cases: Iterable[Measured]) -> None:
    """Fail each operation of each case in turn, once and persistently, and cut its writes short."""
    trials = []
    for measured in cases:
        case = measured.case
        plans, possible = plans_for(case, measured.trace)
        if not plans:
            continue
        ctx.phase("errno", case, len(plans))
        if len(plans) < possible and not case.control:
            ctx.notice(f"{len(plans)} of {possible} error plans are run, the most telling first", case)
        request = ExamineRequest(check=case.subject.check)
        trials += [
            Trial(
                f"{case.id}/errno/{index}",
                measured,
                "errno",
                run_and_examine,
                (ctx.engine, case.subject.spec, plan, request),
                plan=plan,
            )
            for index, plan in enumerate(plans)
        ]
    # Controls run whatever the budget: a campaign that had no time for them would be broken, not short.
    left = run_trials(ctx, trials, judge_error_run, lambda trial: bool(trial.case.control) or not ctx.expired())
    if left:
        ctx.notice(f"{len(left)} of {len(trials)} error plans were not run: the budget is used up")
