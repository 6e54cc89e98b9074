"""Runs that are to show one finding again: under plans and orders of which nobody knows yet whether they do.

A case is *shown* by a real run that confirms the finding with the same damage. Of an order that was only hinted at,
what counts is what the run really did; its decisions are then replayed, and have to show the finding once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from harness.campaign.context import Measured
from harness.campaign.executor import Call, Executor
from harness.campaign.programs import Examined, run_and_examine
from harness.campaign.proof import confirms, engine_for, programs_for
from harness.campaign.trials import harness_failure
from harness.catalog import Workload
from harness.core.fault import FaultPlan
from harness.core.schedule import Handovers, Scheduled
from harness.core.verdict import Finding
from harness.explore.schedule import handovers, order_measure

_BATCH = 2
"""Runs that are made before it is looked what they showed, whatever the number of workers."""


class Shown(NamedTuple):
    """A case that a run has shown. ``order``: how simple its order was, by preemptions, switches and handovers."""

    measured: Measured
    plan: FaultPlan
    examined: Examined
    order: tuple[int, int, int] = (0, 0, 0)
    handed: Handovers = Handovers()

    @property
    def workload(self) -> Workload:
        """The workload of the run."""
        return self.measured.case.subject.workload


class Showing:
    """Makes the runs; ``runs`` counts them."""

    def __init__(self, executor: Executor, engine: str, finding: Finding) -> None:
        self.finding = finding
        self.runs = 0
        self._executor = executor
        self._engine = engine

    def first(self, measured: Measured, plans: list[FaultPlan]) -> Shown | None:
        """Return the case of the first of these plans that shows the finding."""
        return next((shown for shown in self.each(measured, plans) if shown is not None), None)

    def each(self, measured: Measured, plans: list[FaultPlan]) -> Iterator[Shown | None]:
        """Run plans, a few at a time, and yield what each shows, in their order."""
        for begin in range(0, len(plans), _BATCH):
            batch = plans[begin : begin + _BATCH]
            for plan, examined in zip(batch, self.run(measured, batch), strict=True):
                yield self.case(measured, plan, examined)

    def run(self, measured: Measured, plans: list[FaultPlan]) -> list[Examined | None]:
        """Run plans; ``None`` stands for a run at which the harness failed."""
        programs = programs_for(measured, [self.finding], proof=False)
        spec = measured.case.subject.spec
        calls = [
            Call(run_and_examine, (engine_for(plan, self._engine), spec, plan, programs), index)
            for index, plan in enumerate(plans)
        ]
        self.runs += len(calls)
        ended: dict[int, Examined] = {
            outcome.key: outcome.value for outcome in self._executor.run(calls) if not harness_failure(outcome)
        }
        return [ended.get(index) for index in range(len(plans))]

    def case(self, measured: Measured, plan: FaultPlan, examined: Examined | None) -> Shown | None:
        """Return the case that a run under ``plan`` shows; its decisions, if it was no replay, are replayed first."""
        if examined is None or not self._shows(measured, plan, examined):
            return None
        scheduled = scheduled_of(examined)
        if scheduled is None or plan.schedule is None:
            return Shown(measured, plan, examined)
        made, replayed = scheduled.schedule, scheduled
        if plan.schedule != made:
            plan = msgspec.structs.replace(plan, schedule=made)
            (again,) = self.run(measured, [plan])
            if again is None or not self._shows(measured, plan, again):
                return None
            replayed = scheduled_of(again) or scheduled
        # Where a line is said before anybody is asked who goes, nobody is seen to wait: a replay sees all alike.
        decisions, offered = made.decisions, replayed.offered
        return Shown(measured, plan, examined, order_measure(decisions, offered), handovers(decisions, offered))

    def _shows(self, measured: Measured, plan: FaultPlan, examined: Examined) -> bool:
        violation = confirms(measured, examined, plan, self.finding)
        return violation is not None and self.finding.damage in ("", violation.damage)


def scheduled_of(examined: Examined | None) -> Scheduled | None:
    """Return what became of the order of a run."""
    return examined.recording.scheduled if examined is not None else None
