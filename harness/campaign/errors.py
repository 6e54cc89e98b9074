"""The phase of failing system calls: the real target runs on after an error or a write cut short.

The n-th operation of the undisturbed run fails, n = 1, 2, … over all of them, once and persistently; a plan whose
operation the run never reaches is *inconclusive* and counted apart. Every run is judged by what it says and by the
tree that was read from disk at its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from harness.campaign.context import Case, Context, Measured
from harness.campaign.examine import check_violations
from harness.campaign.programs import Examined, ExamineRequest, run_and_examine
from harness.campaign.trials import Result, Trial, judge_faulted_run, run_trials, within_budget
from harness.core.fault import FaultPlan
from harness.core.trace import Trace
from harness.explore import errno_plans

RUNS_LEAST = 12
"""How many plans of a case are run even when its budget is used up: a class that was asked for is measured."""


def plans_for(case: Case, trace: Trace) -> tuple[list[FaultPlan], int]:
    """Return the plans to run, the most telling first, and how many there would be without ``errno_max``.

    The classes take turns, so that neither a limit nor a budget leaves one of them untried.
    """
    wanted = [name for name in ("short", "errno") if name in case.faults]
    plans = list(errno_plans(trace)) if wanted else []
    by_class = [[plan for plan in plans if plan.fault_class == name] for name in wanted]
    turns = [plan for each in zip_longest(*by_class) for plan in each if plan is not None]
    return turns[: case.errno_max], len(turns)


def judge_error_run(trial: Trial, examined: Examined) -> Result:
    """Return what one run says, with the verdict of the target's or user's own check where there is one."""
    return judge_faulted_run(trial, examined, check_violations(examined.check))


def errno_phase(ctx: Context, cases: Iterable[Measured]) -> None:
    """Fail each operation of each case in turn, once and persistently, and cut its writes short."""
    trials = []
    possible: dict[str, int] = {}
    for measured in cases:
        case = measured.case
        plans, possible[case.id] = plans_for(case, measured.trace)
        if not plans:
            continue
        ctx.phase("errno", case, len(plans))
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
    least = {trial.id for trial in trials if int(trial.id.rpartition("/")[2]) < RUNS_LEAST}
    may_start = within_budget(ctx)
    left = run_trials(ctx, trials, judge_error_run, lambda trial: trial.id in least or may_start(trial))
    for case in {trial.case.id: trial.case for trial in trials if not trial.case.control}.values():
        planned, missed = (sum(trial.case.id == case.id for trial in each) for each in (trials, left))
        if planned - missed < possible[case.id]:
            why = "the budget is used up (--budget)" if missed else "the most telling first"
            ctx.notice(f"{planned - missed} of {possible[case.id]} error plans were run: {why}", case)
