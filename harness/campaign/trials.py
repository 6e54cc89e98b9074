"""The one loop over trials: what was done before is counted again, the rest is run in parallel, judged and kept.

A finding is on disk before the row that names it, and a row before anybody hears of it, so the loop can be killed
anywhere. What a trial contributes does not depend on when it ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec

from harness.campaign.context import Case, Context, Measured
from harness.campaign.executor import Call, CallTimeoutError, Outcome, WorkerDiedError
from harness.campaign.observe import Observation, died_by
from harness.campaign.programs import Examined
from harness.campaign.readers import listing_violations, reads_violations
from harness.checks import Expectation, FileBinding, judge_cut_repair, judge_outcome, judge_trace
from harness.checks.collecting import all_ids
from harness.checks.expectation import id_at
from harness.core.fault import CrashPoint, Damaged, FaultClass, FaultPlan, PowerLoss, Timed
from harness.core.role import path_role
from harness.core.run import Recording
from harness.core.tree import File, Tree
from harness.core.verdict import TrialKind, TrialRow, Verdict, Violation
from harness.engines.base import EngineError, TargetNotStartedError, UnsupportedFaultError
from harness.explore import CrashState
from harness.sandbox.cell import CellEndedError
from harness.sandbox.isolation import IsolationError
from harness.sandbox.processes import ProcessesSurvivedError
from harness.services.process import ServiceError

_FAILURES = (
    WorkerDiedError,
    CallTimeoutError,
    EngineError,
    ProcessesSurvivedError,
    ServiceError,
    IsolationError,
    CellEndedError,
)
"""How the harness itself fails at a call."""


class Trial(NamedTuple):
    """One planned trial: a run under ``plan``, or programs looking at ``state``; ``function(*args)`` does the work.

    ``loss`` is the power loss that leaves the state, if it is one's.
    """

    id: str
    measured: Measured
    kind: TrialKind
    function: Callable[..., Any]
    args: tuple[Any, ...]
    plan: FaultPlan | None = None
    state: CrashState | None = None
    loss: PowerLoss | None = None

    @property
    def profile(self) -> str:
        """The file system on which the power went."""
        return self.loss.profile if self.loss is not None else ""

    @property
    def case(self) -> Case:
        """The case the trial belongs to."""
        return self.measured.case

    @property
    def fault_class(self) -> FaultClass:
        """The class under which the trial is judged."""
        if self.plan is not None:
            return self.plan.fault_class
        return self.state.fault_class if self.state is not None else "kill"


class Result(NamedTuple):
    """What a finished trial means: its row, still without findings, and what it saw."""

    row: TrialRow
    observations: tuple[Observation, ...] = ()


def harness_failure(outcome: Outcome) -> str:
    """Return how the harness failed at a call, or an empty string; what is the user's or a bug is raised."""
    if outcome.error is None:
        return ""
    if isinstance(outcome.error, TargetNotStartedError | UnsupportedFaultError):
        raise outcome.error
    if isinstance(outcome.error, _FAILURES):
        return str(outcome.error)
    raise outcome.error


def in_turn(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials so that cases, and the fault classes of each, take turns: each has its share of a budget."""
    queues: dict[tuple[str, FaultClass], list[Trial]] = {}
    for trial in trials:
        queues.setdefault((trial.case.id, trial.fault_class), []).append(trial)
    return [trial for together in zip_longest(*queues.values()) for trial in together if trial is not None]


def within_budget(ctx: Context) -> Callable[[Trial], bool]:
    """Return what says whether a trial may start: while there is budget.

    Controls run whatever the budget: a campaign that had no time for them would be broken, not short.
    """
    return lambda trial: bool(trial.case.control) or not ctx.expired()


def run_trials(
    ctx: Context,
    trials: Sequence[Trial],
    judge: Callable[[Trial, Any], Result],
    may_start: Callable[[Trial], bool],
) -> list[Trial]:
    """Run the trials that have no row yet, judge them, keep their rows; return those that ``may_start`` kept back.

    Trials of other shards are passed over; all keep their places in the plan.
    """
    ctx.ledger.begin_phase()
    if ctx.deadline < math.inf and all(trial.plan is not None for trial in trials):
        trials = in_turn(trials)  # programs that look at states have a bound of their own for each case
    kept_back: list[Trial] = []
    places = {trial.id: index for index, trial in enumerate(trials)}

    def calls() -> Iterator[Call]:
        for index, trial in enumerate(trials):
            row = ctx.done.get(trial.id)
            if not ctx.split.takes(trial.case, trial.id):
                continue
            if row is not None:
                ctx.ledger.restore(row, index)
                ctx.record(row)
            elif may_start(trial):
                yield Call(trial.function, trial.args, trial.id)
            else:
                kept_back.append(trial)
                if trial.plan is not None or ctx.expired():  # else a slow program was shown fewer states
                    ctx.leave_out(trial.case, trial.fault_class, profile=trial.profile)

    for outcome in ctx.executor.run(calls()):
        index = places[outcome.key]
        trial = trials[index]
        failure = harness_failure(outcome)
        result = Result(broken_row(trial, failure)) if failure else judge(trial, outcome.value)
        names = ctx.ledger.observe(trial.case, result.observations, trial.id, index)
        ctx.ledger.save(names)
        ctx.record(msgspec.structs.replace(result.row, findings=names))
    return kept_back


def broken_row(trial: Trial, failure: str) -> TrialRow:
    """Return the row of a trial at which the harness failed."""
    row = trial.case.row(trial.kind, trial.id, "broken", trial.fault_class, trial.profile)
    fault = msgspec.to_builtins(trial.plan) if trial.plan is not None else None
    return msgspec.structs.replace(row, fault=fault, note=f"the harness failed: {failure}")


_OF_ORDERS = frozenset({"W7"})
"""What the operations of one run show where several actors write: an order that was decided is one they can take."""
_BY_COMPARISON = frozenset({"M1", "M3", "B5", "B6"})
"""The invariants that hold a tree against the bytes of the recorded run."""


def struck(recording: Recording, plan: FaultPlan) -> bool:
    """Whether the run was what its plan says: its fault was delivered, if it has one, and its schedule was followed."""
    return (bool(recording.delivered) or not plan.faults) and not schedule_problem(recording)


def schedule_problem(recording: Recording) -> str:
    """Return why a run did not follow its schedule; empty where it did, or had none."""
    return recording.scheduled.problem if recording.scheduled is not None else ""


def trial_verdict(recording: Recording, plan: FaultPlan, violations: Iterable[Violation]) -> tuple[Verdict, str]:
    """Return the verdict of one run under ``plan`` and, where it is inconclusive or broken, why."""
    if recording.differences:
        return "broken", "the recording does not verify: " + "; ".join(recording.differences[:3])
    if recording.ending in ("timeout", "limit"):
        return "inconclusive", recording.ending_detail or recording.ending
    if not struck(recording, plan):
        return "inconclusive", schedule_problem(recording) or "the run ended before its fault"
    return ("violated", "") if any(item.severity == "violation" for item in violations) else ("held", "")


def judge_run(measured: Measured, recording: Recording, plan: FaultPlan) -> tuple[Violation, ...]:
    """Return what one run violates, judged under the class of its plan; serious violations only."""
    if recording.ending in ("timeout", "limit") or not struck(recording, plan):
        return ()
    explored, fault_class = measured.explored, plan.fault_class
    if fault_class == "damage":
        # The tree is damaged on purpose: what counts is what the target's own programs make of it.
        killed = point_of(plan) is not None
        return serious(cut_repair(measured, recording.spec.start, recording.final)) if killed else ()
    # A program that catches a signal goes on to what the recorded run never did: a last save, a note in its log.
    deviates = fault_class == "signal" and recording.signal is None
    found = tuple(measured.judge.judge(recording.final, recording.acks, fault_class, deviates=deviates))
    reordered = fault_class == "concurrency" and measured.interleaves
    if explored.unsteady or reordered:
        found = tuple(
            item
            for item in found
            if not (reordered or _is_unsteady(measured, item.path))
            or tells_without_comparison(measured.expectation, recording.final, item)
        )
    if fault_class in ("errno", "short") and recording.trace is not None:
        invariants = measured.case.invariants or None
        found += tuple(
            judge_outcome(explored.recording, recording, _by_bytes(measured), invariants, explored.unsteady)
        )
    return serious(found + _of_meeting(measured, recording, plan))


def _of_meeting(measured: Measured, recording: Recording, plan: FaultPlan) -> tuple[Violation, ...]:
    """Return what writers and readers at once have done to each other while they ran, whatever they left."""
    if plan.fault_class != "concurrency":
        return ()
    found = reads_violations(measured, recording) + listing_violations(measured, recording)
    asked = _OF_ORDERS & (measured.case.invariants or _OF_ORDERS)
    if asked and plan.schedule is not None and recording.trace is not None:
        found += judge_trace(recording.trace, measured.explored.judged.bindings, asked)
    return found


def _is_unsteady(measured: Measured, path: str) -> bool:
    """Whether undisturbed runs differ in this file already."""
    return not measured.explored.unsteady.isdisjoint({path_role(path), measured.expectation.key_of(path)})


def cut_repair(measured: Measured, damaged: Tree, tree: Tree) -> tuple[Violation, ...]:
    """Return what a recovery of ``damaged`` has destroyed where it was killed and left ``tree``."""
    acked = len(measured.explored.recording.acks)
    return judge_cut_repair(damaged, tree, measured.expectation, acked, measured.case.invariants or None)


def _by_bytes(measured: Measured) -> tuple[FileBinding, ...]:
    """Return the bindings of what outcomes compare byte by byte: not what only a check can read (a database)."""
    bindings = measured.explored.judged.bindings
    if not measured.case.subject.check:
        return bindings
    return tuple(
        msgspec.structs.replace(binding, litter=True) if binding.format == "opaque" else binding
        for binding in bindings
    )


def tells_without_comparison(expectation: Expectation, tree: Tree, violation: Violation) -> bool:
    """Whether a violation stands although two undisturbed runs of the target already differ in what they write.

    Then another run's bytes cannot be held against those of the recording: what is left is that a file is gone, is
    empty, or has not the form that it should have, or that nothing carries an acknowledged id.
    """
    if violation.invariant not in _BY_COMPARISON:
        return True
    if violation.invariant in ("B5", "M3") and violation.damage in ("lost", "missing"):
        return not set(violation.ids) <= record_ids(expectation, tree)
    if violation.invariant == "M3":  # what a collection has beside an id is compared with the recording
        binding = expectation.bindings.of(violation.path)
        return violation.damage != "stale" or binding is None or binding.format != "document"
    if violation.invariant != "M1":
        return False
    node = tree.node_at(violation.path)
    if not isinstance(node, File) or not node.content.size:
        return True
    binding = expectation.bindings.of(violation.path)
    if binding is None or not binding.json:
        return False
    try:
        msgspec.json.decode(node.content.to_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True
    return False


def record_ids(expectation: Expectation, tree: Tree) -> set[str]:
    """Return the ids that the records of a tree carry, in whatever file and order.

    And what files collect that the recording never had: a second copy that a program keeps where two of it met.
    """
    found: set[str] = set()
    for path, file in tree.files():
        binding = expectation.bindings.of(path)
        if path not in expectation.histories:
            found |= all_ids(file.content.to_bytes())
        if binding is None or not binding.holds_records or not binding.id_key:
            continue
        for line in file.content.to_bytes().split(b"\n"):
            try:
                name = id_at(msgspec.json.decode(line), binding.id_key)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if name is not None:
                found.add(name)
    return found


def serious(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """Return the violations that are more than information, sorted: a judge's order depends on what it saw before."""
    found = [item for item in violations if item.severity == "violation"]
    return tuple(
        sorted(found, key=lambda item: (item.path, item.invariant, item.offset, item.damage, item.message))
    )


def point_of(plan: FaultPlan) -> CrashPoint | None:
    """Return where the first fault of a plan that has a place strikes; ``None`` where none has."""
    for fault in plan.faults:
        if not isinstance(fault, Timed | Damaged):
            return fault.at
    return None


def run_row(
    case: Case, kind: TrialKind, trial_id: str, plan: FaultPlan, recording: Recording, verdict: Verdict
) -> TrialRow:
    """Return the row of one run of the real target, without findings."""
    first = recording.delivered[0] if recording.delivered else None
    return msgspec.structs.replace(
        case.row(kind, trial_id, verdict, plan.fault_class),
        crash_point=point_of(plan),
        fault=msgspec.to_builtins(plan),
        delivered=f"{first.fault} at operation {first.seq}, pid {first.pid}" if first else "",
        died_by=died_by(recording),
        engine=recording.engine,
        wall_ms=recording.wall_ms,
        cpu_ms=recording.cpu_ms,
    )


def judge_faulted_run(trial: Trial, examined: Examined, more: Iterable[Violation] = ()) -> Result:
    """Return the row and the observations of one run under a plan. ``more``: what real programs found in its tree."""
    recording, plan = examined.recording, trial.plan
    assert plan is not None
    violations = judge_run(trial.measured, recording, plan)
    if struck(recording, plan):
        violations += tuple(more)
    verdict, note = trial_verdict(recording, plan, violations)
    row = msgspec.structs.replace(run_row(trial.case, trial.kind, trial.id, plan, recording, verdict), note=note)
    if verdict != "violated":
        return Result(row)
    seen = tuple(
        Observation(
            violation=violation,
            fault_class=plan.fault_class,
            point=point_of(plan),
            plan=plan,
            runs=1,
            tree=recording.final,
        )
        for violation in violations
    )
    return Result(row, seen)
