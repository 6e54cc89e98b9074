"""Shrinking: the smallest workload, the earliest operation and the simplest order that still show a token's finding.

What counts is the finding itself: same invariant, path role and damage, by the same kind of operation and phase, so its
fingerprint stays. Workloads come first, in shortlex order of their sizes. A smaller one is recorded anew; the earliest
places of that recording are then tried (:mod:`harness.campaign.earliest`). Recorded decisions do not fit another
workload: the same handovers are tried, then its orders are searched, those with the fewest preemptions first. Then the
order is made simpler, handover by handover. Whatever is taken was shown by real runs (:mod:`harness.campaign.showing`).

Non-goals: what chance meets (a kill at a random moment, a plain run: nothing says where), power losses (their state is
the smallest already), other seeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import takewhile

import msgspec

from harness.campaign.context import Measured
from harness.campaign.earliest import earliest_plans, known_place, place_measure
from harness.campaign.executor import CallTimeoutError, Executor, WorkerDiedError
from harness.campaign.probe import PROBE_TARGET
from harness.campaign.record import null_problem
from harness.campaign.replay import Replay, finding_of, record_anew, replay
from harness.campaign.schedules import ScheduleSearch
from harness.campaign.showing import Showing, Shown, scheduled_of
from harness.campaign.sizes import Sizes, parameters_of, sizes_of, with_sizes
from harness.campaign.token import ReplayRecord, encode
from harness.campaign.work import SetupError
from harness.catalog import Subject, Workload
from harness.core.fault import FaultPlan, PowerLoss, Timed
from harness.core.schedule import AnySchedule, Handovers, Scheduled, schedule_of
from harness.engines.base import EngineError
from harness.explore.schedule import fewer
from harness.explore.shrinking import Measure, shrink, smaller

FIRST_RUNS = 3
"""Runs that a token has to show its finding in the first place."""
ORDERS = (("systematic", 12), ("pct", 6))
"""How many orders of a smaller workload are tried, and by which search."""
FEWER = ("systematic", 24)
"""How it is searched, at last, for an order with fewer preemptions where more than one is left."""
WORKLOADS = 60
"""The most workloads that are tried."""
SIMPLER = 120
"""The most orders, or earlier places, that are tried in the workload that is left."""
_FOR_WORKLOADS = 0.7
"""The part of the time that is for smaller workloads; what they leave of it, and the rest, is for simpler orders."""
_BATCH = 2
"""Orders that are run before it is looked what they showed."""
_NO_CASE = (SetupError, WorkerDiedError, CallTimeoutError, EngineError)
"""How a smaller workload turns out to be none that this target can play."""


class NotShrinkableError(ValueError):
    """A token of what cannot be made smaller; one line that says why, and what would help."""


class Shrinking(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``token`` is empty where the finding did not show; ``verified`` is the replay that came last.

    ``before`` and ``after`` are measures by name. ``done``: nothing smaller was left to try; else a bound on runs, or
    the budget, ended it.
    """

    token: str
    verified: Replay
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    attempts: int = 0
    runs: int = 0
    done: bool = False


def check_shrinkable(record: ReplayRecord) -> None:
    """Raise :class:`NotShrinkableError` where nothing of what a token names can be made smaller."""
    if why := _why_not(record):
        raise NotShrinkableError(f"this token cannot be shrunk: {why}")


def _why_not(record: ReplayRecord) -> str:
    plan = record.plan
    if record.kind == "dialogue":
        return "it is of a dialogue, whose turns stand in its scenario: make that shorter"
    if any(isinstance(fault, Timed) for fault in plan.faults):
        return "it is of a moment that chance chose: shrink the finding at a crash point that it belongs to"
    if any(isinstance(fault, PowerLoss) for fault in plan.faults):
        return "it is of a power loss, whose state is the smallest that shows it"
    if plan.concurrency:
        return "it is of a plain run, in which it happened by chance; search its order with run --schedules"
    if plan.faults and plan.schedule is not None:
        return "it is of a crash within an order of operations, which fit this workload alone"
    if record.kind == "probe" and plan.schedule is None:
        return "it is of a probe: its workload is its command, its place the first that shows it"
    return ""


class Shrinker:
    """Tries the cases of one token. ``compiled`` makes the target of a token, whatever its workload."""

    def __init__(
        self, executor: Executor, record: ReplayRecord, compiled: Callable[[ReplayRecord], Subject], engine: str
    ) -> None:
        self.showing = Showing(executor, engine, finding_of(record))
        self.stopped = False
        """Whether something was left untried because there was no time for it."""
        self.deadline = math.inf
        """When to stop trying, as ``time.monotonic()`` says it."""
        self._executor = executor
        self._record = record
        self._compiled = compiled
        self._engine = engine
        self._explored = False
        self._handed = Handovers()

    def start(self) -> Shown | None:
        """Return the token's own case, if a run shows it."""
        measured = self._recorded(self._record)
        if measured is None:
            return None
        self._explored = known_place(measured, self.showing.finding) is not None
        return self.showing.first(measured, [self._record.plan] * FIRST_RUNS)

    def keep(self, shown: Shown) -> None:
        """Note the case that is gone on from: a smaller one may need the same handovers."""
        self._handed = shown.handed

    def workloads(self, shown: Shown) -> Iterator[Workload]:
        """Yield the smaller workloads of a case, in shortlex order, while there is time; a command has none."""
        if self._record.kind == "probe":
            return
        for values in takewhile(lambda _: self._in_time(), smaller(parameters_of(shown.workload))):
            workload = with_sizes(shown.workload, Sizes(*values))
            if workload is not None:
                yield workload

    def in_workload(self, workload: Workload) -> Shown | None:
        """Return the first case of another workload that shows the finding."""
        try:
            measured = self._recorded(with_workload(self._record, workload))
        except _NO_CASE:
            return None
        if measured is None:
            return None
        if self._record.plan.schedule is not None:
            return self._in_some_order(measured)
        plans = earliest_plans(measured, self.showing.finding, self._record.plan, self._explored)
        return self.showing.first(measured, plans)

    def simpler(self, shown: Shown) -> Iterator[FaultPlan]:
        """Yield simpler orders, or earlier places, of a case in its workload, while there is time."""
        plans = (self._under(order) for order in fewer(shown.handed))
        if self._record.plan.schedule is None:
            known = earliest_plans(shown.measured, self.showing.finding, shown.plan, self._explored)
            plans = (plan for plan in known if place_measure(plan) < place_measure(shown.plan))
        yield from takewhile(lambda _: self._in_time(), plans)

    def _recorded(self, record: ReplayRecord) -> Measured | None:
        measured = record_anew(self._executor, self._compiled(record), record.fault_class, self._engine)
        return measured if null_problem(measured.explored.recording) is None else None

    def _in_time(self) -> bool:
        late = time.monotonic() >= self.deadline
        self.stopped = self.stopped or late
        return not late

    def _under(self, order: AnySchedule) -> FaultPlan:
        return msgspec.structs.replace(self._record.plan, schedule=order)

    def _in_some_order(self, measured: Measured) -> Shown | None:
        before = [self._under(self._handed)] if self._handed.turns else []
        shown = self.showing.first(measured, before)
        for policy, most in ORDERS:
            shown = shown or self.searched(measured, policy, most)
        return shown

    def searched(self, measured: Measured, policy: str, most: int) -> Shown | None:
        """Return the first case that one of so many orders shows, as a search of schedules tries them."""
        search = ScheduleSearch(policy, self._record.seed, "shrink")
        not_run = Scheduled(schedule=schedule_of(()), problem="it was not run")
        while search.tried < most and self._in_time():
            orders = list(search.orders(min(_BATCH, most - search.tried)))
            if not orders:
                return None
            plans = [self._under(order) for order in orders]
            ended = self.showing.run(measured, plans)
            for order, plan, examined in zip(orders, plans, ended, strict=True):
                search.ran(order, scheduled_of(examined) or not_run)
                shown = self.showing.case(measured, plan, examined)
                if shown is not None:
                    return shown
        return None


def shrink_token(
    executor: Executor,
    record: ReplayRecord,
    compiled: Callable[[ReplayRecord], Subject],
    times: int,
    budget_s: float,
    engine: str = "ptrace",
    tell: Callable[[dict[str, int], dict[str, int]], object] = lambda before, after: None,
) -> Shrinking:
    """Shrink what a token names for ``budget_s`` seconds at most, then replay the result ``times`` times.

    ``tell`` hears of each step, in measures by name. Raises :class:`NotShrinkableError`.
    """
    check_shrinkable(record)
    begun = time.monotonic()
    shrinker = Shrinker(executor, record, compiled, engine)
    start = shrinker.start()
    if start is None:
        verified = replay(executor, compiled(record), record, times, engine)
        return Shrinking(token="", verified=verified, runs=shrinker.showing.runs)

    def accepted(before: Shown, after: Shown) -> None:
        shrinker.keep(after)
        tell(told(before), told(after))

    shrinker.keep(start)
    shrinker.deadline = begun + _FOR_WORKLOADS * budget_s
    small = shrink(start, shrinker.workloads, shrinker.in_workload, measure_of, WORKLOADS, accepted)
    measured = small.smallest.measured

    def under(plan: FaultPlan) -> Shown | None:
        return shrinker.showing.first(measured, [plan])

    shrinker.deadline = begun + budget_s
    simple = shrink(small.smallest, shrinker.simpler, under, measure_of, SIMPLER, accepted)
    left = simple.smallest
    if (
        left.order[0] > 1
        and (found := shrinker.searched(measured, *FEWER))
        and measure_of(found) < measure_of(left)
    ):
        accepted(left, found)
        left = found
    named = msgspec.structs.replace(record, plan=left.plan)
    if left.workload != start.workload:
        named = with_workload(named, left.workload)
    return Shrinking(
        token=encode(named),
        verified=replay(executor, compiled(named), named, times, engine),
        before=told(start),
        after=told(left),
        attempts=small.attempts + simple.attempts,
        runs=shrinker.showing.runs,
        done=small.done and simple.done and not shrinker.stopped,
    )


def with_workload(record: ReplayRecord, workload: Workload) -> ReplayRecord:
    """Return the record of the same finding in another workload."""
    return msgspec.structs.replace(record, workload=msgspec.to_builtins(workload))


def measure_of(shown: Shown) -> Measure:
    """Return what makes one case smaller than another, the most significant first."""
    return (*sizes_of(shown.workload), *shown.order, *place_measure(shown.plan))


def told(shown: Shown) -> dict[str, int]:
    """Return the measure of a case by name, without what cannot be told of it."""
    described = shown.measured.case.subject.target != PROBE_TARGET
    measure = sizes_of(shown.workload)._asdict() if described else {}
    if shown.plan.schedule is not None:
        preempted, switches, _ = shown.order
        measure |= {"preemptions": preempted, "switches": switches}
    occurrence, landed = place_measure(shown.plan)
    measure |= {"occurrence": occurrence} if occurrence else {}
    return measure | ({"torn_after": landed} if landed else {})
