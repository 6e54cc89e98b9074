"""Crashes within an order: the crash states of the interleavings that a search of schedules has run.

What a kill leaves depends on who stands where: one actor between its read and its write when another's rename lands.
The trace of a scheduled run is a trace, so its crash states are worked out and judged as those of the recording are,
against what that run itself has written and acknowledged, and no process is started for it. A sample of those that the
recording does not have is shown to the target's own programs.

A finding is a cause (invariant, path role, damage) that no crash state of the recording has, and that the same order
does not show without a crash. Of the orders that show it the simplest is kept; its plan is the fault and the order, and
the confirming runs make both.

Non-goals: choosing orders, and a fault that does not end the run: what comes after it is another order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from harness.campaign.check import judge_check
from harness.campaign.context import Context, Measured, case_id
from harness.campaign.examine import commands_for, judge_inspection, telling, within_patience
from harness.campaign.executor import Call
from harness.campaign.observe import Observation, plan_for
from harness.campaign.programs import CheckRequest, CommandRequest, inspect, run_check
from harness.campaign.record import STATE_CLASSES, judges_states, null_problem
from harness.campaign.trials import Result, Trial, harness_failure, run_trials, schedule_problem, serious
from harness.campaign.work import Explored, Judged, expectation_for, judge_for
from harness.core.apply import replay
from harness.core.fault import CrashPoint, FaultClass, FaultPlan
from harness.core.operation import Ack
from harness.core.role import path_role
from harness.core.run import Recording
from harness.core.schedule import Schedule
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.explore import CrashState, Exploration, explore
from harness.explore.schedule import order_measure
from harness.explore.states import StateClass

CUTS_PER_WRITE = 64
"""Cuts of one write, in the recording and in each order: what a short write leaves was looked at cut by cut before."""
ORDERS_LEAST = 6
"""Runs that are made for crashes although a search has found an order that needs none."""
SHOWN_ORDERS = 4
"""Orders of which the target's own programs are shown states: those that have most of their own."""
_PHASE = "crossed"

Cause: TypeAlias = tuple[str, str, str]
"""Invariant, path role, damage."""
States: TypeAlias = dict[tuple[int, int], frozenset[Cause]]
"""What is wrong in each distinct state, by its tree's key and its acknowledgements."""


class CrossedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One run in its order, and what its crash states violate that its end does not."""

    explored: Explored
    states: dict[StateClass, States]


class _Best(NamedTuple):
    """The simplest order that shows a cause so far."""

    measure: tuple[int, int, int]
    observation: Observation
    measured: Measured


def explore_order(recording: Recording, judged: Judged, classes: tuple[StateClass, ...]) -> CrossedOrder:
    """Judge the crash states of one run against what that run itself owes. Starts nothing."""
    trace = recording.trace
    if trace is None:
        raise ValueError("crash states are explored from a recording with a trace")
    judge = judge_for(expectation_for(recording, judged), judged)
    end = judge.judge(replay(trace.start, trace.operations), len(trace.acks), "none")
    without_crash = {(item.invariant, path_role(item.path)) for item in end}
    explorations: dict[StateClass, Exploration] = {}
    states: dict[StateClass, States] = {}
    for name in classes:
        seen: States = {}

        def needs_the_crash(
            tree: Tree, acked: int, fault_class: StateClass, seen: States = seen
        ) -> Sequence[Violation]:
            found = judge.judge(tree, acked, fault_class)
            found = tuple(item for item in found if (item.invariant, path_role(item.path)) not in without_crash)
            seen[tree.key, acked] = frozenset(map(cause_of, serious(found)))
            return found

        explorations[name] = explore(trace, name, needs_the_crash, CUTS_PER_WRITE)
        states[name] = seen
    explored = Explored(recording=recording, judged=judged, null_violations=end, explorations=explorations)
    return CrossedOrder(explored=explored, states=states)


def judged_in_order(measured: Measured) -> Judged:
    """Return how the crash states of a run in an order of its own are judged."""
    return msgspec.structs.replace(measured.explored.judged, in_order=True)


def measured_in(measured: Measured, crossed: CrossedOrder) -> Measured:
    """Return the case with a run in another order in the place of its recording."""
    unmeasured = measured.explored.not_measured
    return Measured(measured.case, msgspec.structs.replace(crossed.explored, not_measured=unmeasured))


def cause_of(violation: Violation) -> Cause:
    """Return what a violation has in common with others of its cause, wherever the crash is."""
    return violation.invariant, path_role(violation.path), violation.damage


def order_problem(recording: Recording) -> str:
    """Return why crash states cannot be worked out from a run in an order of its own; empty where they can."""
    problem = null_problem(recording)
    return schedule_problem(recording) or (problem[1] if problem else "")


class Crossing:
    """The orders of one case, as they come, and what crashes within them show."""

    def __init__(self, ctx: Context, measured: Measured) -> None:
        self._ctx = ctx
        self._measured = measured
        self._classes: tuple[StateClass, ...] = tuple(
            name for name in STATE_CLASSES if name in measured.case.faults
        )
        self._known: dict[StateClass, States] = {}
        self._new: dict[StateClass, States] = {name: {} for name in self._classes}
        self._best: dict[tuple[StateClass, Cause], _Best] = {}
        self._telling: list[tuple[int, Measured]] = []
        self._met = {_signature(measured.explored.recording)}
        self._offered = self._explored = self._left = 0
        self._enumerated = dict.fromkeys(self._classes, 0)

    @property
    def wants_more(self) -> bool:
        """Whether a search that has found what it looks for should go on for the sake of crashes."""
        return bool(self._classes) and self._offered < ORDERS_LEAST

    def take(self, recordings: Iterable[Recording]) -> None:
        """Explore the runs that went in an order that none before went in."""
        recordings = list(recordings)
        self._offered += len(recordings)
        if not self._classes:
            return
        fresh = [each for each in recordings if not order_problem(each) and self._differs(each)]
        if not fresh:
            return
        if self._ctx.expired():
            self._left += len(fresh)
            return
        explored = self._measured.explored
        work = [(each, judged_in_order(self._measured)) for each in fresh]
        if not self._known:
            work.append((explored.recording, explored.judged))
        calls = [
            Call(explore_order, (recording, how, self._classes), number, needs_workspace=False)
            for number, (recording, how) in enumerate(work)
        ]
        done: dict[int, CrossedOrder] = {}
        for outcome in self._ctx.executor.run(calls):
            if failure := harness_failure(outcome):
                self._ctx.notice(f"crash states of an order were not judged: {failure}", self._measured.case)
            else:
                done[outcome.key] = outcome.value
        if not self._known and len(fresh) in done:
            self._known = done[len(fresh)].states
        for number in sorted(done):
            if number < len(fresh):
                self._keep(done[number])

    def _differs(self, recording: Recording) -> bool:
        signature = _signature(recording)
        differs = signature not in self._met
        self._met.add(signature)
        return differs

    def _keep(self, crossed: CrossedOrder) -> None:
        measured = measured_in(self._measured, crossed)
        scheduled = crossed.explored.recording.scheduled
        assert scheduled is not None
        measure = order_measure(scheduled.schedule.decisions, scheduled.offered)
        self._explored += 1
        more = 0
        for name, states in crossed.states.items():
            exploration = crossed.explored.explorations[name]
            self._enumerated[name] += exploration.enumerated
            own = {key: causes for key, causes in states.items() if key not in self._known.get(name, {})}
            more += len(own.keys() - self._new[name].keys())
            self._new[name] |= own
            causes: set[Cause] = set()
            for group in exploration.groups:
                cause = cause_of(group.violation)
                if group.severity != "violation" or group.point is None or cause in causes:
                    continue
                causes.add(cause)
                best = self._best.get((name, cause))
                if best is None or measure < best.measure:
                    tree = group.first.tree
                    seen = _observed(group.violation, name, group.point, scheduled.schedule, tree)
                    self._best[name, cause] = _Best(measure, seen, measured)
        self._telling = sorted([*self._telling, (more, measured)], key=lambda each: -each[0])[:SHOWN_ORDERS]

    def finish(self) -> None:
        """Keep a row per class and the findings, show states to the target's own programs, and say how much it was."""
        case, ctx = self._measured.case, self._ctx
        if self._left:
            for name in self._classes:
                ctx.leave_out(case, name, self._left)
        if not self._explored:
            return
        self._notice()
        known = self._known_causes()
        for number, name in enumerate(self._classes):
            self._row(name, known, case.schedules + number)
        self._show(known | {(name, cause) for name, cause in self._best})

    def _notice(self) -> None:
        states = sum(self._enumerated.values())
        own = sum(map(len, self._new.values()))
        orders = "interleaving" if self._explored == 1 else "interleavings"
        left = f"; {self._left:,} more were not looked at: the budget is used up" if self._left else ""
        self._ctx.notice(
            f"{states:,} crash states of {self._explored:,} {orders} were judged, {own:,} of them in no recording "
            f"without a schedule{left}",
            self._measured.case,
        )

    def _known_causes(self) -> set[tuple[FaultClass, Cause]]:
        """Return what this case is known to violate at a crash point of no order."""
        return {
            (item.fault_class, (item.invariant, item.role, item.damage))
            for item in self._ctx.ledger
            if case_id(item) == self._measured.case.id
        }

    def _row(self, name: StateClass, known: set[tuple[FaultClass, Cause]], index: int) -> None:
        measured, ctx = self._measured, self._ctx
        case = measured.case
        if not judges_states(case, measured.explored, name):
            return
        trial_id = f"{case.id}/{_PHASE}/{name}"
        names: dict[str, None] = {}
        for (of, cause), best in self._best.items():
            if of != name or (name, cause) in known:
                continue
            states = sum(cause in causes for causes in self._new[name].values())
            seen = msgspec.structs.replace(best.observation, states=states)
            self._note(best.measured)
            names |= dict.fromkeys(ctx.ledger.observe(case, [seen], trial_id, index))
        ctx.ledger.save(names)
        row = msgspec.structs.replace(
            case.row("state", trial_id, "violated" if names else "held", name),
            states=self._enumerated[name],
            distinct=len(self._new[name]),
            bad_states=sum(map(bool, self._new[name].values())),
            findings=tuple(names),
            engine=ctx.engine,
            note=f"crash states of {self._explored:,} orders of operations",
        )
        ctx.record(row)

    def _note(self, measured: Measured) -> None:
        """Keep an order: runs in it are judged against it."""
        scheduled = measured.explored.recording.scheduled
        if scheduled is not None:
            self._measured.orders[scheduled.schedule] = measured

    # -- the target's own programs ----------------------------------------------------------------------------

    def _show(self, known: set[tuple[FaultClass, Cause]]) -> None:
        """Let recovery, lister and check look at states that the recording does not have."""
        case = self._measured.case
        if "kill" not in self._classes:
            return
        shown = list(self._samples())
        for measured, _ in shown:  # of all: a run that is resumed judges again what it was shown before
            self._note(measured)
        for kind, trials in (("recover", list(_inspections(shown))), ("check", list(_checks(shown)))):
            if not trials:
                continue
            self._ctx.phase(kind, case, len(trials))
            judge = judge_inspection if kind == "recover" else judge_check
            run_trials(
                self._ctx, trials, functools.partial(self._judged, judge, known), within_patience(self._ctx)
            )

    def _samples(self) -> Iterator[tuple[Measured, CrashState]]:
        """Yield states of a kill that only these orders have, of each condition one first."""
        left, known = self._measured.case.sample_max, set(self._known.get("kill", {}))
        for more, measured in self._telling:
            states = [each for each in measured.killed if (each.tree.key, each.acked) not in known] if more else []
            for state in telling(measured, states)[: max(1, left // 2) if left else 0]:
                if measured.place_of(state) is not None:
                    known.add((state.tree.key, state.acked))
                    left -= 1
                    yield measured, state

    def _judged(self, judge: Any, known: set[tuple[FaultClass, Cause]], trial: Trial, value: Any) -> Result:
        """Judge what programs said of a state of an order; what is known is no news of the order."""
        result: Result = judge(trial, value)
        scheduled = trial.measured.explored.recording.scheduled
        assert scheduled is not None
        seen = []
        for each in result.observations:
            if (each.fault_class, cause_of(each.violation)) in known or each.point is None:
                continue
            plan = _within(plan_for(each.point, each.fault_class), scheduled.schedule)
            seen.append(msgspec.structs.replace(each, plan=plan))
        row = result.row
        if result.observations and not seen:
            row = msgspec.structs.replace(row, verdict="held", note="violated, as without this order")
        return Result(row, tuple(seen))


def _inspections(shown: Iterable[tuple[Measured, CrashState]]) -> Iterator[Trial]:
    for number, (measured, state) in enumerate(shown):
        spec, commands = measured.case.subject.spec, commands_for(measured, state.tree)
        if commands:
            request = CommandRequest(spec=spec, state=state.tree, commands=commands)
            name = f"{measured.case.id}/{_PHASE}/recover/{number}"
            yield Trial(name, measured, "state", inspect, (request,), state=state)


def _checks(shown: Iterable[tuple[Measured, CrashState]]) -> Iterator[Trial]:
    for number, (measured, state) in enumerate(shown):
        subject = measured.case.subject
        if subject.check:
            acks = measured.explored.recording.acks[: state.acked]
            request = CheckRequest(spec=subject.spec, argv=subject.check, states=((state.tree, acks),))
            name = f"{measured.case.id}/{_PHASE}/check/{number}"
            yield Trial(name, measured, "state", run_check, (request,), state=state)


def _observed(
    violation: Violation, fault_class: StateClass, point: CrashPoint, order: Schedule, tree: Tree
) -> Observation:
    plan = _within(plan_for(point, fault_class), order)
    return Observation(violation=violation, fault_class=fault_class, point=point, plan=plan, tree=tree)


def _within(plan: FaultPlan, order: Schedule) -> FaultPlan:
    return msgspec.structs.replace(plan, schedule=order)


def _signature(recording: Recording) -> int:
    """Return what two runs have in common in which the same actors did the same things in the same order."""
    trace = recording.trace
    if trace is None:
        return 0
    labels = [actor.label for actor in trace.actors]
    steps = (
        (labels[op.actor], op.kind, getattr(op, "path", None), op.id if isinstance(op, Ack) else "")
        for op in trace.operations
    )
    return hash((recording.final.key, *steps))
