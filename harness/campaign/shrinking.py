"""Shrinking: the smallest workload, the earliest operation and the simplest order that still show a token's finding.

What counts is the finding itself: same invariant, path role and damage, by the same kind of operation and phase, so its
fingerprint stays. Workloads come first, in shortlex order of their sizes. A smaller one is recorded anew; the earliest
places of that recording are then tried (:mod:`harness.campaign.earliest`). Recorded decisions do not fit another
workload: its orders are searched, those with the fewest preemptions first. Then the order is made simpler, handover by
handover. Whatever is taken was shown by a real run, and an order also by a strict replay of what that run did.

Non-goals: what chance meets (a kill at a random moment, a plain run: nothing says where), power losses (their state is
the smallest already), other seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import NamedTuple

import msgspec

from harness.campaign.context import Measured
from harness.campaign.earliest import earliest_plans, known_place, place_measure
from harness.campaign.executor import Call, CallTimeoutError, Executor, WorkerDiedError
from harness.campaign.programs import Examined, run_and_examine
from harness.campaign.proof import confirms, engine_for, programs_for
from harness.campaign.record import null_problem
from harness.campaign.replay import Replay, finding_of, record_anew, replay
from harness.campaign.schedules import ScheduleSearch
from harness.campaign.sizes import Sizes, parameters_of, sizes_of, with_sizes
from harness.campaign.token import ReplayRecord, encode
from harness.campaign.trials import harness_failure
from harness.campaign.work import SetupError
from harness.catalog import Subject, Workload
from harness.core.fault import FaultPlan, PowerLoss, Timed
from harness.core.schedule import AnySchedule, Handovers, Scheduled, schedule_of
from harness.core.verdict import Finding
from harness.engines.base import EngineError
from harness.explore.schedule import fewer, handovers, order_measure
from harness.explore.shrinking import Measure, Shrunk, shrink, smaller

FIRST_RUNS = 3
"""Runs that a token has to show its finding in the first place."""
ORDERS = (("systematic", 12), ("pct", 6))
"""How many orders of a smaller workload are tried, and by which search."""
WORKLOADS = 60
"""The most workloads that are tried."""
SIMPLER = 120
"""The most orders, or earlier places, that are tried in the workload that is left."""
_BATCH = 2
"""Runs that are made before it is looked what they showed, whatever the number of workers."""
_NO_CASE = (SetupError, WorkerDiedError, CallTimeoutError, EngineError)
"""How a smaller workload turns out to be none that this target can play."""


class NotShrinkableError(ValueError):
    """A token of what cannot be made smaller; one line that says why, and what would help."""


class Shown(NamedTuple):
    """A case that a real run has shown: ``order`` is how simple its order of operations was, (0, 0, 0) without one."""

    workload: Workload
    measured: Measured
    plan: FaultPlan
    order: tuple[int, int, int] = (0, 0, 0)
    handed: Handovers = Handovers()

    @property
    def measure(self) -> Measure:
        """What makes one case smaller than another, the most significant first."""
        return (*sizes_of(self.workload), *self.order, *place_measure(self.plan))

    @property
    def told(self) -> dict[str, int]:
        """The measure by name."""
        sizes = sizes_of(self.workload).told()
        if self.plan.schedule is not None:
            preempted, switches, _ = self.order
            sizes |= {"preemptions": preempted, "switches": switches}
        occurrence, landed = place_measure(self.plan)
        return sizes | ({"occurrence": occurrence, "torn_after": landed} if occurrence else {})


class Shrinking(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``token`` is empty where the finding did not show; ``verified`` is the replay that was made last.

    ``before`` and ``after`` are measures by name. ``done``: nothing smaller was left to try; else a bound on runs, or the
    budget, ended it.
    """

    token: str
    verified: Replay
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    attempts: int = 0
    runs: int = 0
    done: bool = False


def why_not_shrinkable(record: ReplayRecord) -> str:
    """Return why nothing of what a token names can be made smaller, or an empty string."""
    plan = record.plan
    if any(isinstance(fault, Timed) for fault in plan.faults):
        return "it is of a moment that chance chose: shrink the finding at a crash point that it belongs to"
    if any(isinstance(fault, PowerLoss) for fault in plan.faults):
        return "it is of a power loss, whose state is the smallest that shows it"
    if plan.concurrency:
        return "it is of a plain run, which met by chance: search the order with run --schedules, and shrink that"
    if record.kind == "probe" and plan.schedule is None:
        return "it is of a probe: its workload is its command, its place the first that shows it"
    return ""


class Shrinker:
    """Tries the cases of one token. ``remake`` compiles another workload; ``None`` where there is no other."""

    def __init__(
        self,
        executor: Executor,
        record: ReplayRecord,
        subject: Subject,
        remake: Callable[[Workload], Subject] | None,
        engine: str,
        deadline: float,
    ) -> None:
        self.finding: Finding = finding_of(record)
        self.runs = 0
        self._executor = executor
        self._record = record
        self._subject = subject
        self._remake = remake
        self._engine = engine
        self._deadline = deadline
        self._explored = False
        self._handed = Handovers()

    def first(self) -> Shown | None:
        """Return the token's own case, if a run shows it."""
        measured = record_anew(self._executor, self._subject, self._record.fault_class, self._engine)
        if null_problem(measured.explored.recording) is not None:
            return None
        self._explored = known_place(measured, self.finding) is not None
        workload = self._subject.workload
        return next(self._shown(workload, measured, [self._record.plan] * FIRST_RUNS), None)

    def workloads(self, shown: Shown) -> Iterator[Workload]:
        """Yield the smaller workloads of a case, in shortlex order, while there is time."""
        for values in takewhile(lambda _: self._in_time(), smaller(parameters_of(shown.workload))):
            workload = with_sizes(shown.workload, Sizes(*values))
            if workload is not None and self._remake is not None:
                yield workload

    def in_workload(self, workload: Workload) -> Shown | None:
        """Return the first case of another workload that shows the finding."""
        assert self._remake is not None
        try:
            subject = self._remake(workload)
            measured = record_anew(self._executor, subject, self._record.fault_class, self._engine)
        except _NO_CASE:
            return None
        if null_problem(measured.explored.recording) is not None:
            return None
        if self._record.plan.schedule is not None:
            return self._in_some_order(workload, measured)
        plans = earliest_plans(measured, self.finding, self._record.plan, self._explored)
        return next(self._shown(workload, measured, plans), None)

    def simpler(self, shown: Shown) -> Iterator[FaultPlan]:
        """Yield simpler orders, or earlier places, of a case in its workload, while there is time."""
        plans = (self._under(order) for order in fewer(shown.handed))
        if self._record.plan.schedule is None:
            known = earliest_plans(shown.measured, self.finding, shown.plan, self._explored)
            plans = (plan for plan in known if place_measure(plan) < place_measure(shown.plan))
        yield from takewhile(lambda _: self._in_time(), plans)

    def under(self, shown: Shown, plan: FaultPlan) -> Shown | None:
        """Return what a simpler plan makes of a case, if it shows the finding."""
        return next(self._shown(shown.workload, shown.measured, [plan]), None)

    def _in_time(self) -> bool:
        return time.monotonic() < self._deadline

    def _under(self, order: AnySchedule) -> FaultPlan:
        return msgspec.structs.replace(self._record.plan, schedule=order)

    def keep(self, shown: Shown) -> None:
        """Note the case that is gone on from: where its order was no run's own, a smaller one may need the same."""
        self._handed = shown.handed

    def _in_some_order(self, workload: Workload, measured: Measured) -> Shown | None:
        before = [self._under(self._handed)] if self._handed.turns else []
        shown = next(self._shown(workload, measured, before), None)
        for policy, most in ORDERS:
            shown = shown or self._searched(workload, measured, policy, most)
        return shown

    def _searched(self, workload: Workload, measured: Measured, policy: str, most: int) -> Shown | None:
        search = ScheduleSearch(policy, self._record.seed, "shrink")
        while search.tried < most and self._in_time():
            orders = list(search.orders(min(_BATCH, most - search.tried)))
            if not orders:
                return None
            ended = self._run(measured, [self._under(each) for each in orders])
            for order, examined in zip(orders, ended, strict=True):
                scheduled = _scheduled(examined)
                search.ran(order, scheduled or Scheduled(schedule=schedule_of(()), problem="it was not run"))
                found = self._case(workload, measured, self._under(order), examined)
                if found is not None:
                    return found
        return None

    def _shown(self, workload: Workload, measured: Measured, plans: list[FaultPlan]) -> Iterator[Shown]:
        """Run plans, a few at a time, and yield the cases that show the finding, in the order of the plans."""
        for begin in range(0, len(plans), _BATCH):
            batch = plans[begin : begin + _BATCH]
            for plan, examined in zip(batch, self._run(measured, batch), strict=True):
                found = self._case(workload, measured, plan, examined)
                if found is not None:
                    yield found

    def _run(self, measured: Measured, plans: list[FaultPlan]) -> list[Examined | None]:
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

    def _case(
        self, workload: Workload, measured: Measured, plan: FaultPlan, examined: Examined | None
    ) -> Shown | None:
        """Return the case that a run under ``plan`` shows; an order has to show it again as its decisions."""
        if not self._shows(measured, plan, examined):
            return None
        scheduled = _scheduled(examined)
        if scheduled is None or plan.schedule is None:
            return Shown(workload, measured, plan)
        made = scheduled.schedule
        if plan.schedule != made:
            plan = self._under(made)
            (again,) = self._run(measured, [plan])
            if not self._shows(measured, plan, again):
                return None
        decisions = made.decisions
        order = order_measure(decisions, scheduled.offered)
        return Shown(workload, measured, plan, order, handovers(decisions, scheduled.offered))

    def _shows(self, measured: Measured, plan: FaultPlan, examined: Examined | None) -> bool:
        if examined is None:
            return False
        violation = confirms(measured, examined, plan, self.finding)
        return violation is not None and self.finding.damage in ("", violation.damage)


def shrink_token(
    executor: Executor,
    record: ReplayRecord,
    subject: Subject,
    remake: Callable[[Workload], Subject] | None,
    times: int,
    deadline: float,
    engine: str = "ptrace",
    tell: Callable[[dict[str, int], dict[str, int]], object] = lambda before, after: None,
) -> Shrinking:
    """Shrink what a token names until ``deadline`` (``time.monotonic()``), then replay the result ``times`` times.

    ``tell`` hears of each step, in measures by name. Raises :class:`NotShrinkableError`.
    """
    if why := why_not_shrinkable(record):
        raise NotShrinkableError(f"this token cannot be shrunk: {why}")
    shrinker = Shrinker(executor, record, subject, remake, engine, deadline)
    start = shrinker.first()
    if start is None:
        return Shrinking(token="", verified=replay(executor, subject, record, times, engine), runs=shrinker.runs)

    def accepted(before: Shown, after: Shown) -> None:
        shrinker.keep(after)
        tell(before.told, after.told)

    shrinker.keep(start)
    smaller_one: Shrunk[Shown] = shrink(
        start, shrinker.workloads, shrinker.in_workload, _measure, WORKLOADS, accepted
    )
    kept = smaller_one.smallest

    def under(plan: FaultPlan) -> Shown | None:
        return shrinker.under(kept, plan)

    simpler_one: Shrunk[Shown] = shrink(kept, shrinker.simpler, under, _measure, SIMPLER, accepted)
    left = simpler_one.smallest
    small = msgspec.structs.replace(record, plan=left.plan)
    if remake is not None and left.workload != subject.workload:
        subject = remake(left.workload)
        small = msgspec.structs.replace(small, workload=msgspec.to_builtins(left.workload))
    verified = replay(executor, subject, small, times, engine)
    return Shrinking(
        token=encode(small),
        verified=verified,
        before=start.told,
        after=left.told,
        attempts=smaller_one.attempts + simpler_one.attempts,
        runs=shrinker.runs,
        done=smaller_one.done and simpler_one.done and time.monotonic() < deadline,
    )


def _measure(shown: Shown) -> Measure:
    return shown.measure


def _scheduled(examined: Examined | None) -> Scheduled | None:
    return examined.recording.scheduled if examined is not None else None
