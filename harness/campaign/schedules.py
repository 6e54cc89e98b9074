"""The phase of schedules: a search for an order of the target's own operations that breaks something, with no fault.

Runs of the target under the exact engine, each under a schedule of its own, until the first batch in which one violates
an invariant, or until there is no more to try. The judge is that of plain runs. A finding carries the decisions of its
run, so its token makes them again; the rate at which chance makes them is what plain runs show beside it.

``--resume`` searches anew: what a schedule is to try depends on the runs before it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from harness.campaign.context import Context, Measured
from harness.campaign.crossing import Crossing
from harness.campaign.errors import judge_error_run as judge_plain_run
from harness.campaign.executor import Call
from harness.campaign.programs import Examined, ExamineRequest, run_and_examine
from harness.campaign.proof import engine_for
from harness.campaign.readers import UNINTERRUPTED, gone_orders, telling_orders, torn_orders
from harness.campaign.simplifying import simplify_order
from harness.campaign.streams import stream
from harness.campaign.trials import Result, Trial, broken_row, harness_failure
from harness.core.fault import FaultPlan
from harness.core.run import Recording
from harness.core.schedule import AnySchedule, Prefix, Scheduled, Search, schedule_of
from harness.engines import SchedulingEngine
from harness.engines import engine as engine_named
from harness.explore.schedule import Systematic, contended, pct_bound, strands

DEFAULT_SCHEDULES = 40
"""Schedules per variant where they are asked for and nobody says how many."""
DEPTH = 3
"""Orderings that a bug may need: two change points."""
PREEMPTIONS = 2
BATCH = 4
"""Schedules that are tried before it is looked whether one of them found something; whatever the number of workers."""

_SLEPT = "somebody slept for a time while others went on, which is not waited for"


class ScheduleSearch:
    """What to try next, given what the runs so far have shown.

    ``pct`` has to know how many steps there are: its first run is a random walk, which meets what is easily met.
    """

    def __init__(self, policy: str, seed: int, name: str) -> None:
        self.policy = policy
        self.tried = self.given = 0
        """Its own orders that were tried, and those that somebody else gave."""
        self._seed = seed
        self._name = name
        self._index = 0
        self._steps = self._strands = 0
        self._systematic = Systematic(PREEMPTIONS)
        self._slept = False

    def orders(self, count: int) -> Iterator[AnySchedule]:
        """Yield the next schedules, fewer than ``count`` where no more are known before these have run."""
        for _ in range(count):
            if self.policy == "systematic":
                prefix = self._systematic.next()
                if prefix is None:
                    return
                yield Prefix(begin=schedule_of(prefix))
                continue
            seed = stream(self._seed, "schedules", self._name, self._index).getrandbits(63)
            self._index += 1
            if self.policy == "random" or not self._steps:
                yield Search(policy="random", seed=seed)
                if self.policy == "pct":
                    return
            else:
                yield Search(policy="pct", seed=seed, depth=DEPTH, steps=self._steps)

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return self.tried + self.given

    def ran(self, order: AnySchedule, scheduled: Scheduled, given: bool = False) -> None:
        """Take what a run showed. One that did not follow its prefix shows nothing of what lies behind it."""
        self.given += given
        self.tried += not given
        self._slept = self._slept or scheduled.slept
        self._steps = max(self._steps, contended(scheduled.offered), 1)
        self._strands = max(self._strands, strands(scheduled.offered))
        if isinstance(order, Prefix) and not scheduled.problem:
            self._systematic.ran(scheduled.schedule.decisions, scheduled.offered)

    def spelt(self) -> str:
        """Return how much was searched, and what that promises."""
        if self.policy == "systematic":
            left = self._systematic.waiting
            known = f"; {left:,} more are known and not tried" if left else ", all there are"
            if self._systematic.unsteady:  # a thread was not yet there, or not at rest, when others were let go on
                known = f"; {left:,} more are known, and after the same decisions others waited: there may be more"
            elif self._slept:  # what wakes later meets nothing of what went on meanwhile
                known = f"; {left:,} more are known and not tried" if left else ""
                known += f"; {_SLEPT}: there may be more"
            orders = _count(self.tried, "interleaving of file operations", "interleavings of file operations")
            return f"{orders} with at most {PREEMPTIONS} preemptions{known}"
        text = _count(self.tried, f"schedule by {self.policy}", f"schedules by {self.policy}")
        if self.given:
            for_readers = _count(self.given, "order for the readers", "orders for the readers")
            text = f"{for_readers}, {text}" if self.tried else for_readers
        if not self.tried:
            return text
        text += f": {self._strands} actors, {self._steps} contended operations"
        if self.policy == "pct":
            bound = pct_bound(self._strands, self._steps, DEPTH)
            text += f"; the first is a random walk, each other meets a bug of depth {DEPTH} with p ≥ {bound:.2g}"
            text += f" among those who were there: {_SLEPT}" if self._slept else ""
        return text


def schedule_phase(ctx: Context, cases: Iterable[Measured]) -> dict[str, str]:
    """Search each case that asks for it, one after the other: a batch has all workers.

    Return why what was asked for was not measured, by case id: no order was tried.
    """
    unmeasured: dict[str, str] = {}
    ctx.ledger.begin_phase()
    for measured in ctx.split.of(cases, "states"):
        case = measured.case
        if not case.schedules:
            continue
        if not isinstance(engine_named(ctx.engine), SchedulingEngine):
            reason = f"no schedules were searched: the {ctx.engine} engine decides nothing, ptrace does"
            ctx.notice(reason, case)
        else:
            ctx.phase("schedules", case, case.schedules)
            reason = "" if _search(ctx, measured) else "no schedules were searched: the budget is used up"
        if reason:
            unmeasured[case.id] = reason
    return unmeasured


def _search(ctx: Context, measured: Measured) -> int:
    """Search one case, tell what came of it, and return how many schedules were tried."""
    case = measured.case
    search = ScheduleSearch(case.policy, ctx.seed, case.id)
    crossing = Crossing(ctx, measured)
    spent: list[tuple[float, str]] = []
    first, cut = _before_readers(ctx, measured, search, crossing, spent), ""
    while search.tried < case.schedules and (not first or crossing.wants_more):
        if ctx.expired():
            if not first:
                cut = "; the budget is used up"
                ctx.leave_out(case, "concurrency", case.schedules - search.tried)
            break
        orders = list(search.orders(min(BATCH, case.schedules - search.tried)))
        if not orders:
            break
        number, recordings = _run_batch(ctx, measured, search, orders, spent)
        first = first or number
        crossing.take(recordings)
    if first:
        simplify_order(ctx, measured, judge_scheduled_run)
    if search.runs:
        text = search.spelt() + cut + (f"; the first violation under number {first}" if first else "")
        ctx.notice(text + _cost(spent, measured.explored.recording.cpu_ms), case)
    crossing.finish()
    return search.runs


def _before_readers(
    ctx: Context, measured: Measured, search: ScheduleSearch, crossing: Crossing, spent: list[tuple[float, str]]
) -> int:
    """Try the moments at which a reader would see what is no version; return the number of the first that violates."""
    if not measured.case.subject.spec.readers or ctx.expired():
        return 0

    def tried(orders: Sequence[AnySchedule]) -> tuple[int, list[Recording]]:
        number, recordings = _run_batch(ctx, measured, search, list(orders), spent, given=True)
        crossing.take(recordings)
        return number, recordings

    first, recordings = tried([UNINTERRUPTED])
    known = [order for each in recordings for order in telling_orders(measured, each)]
    pieces = [order for each in recordings for order in torn_orders(measured, each)]
    pieces += [order for each in recordings for order in gone_orders(measured, each)]
    batches = [known] if known else [pieces[begin : begin + BATCH] for begin in range(0, len(pieces), BATCH)]
    for batch in batches:
        first = first or tried(batch)[0]
    return first


def _count(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"


def _cost(spent: list[tuple[float, str]], recorded: float) -> str:
    """Return what a schedule costs beside the recording, which holds nobody and does not see reads.

    ``spent``: of each run the processor time, and why it was no fork of the preloaded program.
    """
    if not spent or not recorded:
        return ""
    times = statistics.median(cpu_ms for cpu_ms, _ in spent) / recorded
    cold = min((reason for _, reason in spent if reason), default="")
    how = f"each started anew ({cold})" if cold else "each a fork of the preloaded program"
    return f"; {how}, at {times:.1f} times the recording's cost"


def _run_batch(
    ctx: Context,
    measured: Measured,
    search: ScheduleSearch,
    orders: list[AnySchedule],
    spent: list[tuple[float, str]],
    *,
    given: bool = False,
) -> tuple[int, list[Recording]]:
    """Run a batch, judge it in order and keep its rows; return the number of the first that violates, or 0, and all."""
    case, begun = measured.case, search.runs
    request = ExamineRequest(check=case.subject.check)
    plans = [FaultPlan(schedule=order) for order in orders]
    calls = [
        Call(run_and_examine, (engine_for(plan, ctx.engine), case.subject.spec, plan, request), index)
        for index, plan in enumerate(plans)
    ]
    outcomes = {outcome.key: outcome for outcome in ctx.executor.run(calls)}
    first = 0
    recordings: list[Recording] = []
    for index, (order, plan) in enumerate(zip(orders, plans, strict=True)):
        number = begun + index
        trial = Trial(f"{case.id}/order/{number}", measured, "schedule", run_and_examine, (), plan=plan)
        failure = harness_failure(outcomes[index])
        examined: Examined | None = None if failure else outcomes[index].value
        result = Result(broken_row(trial, failure)) if examined is None else judge_scheduled_run(trial, examined)
        scheduled = None
        if examined is not None:
            scheduled = examined.recording.scheduled
            spent.append((examined.recording.cpu_ms, examined.recording.why_cold))
            recordings.append(examined.recording)
        search.ran(order, scheduled or Scheduled(schedule=schedule_of(()), problem="it was not run"), given)
        # Nobody drew this order: it counts for no rate.
        seen = [msgspec.structs.replace(each, runs=0) for each in result.observations]
        names = ctx.ledger.observe(case, seen, trial.id, number)
        ctx.ledger.save(names)
        ctx.record(msgspec.structs.replace(result.row, findings=names))
        first = first or (number + 1 if names else 0)
    return first, recordings


def judge_scheduled_run(trial: Trial, examined: Examined) -> Result:
    """Return what one run says; what it observed is observed under the decisions that were made."""
    result = judge_plain_run(trial, examined)
    scheduled = examined.recording.scheduled
    if scheduled is None:
        return result
    made = FaultPlan(schedule=scheduled.schedule)
    return result._replace(
        observations=tuple(msgspec.structs.replace(each, plan=made) for each in result.observations)
    )
