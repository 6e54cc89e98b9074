"""From a token to what an exported file must say: the writer is run again under the finding's own plan.

What cannot be made again by one file is a :class:`NotExportableError` of one line. Non-goals: power losses, damage
found by a start on a damaged file, and what chance decides.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

import harness
from harness.campaign.context import Case, Measured
from harness.campaign.executor import Call, Executor
from harness.campaign.programs import Examined, run_and_examine
from harness.campaign.proof import confirms, programs_for, real_path
from harness.campaign.record import explore_request, null_problem, prepare_cases
from harness.campaign.replay import finding_of, in_order
from harness.campaign.token import ReplayRecord
from harness.campaign.work import record_and_explore
from harness.catalog import Subject
from harness.checks import INVARIANTS
from harness.core.fault import CrashPoint, Damaged, Errno, FaultPlan, Kill, PowerLoss, Short, Signal, Timed
from harness.core.run import Recording
from harness.core.schedule import Prefix, Schedule, schedule_of
from harness.core.verdict import Finding, Violation
from harness.export.choice import Left, candidates, choose, expectation, files_of, left_by, means_the_same
from harness.export.document import Check, Reproduction
from harness.export.sources import NotExportableError
from harness.report.escape import plain
from harness.report.sentence import headline
from harness.sandbox.command import run_command
from harness.services import instances

ENGINE = "ptrace"
_STARTER, _TOOLS = "several.py", "TORNWRITE_TOOLS"
_ORDER_BELONGS = (
    "The order was recorded with {}. Another version, or a fixed writer, may make other file operations; then this "
    "file says CHANGED, and who did not come."
)
ATTEMPTS = 3
"""Runs that are made to see the finding again before it is said that it does not show."""
_CUTTABLE = ("write", "pwrite64", "sendfile", "copy_file_range")
"""The calls whose length ``parts.strikes`` knows."""


class Startable(msgspec.Struct, frozen=True, kw_only=True):
    """How an exported file starts the writer: words that name nothing of this machine, and the files they need."""

    run: tuple[str, ...]
    set_up: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    sources: Mapping[str, str] = {}
    workload: Any = None
    package: tuple[str, str, str] | None = None
    install: str = ""
    story: str = ""


def why_not(plan: FaultPlan) -> str:
    """Return why a plan cannot be made again by one file, an empty string if it can."""
    if plan.concurrency:
        return "chance decides when its own work meets; search for an order with --schedules and export that"
    for fault in plan.faults:
        if isinstance(fault, PowerLoss):
            return "a power loss is no kill: no script can make one; tornwrite replay shows it"
        if isinstance(fault, Timed):
            return "its moment is random; the exact finding beside it can be exported"
        if isinstance(fault, Damaged):
            return "it is a start on a damaged file; tornwrite replay shows it"
        if not fault.at.role and fault.at.operation != "sync":
            return f"it strikes after an {fault.at.operation}, which is no file operation"
    return "several faults strike" if len(plan.faults) > 1 else ""


def reproduction(
    executor: Executor, subject: Subject, record: ReplayRecord, start: Startable, token: str
) -> Reproduction:
    """Run the writer under the token's plan, and return the file that does the same. Raises NotExportableError."""
    if subject.spec.readers:
        raise NotExportableError("it was found with readers beside the writer; tornwrite replay starts them")
    finding = finding_of(record)
    measured, examined, violation = _seen_again(executor, subject, record, finding)
    paths = _paths_of((examined.recording, measured.explored.recording))
    order = record.plan.schedule
    turns = zip(order.turns[::2], order.turns[1::2], strict=True) if isinstance(order, Schedule) else ()
    actors = order.actors if isinstance(order, Schedule) else ()
    for label in actors:
        _role(label.partition(":")[2].rpartition(" ")[0], paths)
    served = order is not None and subject.spec.tools is not None
    check = _check(executor, measured, examined, finding, violation, record.plan, paths)
    strike, point = _strike(record.plan, examined, paths)
    return Reproduction(
        title=headline(finding, plain),
        story=(
            *([f"The writer is {start.story}."] if start.story else ()),
            *_story(record.plan),
            *([_ORDER_BELONGS.format(_interpreter(subject.spec.argv[0]))] if order is not None else ()),
        ),
        case={
            "run": list(start.run),
            "set_up": list(start.set_up),
            "environment": {**start.environment, **({_TOOLS: "unix:{dir}.tools"} if served else {})},
            "workload": start.workload,
            "saved": subject.spec.ack,
            "expected": expectation(check),
            "exit_codes": _exit_codes(record.plan, examined, measured.explored.recording),
        },
        check=check,
        sources=_with_starter(start.sources, subject.spec.instances),
        made_by=f"Made by tornwrite {harness.__version__}. Its token: {token}",
        strike=strike,
        point=point,
        order=tuple((actors[index], count) for index, count in turns),
        install=start.install,
        package=start.package,
        served=served,
        instances=subject.spec.instances,
        way="in_turn" if order is None and record.plan.fault_class != "concurrency" else "together",
    )


def _exit_codes(plan: FaultPlan, examined: Examined, null: Recording) -> Mapping[str, int]:
    """Return how a run ended that no fault struck: undisturbed, and as the exported file runs the writer."""
    undisturbed = left_by(null).exit_code
    here = undisturbed if plan.faults else left_by(examined.recording).exit_code
    return {"undisturbed": undisturbed, "here": here}


def _with_starter(sources: Mapping[str, str], instances_: int) -> Mapping[str, str]:
    """Return the sources with the program that starts several instances, where there are several."""
    if instances_ == 1:
        return sources
    if _STARTER in sources:
        raise NotExportableError(f"one of the writer's files has the name {_STARTER!r}")
    with open(instances.__file__, encoding="utf-8") as stream:
        return {**sources, _STARTER: stream.read()}


def _seen_again(
    executor: Executor, subject: Subject, record: ReplayRecord, finding: Finding
) -> tuple[Measured, Examined, Violation]:
    classes = (record.fault_class,) if record.fault_class != "none" else ()
    case = Case(subject=subject, faults=classes, invariants=frozenset(INVARIANTS), sample_max=1, check_max=0)
    (case,) = prepare_cases(executor, [case])
    request = explore_request(case, states=False)
    (outcome,) = executor.run([Call(record_and_explore, (ENGINE, case.subject.spec, request))])
    measured = Measured(case, outcome.result())
    if problem := null_problem(measured.explored.recording):
        raise NotExportableError(problem[1])
    ordered = in_order(executor, measured, record.plan, ENGINE)
    if isinstance(ordered, str):
        raise NotExportableError(ordered)
    measured = ordered
    request_programs = programs_for(measured, [finding], proof=False)
    for attempt in range(ATTEMPTS):
        call = Call(run_and_examine, (ENGINE, case.subject.spec, record.plan, request_programs), attempt)
        (run,) = executor.run([call])
        examined: Examined = run.result()
        violation = confirms(measured, examined, record.plan, finding)
        if violation is not None:
            return measured, examined, violation
    raise NotExportableError(
        f"{finding.invariant} did not show in {ATTEMPTS} runs here: is it fixed? (tornwrite replay)"
    )


def _interpreter(program: str) -> str:
    """Return what a program calls its version, where it says so."""
    home = os.path.dirname(program)
    asked = run_command([program, "--version"], cwd=home, environment={"PATH": home})
    said = asked.stdout.decode("utf-8", "replace").strip().splitlines()
    name = os.path.basename(program)
    return plain(said[0] if name.startswith("python") else f"{name} {said[0]}", 80) if said else name


def _story(plan: FaultPlan) -> Iterator[str]:
    does = {
        Kill: "kills it with a real SIGKILL at the operation that POINT names",
        Signal: "sends it a signal right after the operation that POINT names",
        Short: "has the write that POINT names accept only a part of its bytes",
        Errno: "has the operation that POINT names fail",
    }
    doing = [text for kind, text in does.items() if any(isinstance(fault, kind) for fault in plan.faults)]
    if plan.schedule is not None:
        doing.insert(
            0, "holds its threads before each of their file operations, lets them go in the order that ORDER gives"
        )
    what = ", ".join(["starts the real writer", *doing, "and looks at the files that are left"])
    yield f"This file {what}. Tools that the writer calls answer at once."
    yield "To test a fix, change the writer at the end of this file (or install another version) and run it again."


# -- where it strikes -------------------------------------------------------------------------------------------


def _role(role: str, paths: Iterable[str]) -> str:
    if not means_the_same(role, paths):
        raise NotExportableError(f"the names of its files are too much like {role!a}")
    return role


def _paths_of(recordings: Iterable[Recording]) -> list[str]:
    """Return all names that files had at any time."""
    found: set[str] = set()
    for recording in recordings:
        found |= {*recording.spec.start.names, *recording.final.names}
        operations = recording.trace.operations if recording.trace is not None else ()
        found |= {
            name for op in operations for name in (getattr(op, "path", None), getattr(op, "to", None)) if name
        }
    return sorted(found)


def _strike(plan: FaultPlan, examined: Examined, paths: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return the function of ``parts.strikes``, and where it strikes."""
    if not plan.faults:
        return "", {}
    (fault,) = plan.faults
    assert isinstance(fault, Kill | Signal | Short | Errno)
    at = fault.at
    point = {"word": at.operation, "path": _role(at.role, paths), "number": at.occurrence}
    if at.actor != "p0":
        point["process"] = int(at.actor[1:])
    if isinstance(fault, Errno):
        return "failed", point | {"amount": fault.errno} | ({"lasts": fault.errno} if fault.persistent else {})
    if isinstance(fault, Signal):
        return "signalled", point | {"amount": int(signal.Signals[fault.signal])}
    if at.phase != "torn" or at.bytes == 0:
        return "killed_after" if at.phase == "after" else "killed_before", point
    _must_be_cuttable(examined, at)
    if isinstance(fault, Kill) or fault.kill:
        return "killed_within", point | {"amount": at.bytes}
    return "cut_short", point | {"amount": at.bytes} | ({"lasts": fault.then_errno} if fault.then_errno else {})


def _must_be_cuttable(examined: Examined, at: CrashPoint) -> None:
    struck = examined.recording.delivered[0].operation
    call = struck.syscall if struck is not None else ""
    if call not in _CUTTABLE:
        raise NotExportableError(f"it cuts a {call or at.operation}, and only plain writes are cut")


# -- what is looked at ------------------------------------------------------------------------------------------


def _check(
    executor: Executor,
    measured: Measured,
    examined: Examined,
    finding: Finding,
    violation: Violation,
    plan: FaultPlan,
    paths: list[str],
) -> Check:
    null = measured.explored.recording
    left, whole = left_by(examined.recording), left_by(null)
    path = real_path(examined.recording, violation.path)
    binding = measured.expectation.bindings.of(path)
    able = list(candidates(finding, path, binding, measured.explored.judged.masked, left, whole, paths))
    alone = [whole]
    if finding.fault_class == "none":
        alone = [Left(files=files_of(null.spec.start))]  # the undisturbed run is what shows it
    elif plan.schedule is not None:
        # Where work meets by chance the undisturbed run is damaged as well; one in which nobody is interrupted is not.
        in_turn = FaultPlan(schedule=Prefix(begin=schedule_of(())))
        (run,) = executor.run([Call(run_and_examine, (ENGINE, measured.case.subject.spec, in_turn))])
        alone.append(left_by(run.result().recording))
    check = choose(able, left, alone)
    if check is None:
        raise NotExportableError(f"no check that is small enough sees its damage ({finding.invariant})")
    return check
