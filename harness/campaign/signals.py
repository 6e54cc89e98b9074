"""The phase of signals after acknowledgements: what was said to be saved must be there when the program is told to end.

Signals at random moments (:mod:`harness.campaign.timed`) give a rate; these give an answer, and a token: each strikes
right after one acknowledgement, SIGTERM, SIGINT and SIGHUP in turn.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.campaign.context import Context, Measured
from harness.campaign.errors import judge_error_run
from harness.campaign.examine import spread
from harness.campaign.programs import ExamineRequest, run_and_examine
from harness.campaign.timed import CATCHABLE
from harness.campaign.trials import Trial, run_trials, within_budget
from harness.core.fault import FaultPlan, Signal
from harness.core.point import ack_points


def signal_phase(ctx: Context, cases: Iterable[Measured]) -> None:
    """Signal each case after its acknowledgements, at most as often as at random moments."""
    trials: list[Trial] = []
    for measured in cases:
        case = measured.case
        points = spread(list(ack_points(measured.trace)))[: case.signals]
        if points:
            ctx.phase("signal", case, len(points))
        request = ExamineRequest(check=case.subject.check)
        for index, point in enumerate(points):
            plan = FaultPlan(faults=(Signal(at=point, signal=CATCHABLE[index % len(CATCHABLE)]),))
            args = (ctx.engine, case.subject.spec, plan, request)
            name = f"{case.id}/after_ack/{index}"
            trials.append(Trial(name, measured, "signal", run_and_examine, args, plan=plan))
    left = run_trials(ctx, trials, judge_error_run, within_budget(ctx))
    if left:
        ctx.notice(
            f"{len(left)} of {len(trials)} signals after acknowledgements were not sent: the budget is used up"
        )
