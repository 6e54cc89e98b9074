"""The recording phase: the null run of every case, judged and explored.

A case whose recording does not verify is *broken*; one that did not end by itself with success is *inconclusive*.
Both stop here: later phases see only the cases whose recording can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from harness.campaign.aggregate import CONTENT
from harness.campaign.context import Case, Context, Measured
from harness.campaign.executor import Call, Executor
from harness.campaign.observe import Observation, died_by
from harness.campaign.sharding import ELSEWHERE
from harness.campaign.strips import keep_strip
from harness.campaign.trials import harness_failure, serious
from harness.campaign.work import Explored, ExploreRequest, record_and_explore, set_up
from harness.checks import INVARIANTS
from harness.checks.invariant import Scope
from harness.core.fault import NO_FAULTS, FaultClass
from harness.core.operation import AnyOperation, Lock, Open, Outside, Sync
from harness.core.point import is_strikeable
from harness.core.run import NO_ACKNOWLEDGEMENT, Recording
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import TrialRow, Verdict, Violation
from harness.engines.shim import blind
from harness.explore.states import StateClass

STATE_CLASSES: tuple[StateClass, ...] = ("kill", "short")
_OF_TREES: frozenset[Scope] = frozenset({"file", "names", "tree"})
"""Scopes of invariants that look at a crash state by itself."""
_OUTSIDE_SHOWN = 3
_UNDECIDED_SHOWN = 4


def prepare_cases(executor: Executor, cases: Iterable[Case]) -> list[Case]:
    """Run the set-up programs, in parallel, and return the cases with their starting trees."""
    cases = list(cases)
    calls = [
        Call(set_up, (case.subject.spec, tuple(case.subject.setup)), case.id)
        for case in cases
        if case.subject.setup
    ]
    starts: dict[str, Tree] = {outcome.key: outcome.result() for outcome in executor.run(calls)}
    return [with_start(case, starts[case.id]) if case.id in starts else case for case in cases]


def with_start(case: Case, start: Tree) -> Case:
    """Return the case with ``start`` as the tree its runs begin with."""
    spec = msgspec.structs.replace(case.subject.spec, start=start)
    return msgspec.structs.replace(case, subject=msgspec.structs.replace(case.subject, spec=spec))


def judged_scopes(case: Case, fault_class: FaultClass) -> tuple[Scope, ...]:
    """Return what is judged of a case under a fault class, besides trees."""
    if fault_class in ("signal", "concurrency"):  # the target's own programs are shown what other faults leave
        spec = case.subject.spec
        if fault_class == "signal" or not spec.readers:
            return ("trace",)
        return ("trace", "reads", "listing") if spec.listing else ("trace", "reads")
    subject, shown = case.subject, case.sample_max > 0
    scopes: list[Scope] = ["trace"]
    if fault_class in ("errno", "short") and case.errno_max:
        scopes.append("outcome")
    if fault_class != "errno" and shown:
        scopes += ["recovery"] if subject.recover else []
        scopes += ["listing"] if subject.list_command or subject.resume else []
    return tuple(scopes)


def explore_request(case: Case, states: bool = True) -> ExploreRequest:
    """Return how this case's null run is to be explored. ``states``: with what kills and cut writes leave."""
    subject = case.subject
    return ExploreRequest(
        classes=tuple(name for name in STATE_CLASSES if states and name in case.faults),
        bindings=tuple(subject.bindings),
        torn_tail=subject.torn_tail,
        masked=subject.random_names if subject.bindings else None,
        invariants=case.invariants,
        scopes={name: judged_scopes(case, name) for name in case.faults},
    )


def changes_state(op: AnyOperation) -> bool:
    """Whether an operation can have changed the state directory: a run without one measures nothing."""
    if op.error or isinstance(op, Lock | Sync) or not is_strikeable(op):
        return False
    return not isinstance(op, Open) or op.created or op.truncated


def limits_of(trace: Trace) -> tuple[str, ...]:
    """Return, in words, what the engine of a recording can see of no target of its kind."""
    return blind.sentences(actor.command for actor in trace.actors) if trace.engine == "shim" else ()


def not_seen(trace: Trace) -> Iterator[str]:
    """Yield, in words, what the recording cannot answer for."""
    yield from limits_of(trace)
    yield from trace.unseen
    outside = list(dict.fromkeys(op.path for op in trace.operations if isinstance(op, Outside)))
    for path in outside[:_OUTSIDE_SHOWN]:
        yield f"what was written to {path}, which is outside the state directory"
    if len(outside) > _OUTSIDE_SHOWN:
        yield f"what was written to {len(outside) - _OUTSIDE_SHOWN} more files outside the state directory"


def null_problem(recording: Recording) -> tuple[Verdict, str] | None:
    """Return why a null run cannot be built upon, as (verdict, reason), or ``None``."""
    if recording.differences:
        return "broken", "the recording does not verify: " + "; ".join(recording.differences[:3])
    if recording.ending in ("timeout", "limit"):
        return "inconclusive", f"the run without a fault {recording.ending_detail or recording.ending}"
    told = recording.ended_as_told
    if recording.signal is not None and not told:
        return "inconclusive", f"the run without a fault died of signal {recording.signal}"
    if recording.exit_code and not told:
        hint = " (tornwrite trace shows what it prints)" if recording.stderr_tail else ""
        return "inconclusive", f"the run without a fault failed with exit code {recording.exit_code}{hint}"
    if recording.acks_buffered:
        return (
            "inconclusive",
            "stdout looks block-buffered: several acknowledgements arrived in one write, after several changes",
        )
    if recording.trace is None:
        return "broken", "the engine gave no operations"
    if not any(changes_state(op) for op in recording.trace.operations):
        return "inconclusive", "the run without a fault changed nothing in its state directory"
    return None


def null_violations(explored: Explored) -> tuple[Violation, ...]:
    """Return what the undisturbed run violates by itself: no fault needed."""
    return serious((*explored.null_violations, *explored.trace_violations))


def _null_row(ctx: Context, case: Case, explored: Explored, index: int) -> TrialRow:
    """Keep the row of the null run and return it. What it violates is counted by one shard."""
    recording = explored.recording
    problem = null_problem(recording)
    trial_id = f"{case.id}/null"
    mine = ctx.split.has(case, "states")
    seen = [
        Observation(violation=item, fault_class="none", plan=NO_FAULTS, runs=1, tree=recording.final)
        for item in (null_violations(explored) if problem is None and mine else ())
    ]
    names = ctx.ledger.observe(case, seen, trial_id, index)
    ctx.ledger.save(names)
    verdict: Verdict = problem[0] if problem else ("violated" if names else "held")
    row = msgspec.structs.replace(
        case.row("null", trial_id, verdict),
        findings=names,
        engine=recording.engine,
        wall_ms=recording.wall_ms,
        cpu_ms=recording.cpu_ms,
        died_by=died_by(recording),
        note=problem[1] if problem else ("" if mine else ELSEWHERE),
    )
    ctx.record(row)
    return row


def judges_states(case: Case, explored: Explored, name: FaultClass) -> bool:
    """Whether an invariant judges the states of this class and found something to judge in them.

    States that nothing could fail are not "held"; those a check judges have rows of their own.
    """
    reasons = explored.not_measured.get(name, {})
    rows = [INVARIANTS[key] for key in case.invariants or INVARIANTS if key not in reasons]
    return any(row.judges(name) and not _OF_TREES.isdisjoint(row.checks) for row in rows)


def state_rows(ctx: Context, case: Case, explored: Explored, index: int) -> int:
    """Keep a row per explored fault class; return the next free place in the plan."""
    for name, exploration in explored.explorations.items():
        if not judges_states(case, explored, name):
            continue
        trial_id = f"{case.id}/state/{name}"
        names: dict[str, None] = {}
        for group in exploration.groups:
            if group.severity != "violation":
                continue
            seen = Observation(
                violation=group.violation,
                fault_class=exploration.fault_class,
                point=group.point,
                states=group.states,
                tree=group.first.tree,
            )
            names |= dict.fromkeys(ctx.ledger.observe(case, [seen], trial_id, index))
            index += 1
        ctx.ledger.save(names)
        row = msgspec.structs.replace(
            case.row("state", trial_id, "violated" if names else "held", name),
            states=exploration.enumerated,
            distinct=exploration.distinct,
            bad_states=exploration.violated,
            findings=tuple(names),
            engine=explored.recording.engine,
            cpu_ms=explored.explore_cpu_ms.get(name, 0.0),
        )
        ctx.record(row)
        if exploration.sampled and not case.control:
            taken, possible = (sum(item[field] for item in exploration.sampled) for field in (1, 2))
            ctx.notice(
                f"{name}: {taken:,} of {possible:,} cuts of long writes were explored",
                case,
            )
    return index


def _say_what_is_not_measured(ctx: Context, case: Case, explored: Explored) -> None:
    trace = explored.recording.trace
    for line in not_seen(trace) if trace else ():
        ctx.notice(f"not seen: {line}", case)
    classes: dict[tuple[str, str], list[str]] = {}
    for name, reasons in explored.not_measured.items():
        for invariant, reason in reasons.items():
            if not case.invariants and invariant not in CONTENT:
                continue  # nobody asked for it by name
            classes.setdefault((invariant, reason), []).append(name)
    together: dict[tuple[str, str], list[str]] = {}
    for (invariant, reason), names in classes.items():
        short = reason.removeprefix(f"{invariant} ")
        together.setdefault((", ".join(names), short), []).append(invariant)
    opaque = [binding.glob for binding in explored.judged.bindings if binding.format == "opaque"]
    opaque = [glob for glob in opaque if explored.judged.inferred and not case.subject.check]
    if explored.unsteady:
        differing = ", ".join(sorted(explored.unsteady)[:_UNDECIDED_SHOWN])
        ctx.notice(f"two undisturbed runs differ in {differing}: only its form is judged after a fault", case)
    if not explored.recording.acks:
        ctx.notice(NO_ACKNOWLEDGEMENT, case)
    if opaque:
        ctx.notice(f"not judged, because nobody said what form it has: {', '.join(opaque[:4])}; --check can", case)
    if not case.subject.check:
        for line in explored.not_judged[:_UNDECIDED_SHOWN]:
            ctx.notice(f"not judged in full: {line}; --check can", case)
    lines = [f"{', '.join(ids)} under {under} ({reason})" for (under, reason), ids in together.items()]
    if lines:
        ctx.notice(f"not measured: {'; '.join(lines)}", case)


def record_cases(ctx: Context, cases: Iterable[Case]) -> list[Measured]:
    """Record and explore every case; return those that later phases can build upon, in the order given."""
    cases = list(cases)
    for case in cases:
        ctx.phase("record", case)
    calls = [
        Call(
            record_and_explore,
            (ctx.engine, case.subject.spec, explore_request(case, ctx.split.has(case, "states"))),
            case.id,
        )
        for case in cases
    ]
    explored: dict[str, Explored | str] = {}
    for outcome in ctx.executor.run(calls):
        explored[outcome.key] = harness_failure(outcome) or outcome.value
    ctx.ledger.begin_phase()
    usable, index = [], 0
    for case in cases:  # in plan order, whatever the order of completion
        result = explored[case.id]
        if isinstance(result, str):
            row = case.row("null", f"{case.id}/null", "broken")
            ctx.record(msgspec.structs.replace(row, note=f"the harness failed: {result}"))
            continue
        if result.recording.trace is not None:
            ctx.store.write_trace(case.file_name, result.recording.trace)
        row = _null_row(ctx, case, result, index)
        if row.verdict in ("broken", "inconclusive"):
            continue
        if not case.control:
            _say_what_is_not_measured(ctx, case, result)
        index = state_rows(ctx, case, result, index + 1)
        usable.append(Measured(case, result))
        keep_strip(ctx, usable[-1])
    return usable
