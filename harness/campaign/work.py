"""What a worker process does for a campaign: one run, one exploration, one inspection of a state.

Top-level functions from values to values, so that an executor can send them to another process. Each leaves
nothing behind but its result.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator

import msgspec

from harness.campaign import worker
from harness.checks import (
    INVARIANTS,
    Expectation,
    FileBinding,
    Judge,
    Rules,
    infer_bindings,
    judge_trace,
    unsteady_roles,
)
from harness.checks.binding import TornTail
from harness.checks.invariant import Scope
from harness.core.apply import replay
from harness.core.fault import NO_FAULTS, FaultClass, FaultPlan
from harness.core.role import path_role
from harness.core.run import Recording, RunSpec
from harness.core.schedule import leaves_alone
from harness.core.timing import TimedCalls
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.engines import KeepingEngine, SchedulingEngine
from harness.engines import engine as engine_named
from harness.engines.shim.clock import timed_calls
from harness.explore import CrashState, Exploration, explore
from harness.explore.states import StateClass
from harness.sandbox.command import CommandResult, run_command
from harness.sandbox.machine import is_case_sensitive
from harness.sandbox.snapshot import read_tree
from harness.sandbox.workspace import prepare
from harness.services.together import all_instances, listed_in, reads_of
from harness.services.tools import Service, Standing, serving

_BY_OTHER_RUNS: frozenset[FaultClass] = frozenset({"errno", "short", "signal", "concurrency"})
"""The classes whose runs go on: what they leave is comparable only as far as two undisturbed runs agree."""

_OF_ORDERS = frozenset({"M3"})
"""What is judged of crash states too where writers meet: one of them may be about to make good what it overwrote."""

_TOOLS = Standing()
"""Who serves the tools of runs under a schedule, where the engine keeps a process between runs too."""

_SHOWN = 4
_WORDS_MAX = 200


class SetupError(Exception):
    """The program that makes a target's starting state failed; the text says how."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """How states of one case are judged: what every worker needs to build the same judge."""

    bindings: tuple[FileBinding, ...]
    inferred: bool
    masked: bool
    invariants: frozenset[str]
    case_sensitive: bool = True
    """Whether ``A`` and ``a`` are two files where the target ran: the rule by which paths in documents are compared."""
    in_order: bool = False
    """Whether the recorded run went in an order that was decided: then a crash may lose what another has saved."""


class Explored(msgspec.Struct, frozen=True, kw_only=True):
    """A null recording, how it is judged, and what exploring it found, per fault class."""

    recording: Recording
    judged: Judged
    null_violations: tuple[Violation, ...] = ()
    trace_violations: tuple[Violation, ...] = ()
    explorations: dict[StateClass, Exploration] = {}
    not_measured: dict[FaultClass, dict[str, str]] = {}
    unsteady: frozenset[str] = frozenset()
    """Keys of files that two undisturbed runs wrote differently: another run's bytes are not held against these."""
    not_judged: tuple[str, ...] = ()
    """Logs of which a part of what they owe cannot be told, each with the reason."""
    explore_cpu_ms: dict[StateClass, float] = {}


class ExploreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to explore.

    ``bindings`` empty means: infer them from the trace, with ``torn_tail`` for its logs. ``masked`` is ``None`` when
    a second run decides. ``scopes`` says, for each fault class of the case, what will be judged besides trees.
    """

    classes: tuple[StateClass, ...]
    bindings: tuple[FileBinding, ...] = ()
    torn_tail: TornTail = "violation"
    masked: bool | None = None
    invariants: frozenset[str] = frozenset()
    scopes: dict[FaultClass, tuple[Scope, ...]] = {}


def set_up(spec: RunSpec, argv: tuple[str, ...]) -> Tree:
    """Run a target's set-up program in a fresh workspace and return the tree it leaves."""
    prepare(spec)
    result = run_command(argv, cwd=spec.cwd, environment=spec.environment, timeout_s=60.0)
    if result.exit_code != 0:
        raise SetupError(f"set-up program {argv[0]}: {describe(result)}")
    return read_tree(spec.root).tree


def last_words(stderr: bytes) -> str:
    """Return the last line of an error output, shortened: hostile text, and it may quote what a file holds."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:_WORDS_MAX] if lines else ""


def describe(result: CommandResult) -> str:
    """Say in a few words how a command ended; its own words are not repeated: they may quote a state."""
    if result.not_started:
        return result.not_started
    if result.timed_out:
        return "did not end in time"
    if result.signal is not None:
        return f"died of signal {result.signal}"
    return f"exit code {result.exit_code}"


def run_once(engine_name: str, spec: RunSpec, plan: FaultPlan = NO_FAULTS, *, verify: bool = True) -> Recording:
    """Run the target once under an engine, with its tools beside it."""
    engine = engine_named(engine_name)
    with _served(spec, plan, keeps=isinstance(engine, KeepingEngine)) as (served, service):
        if plan.schedule is not None and isinstance(engine, SchedulingEngine):
            recording = engine.run(served, plan, verify=verify, beside=service)
        else:
            recording = engine.run(served, plan, verify=verify)
    if isinstance(engine, KeepingEngine):
        worker.keep(engine.server_pid, _TOOLS.pid)
    recording = msgspec.structs.replace(recording, spec=spec)  # an address belongs to one run
    if not _at_once(plan) or not spec.readers:
        return recording
    return msgspec.structs.replace(recording, reads=reads_of(spec), listed=listed_in(spec))


def time_once(spec: RunSpec) -> TimedCalls:
    """Run the target once as a timed kill finds it, and return when its operations came."""
    with _served(spec, NO_FAULTS) as (served, _):
        return timed_calls(served)


@contextlib.contextmanager
def _served(spec: RunSpec, plan: FaultPlan, *, keeps: bool = False) -> Iterator[tuple[RunSpec, Service]]:
    """Serve the tools of a run inside the block: the one place that brings the two together.

    ``keeps``: the engine keeps a process between runs, and so may who serves.
    """
    tools = spec.tools.redrawn(plan.draw) if spec.tools is not None else None
    decided = not leaves_alone(plan.schedule)
    if tools is not None and decided:
        tools = tools.at_once()  # how late one is, is how late the scheduler lets its thread go on
    together = all_instances(spec, in_turn=not _at_once(plan), decided=decided)
    standing = _TOOLS if decided and keeps else None
    with serving(msgspec.structs.replace(spec, tools=tools), in_turn=decided, standing=standing) as service:
        yield msgspec.structs.replace(together, environment={**spec.environment, **service.environment}), service


def _at_once(plan: FaultPlan) -> bool:
    """Whether instances and readers run at once in a run under ``plan``; else one after the other."""
    return plan.schedule is not None or plan.fault_class == "concurrency"


def standing_pid() -> int:
    """Return the process that serves the tools of one run after the other; 0 where there is none."""
    return _TOOLS.pid


def expectation_for(recording: Recording, judged: Judged) -> Expectation:
    """Return what states of the case owe, whose null run ``recording`` is."""
    if recording.trace is None:
        raise ValueError("an expectation needs a recording with a trace")
    return Expectation.from_trace(recording.trace, judged.bindings, masked=judged.masked)


def judge_for(expectation: Expectation, judged: Judged) -> Judge:
    """Return the judge for states of the case that owes ``expectation``."""
    rules = Rules(case_sensitive=judged.case_sensitive)
    further = _OF_ORDERS if judged.in_order else frozenset()
    return Judge(judged.bindings, expectation, judged.invariants or None, rules, further)


def _same_outcome(first: Recording, second: Recording) -> bool:
    return first.final.key == second.final.key and first.acks == second.acks


def _ended(recording: Recording) -> bool:
    return recording.ending == "exited" or recording.ended_as_told


def record_and_explore(engine_name: str, spec: RunSpec, request: ExploreRequest) -> Explored:
    """Record the null run, and explore every crash state of it that the fault classes allow.

    A second run tells whether names and contents repeat, where nobody said so, and whether what runs leave behind can
    be compared at all.
    """
    recording = run_once(engine_name, spec)
    trace = recording.trace
    if trace is None or recording.differences or not _ended(recording):
        judged = Judged(bindings=request.bindings, inferred=False, masked=False, invariants=request.invariants)
        return Explored(recording=recording, judged=judged)
    judged = judged_of(trace, request, case_sensitive=is_case_sensitive(os.path.dirname(spec.root)))
    unsteady: frozenset[str] = frozenset()
    if request.masked is None or not _BY_OTHER_RUNS.isdisjoint(request.scopes):
        again = run_once(engine_name, spec, verify=False)
        if request.masked is None:
            judged = msgspec.structs.replace(judged, masked=not _same_outcome(recording, again))
        unsteady = unsteady_roles(recording, again, judged.bindings)
        unsteady |= unsteady_versions(recording, again, judged.bindings, judged.masked)
    return explore_recording(recording, judged, request, unsteady)


def judged_of(trace: Trace, request: ExploreRequest, *, case_sensitive: bool = True) -> Judged:
    """Return how the states of a recorded run are judged; not masked where only a second run could decide that."""
    return Judged(
        bindings=request.bindings or infer_bindings(trace, request.torn_tail),
        inferred=not request.bindings,
        masked=bool(request.masked),
        invariants=request.invariants,
        case_sensitive=case_sensitive,
    )


def explore_recording(
    recording: Recording, judged: Judged, request: ExploreRequest, unsteady: frozenset[str] = frozenset()
) -> Explored:
    """Judge a null recording and explore the crash states that the request asks for. Starts nothing."""
    trace = recording.trace
    if trace is None:
        raise ValueError("crash states are explored from a recording with a trace")
    expectation = expectation_for(recording, judged)
    judge = judge_for(expectation, judged)
    incomparable = why_incomparable(expectation, unsteady)
    explorations: dict[StateClass, Exploration] = {}
    spent_ms: dict[StateClass, float] = {}
    for name in request.classes:
        started = time.process_time()
        explorations[name] = explore(trace, name, judge.judge)
        spent_ms[name] = (time.process_time() - started) * 1e3
    acked = len(trace.acks)
    return Explored(
        recording=recording,
        judged=judged,
        unsteady=unsteady,
        not_judged=tuple(item.undecided for item in expectation.records.values() if item.undecided),
        not_measured={name: _not_measured(judge, request, name, incomparable) for name in request.scopes},
        null_violations=judge.judge(replay(trace.start, trace.operations), acked, "none"),
        trace_violations=judge_trace(trace, judged.bindings, request.invariants or None),
        explorations=explorations,
        explore_cpu_ms=spent_ms,
    )


def unsteady_versions(
    first: Recording, again: Recording, bindings: tuple[FileBinding, ...], masked: bool
) -> frozenset[str]:
    """Return the keys of the documents that two undisturbed runs wrote differently.

    A pid or a time in a file makes another run's bytes strange to the recorded run without anything being wrong.
    """
    if first.trace is None or again.trace is None:
        return frozenset()
    seen = []
    for trace in (first.trace, again.trace):
        expectation = Expectation.from_trace(trace, bindings, masked=masked)
        seen.append(
            {
                key: {
                    expectation.document_digest(version)
                    for history in document.histories
                    for version in history.versions
                    if version is not None
                }
                for key, document in expectation.documents.items()
            }
        )
    return frozenset(key for key in seen[0] if seen[0][key] != seen[1].get(key))


def why_incomparable(expectation: Expectation, unsteady: frozenset[str]) -> str:
    """Return why runs cannot be held against each other at all: they differ in every file that is judged."""
    judged = {*expectation.records, *expectation.documents}
    steady = {key for key in judged if key not in unsteady and path_role(key) not in unsteady}
    if not unsteady or steady:
        return ""
    return f"two undisturbed runs differ in {', '.join(sorted(unsteady)[:_SHOWN])} even after masking"


def _not_measured(
    judge: Judge, request: ExploreRequest, fault_class: FaultClass, incomparable: str
) -> dict[str, str]:
    """Return, of the invariants that this class can violate, those that nothing here measures, with the reason."""
    reasons = {}
    for name in sorted(request.invariants or INVARIANTS):
        if INVARIANTS[name].judges(fault_class):
            reason = judge.measured(name, fault_class, request.scopes[fault_class])
            if not reason and set(INVARIANTS[name].checks) == {"outcome"}:
                reason = incomparable
            if reason:
                reasons[name] = reason
    return reasons


def distinct_states(states: Iterable[CrashState]) -> list[CrashState]:
    """Return each distinct state once, the first that shows it, in the order of the run."""
    distinct: dict[tuple[int, int], CrashState] = {}
    for state in states:
        distinct.setdefault((state.tree.key, state.acked), state)
    return list(distinct.values())


def sample_states(states: Iterable[CrashState], limit: int) -> Iterator[CrashState]:
    """Yield at most ``limit`` distinct states: all of them if they fit, else evenly spread over the run.

    The last state is always among them. Pure; deterministic.
    """
    kept = distinct_states(states)
    if len(kept) <= limit:
        yield from kept
        return
    step = (len(kept) - 1) / max(1, limit - 1)
    yield from (kept[round(index * step)] for index in range(limit))
