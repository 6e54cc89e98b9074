"""What proves a finding: which run shows it again, and what such a run leaves as evidence.

Under a kill, *confirmed* means: a new process was killed at that operation, died of signal 9 (the one that was struck:
another may have ended by itself before), and the tree read from
disk after its death violates the same invariant on the same path role. Under an error, or with no fault at all, the
same violation comes back. Pure, but for the judging of values that real programs printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.campaign.context import Measured
from harness.campaign.examine import CHECK_INVARIANT, check_violations, judging_commands, outcome_violations
from harness.campaign.observe import died_by, evidence_of, finding_plan
from harness.campaign.programs import Examined, ExamineRequest
from harness.campaign.trials import judge_run, serious, struck
from harness.campaign.work import describe
from harness.catalog import parse_listing
from harness.checks import INVARIANTS, FileBinding, judge_trace, list_sessions
from harness.checks.listing import aliases_of, session_id
from harness.checks.recovery import STILL_JUDGED
from harness.core.fault import FaultPlan, Kill, Short, Timed
from harness.core.role import path_role
from harness.core.run import Recording
from harness.core.schedule import Schedule, leaves_alone
from harness.core.tree import File
from harness.core.verdict import Finding, Violation

SIGKILL = 9
_TREE_SCOPES = frozenset({"file", "names", "tree"})
_PROGRAMS: Mapping[str, str] = {"recovery": "recover", "listing": "list"}
"""By scope of a check, the program of a target that it judges."""
_BY_RECOVERY_TRIAL = "/recover/"


def kills(plan: FaultPlan) -> bool:
    """Whether a run under ``plan`` must die of SIGKILL for its fault to count."""
    return any(isinstance(fault, Kill) or (isinstance(fault, Short) and fault.kill) for fault in plan.faults)


def confirming_plan(finding: Finding) -> FaultPlan | None:
    """Return the plan that confirms a finding: the one it was seen under, unless that was a timed kill.

    A power loss is not confirmed by running the writer again, but by cutting the power of a disk.
    """
    plan = finding_plan(finding)
    if plan is None or plan.fault_class == "power" or any(isinstance(fault, Timed) for fault in plan.faults):
        return None
    return plan


def engine_for(plan: FaultPlan, engine: str) -> str:
    """Return the engine that runs ``plan`` in a campaign of ``engine``.

    One that watches operations lets one thread go on at a time: chance meetings need one that does not watch. Orders
    are searched for in forks of a preloaded program where that is possible; the decisions of a finding are made again
    by cold starts.
    """
    if plan.schedule is not None:
        searched = not isinstance(plan.schedule, Schedule) and not leaves_alone(plan.schedule)
        return "ptrace-forked" if searched and engine == "ptrace" else engine
    clocked = plan.concurrency or any(isinstance(fault, Timed) for fault in plan.faults)
    return "timed" if clocked else engine


def _by_programs(finding: Finding) -> bool:
    """Whether it was the target's own programs that showed the finding, on a tree that need not show it."""
    return finding.fault_class == "damage" or _BY_RECOVERY_TRIAL in str(finding.evidence.get("trial", ""))


def needed_programs(finding: Finding) -> frozenset[str]:
    """Return the target's own programs without which nobody can see the finding; none where a pure check can."""
    if _by_programs(finding):
        return frozenset(_PROGRAMS.values())
    row = INVARIANTS.get(finding.invariant)
    return frozenset() if row is None or not _TREE_SCOPES.isdisjoint(row.checks) else _able_programs(finding)


def _able_programs(finding: Finding) -> frozenset[str]:
    """Return the target's own programs that can show the finding's invariant, whoever else can."""
    row = INVARIANTS.get(finding.invariant)
    programs = {program for scope, program in _PROGRAMS.items() if row is not None and scope in row.checks}
    return frozenset(programs | ({"recover"} if finding.invariant in STILL_JUDGED else set()))


def _by_resume(finding: Finding) -> bool:
    """Whether it takes a resume of sessions to see the finding."""
    return finding.invariant == "M10" or _by_programs(finding)


def programs_for(measured: Measured, findings: Iterable[Finding], proof: bool) -> ExamineRequest:
    """Return who must look at a confirming run's tree: those the findings were seen by.

    With ``proof``, the target's real lister and reader too, for what they say of the damaged session.
    """
    subject, findings = measured.case.subject, list(findings)
    needed = frozenset({"list"} if proof else ()).union(
        # A token does not say who saw its finding: all are asked that can.
        *(needed_programs(item) if item.evidence else _able_programs(item) for item in findings)
    )
    return ExamineRequest(
        commands=tuple(item for item in judging_commands(subject) if item[0] in needed),
        check=subject.check if any(item.invariant == CHECK_INVARIANT for item in findings) else (),
        read=subject.read if proof else (),
        resume=subject.resume if any(_by_resume(item) for item in findings) else (),
        roles=tuple(dict.fromkeys(item.role for item in findings)),
        bindings=measured.explored.judged.bindings,
        repair=subject.recover,
    )


def violations_of(measured: Measured, recording: Recording, plan: FaultPlan) -> tuple[Violation, ...]:
    """Return what a run under ``plan`` violates; of an undisturbed run, what it violates by itself."""
    if plan.fault_class != "none":
        return judge_run(measured, recording, plan)
    judged = measured.explored.judged
    found = tuple(measured.judge.judge(recording.final, recording.acks, "none"))
    if recording.trace is not None:
        found += tuple(judge_trace(recording.trace, judged.bindings, judged.invariants or None))
    return serious(found)


def examined_violations(measured: Measured, examined: Examined, plan: FaultPlan) -> tuple[Violation, ...]:
    """Return what the real programs that looked at the tree of a run under ``plan`` say against it."""
    recording = examined.recording
    found = outcome_violations(measured, recording.final, len(recording.acks), examined.outcomes, plan.fault_class)
    return serious((*found, *check_violations(examined.check)))


def match(finding: Finding, violations: Iterable[Violation]) -> Violation | None:
    """Return the violation that is the finding's: same invariant, same path role, and same damage if any has it."""
    same = [
        item for item in violations if item.invariant == finding.invariant and path_role(item.path) == finding.role
    ]
    return next((item for item in same if item.damage == finding.damage), same[0] if same else None)


def confirms(measured: Measured, examined: Examined, plan: FaultPlan, finding: Finding) -> Violation | None:
    """Return the violation by which this run confirms the finding, or ``None``."""
    recording = examined.recording
    if recording.differences or not struck(recording, plan):
        return None
    if kills(plan) and recording.delivered[0].signal != SIGKILL:
        return None
    found = violations_of(measured, recording, plan)
    if needed_programs(finding) or finding.invariant == CHECK_INVARIANT or match(finding, found) is None:
        found += examined_violations(measured, examined, plan)
    return match(finding, found)


def evidence(measured: Measured, examined: Examined, violation: Violation, content: bool) -> dict[str, Any]:
    """Return the proof of one confirming run: process, operation, sizes and hashes of the bytes on disk."""
    recording = examined.recording
    violation = msgspec.structs.replace(violation, path=real_path(recording, violation.path))
    out = evidence_of(recording.final, violation, content)
    out |= {
        "pid": recording.pid,
        "died_by": died_by(recording),
        "acknowledged": len(recording.acks),
        "message": violation.message,
    }
    if recording.delivered:
        delivered = recording.delivered[0]
        out |= {"operation_seq": delivered.seq, "returned": delivered.returned}
    whole = measured.explored.recording.final.node_at(violation.path)
    if isinstance(whole, File):
        out |= {"expected_size": whole.content.size, "expected_blake2b": whole.content.digest.hex()}
    return out | listed_evidence(measured, examined, violation.path)


def real_path(recording: Recording, path: str) -> str:
    """Return the path on disk that a violation is about, where it names only a role and one changed file plays it."""
    if not path or path in recording.final.names:
        return path
    start = recording.spec.start
    same = [
        name for name, file in recording.final.files() if path_role(name) == path and start.node_at(name) != file
    ]
    return same[0] if len(same) == 1 else path


def listed_evidence(measured: Measured, examined: Examined, path: str) -> dict[str, Any]:
    """Return what the target's real lister and reader say of the session in ``path``, and the pure lister beside it."""
    binding = measured.expectation.bindings.of(path) if path in examined.recording.final.names else None
    if binding is None or not binding.names_session or _listed_elsewhere(measured, binding):
        return {}
    name = session_id(path)
    out: dict[str, Any] = {}
    result = next((item.result for item in examined.outcomes if item.name == "list"), None)
    if result is not None and result.exit_code == 0:
        final, bindings = examined.recording.final, measured.expectation.bindings
        pure = name in list_sessions(final, bindings)
        ids = aliases_of(bindings, [(path, file.content) for path, file in final.files()]).get(name, {name})
        listed = not ids.isdisjoint(parse_listing(result.stdout).ids)
        out = {"listed": listed, "pure_lister": pure, "listers_agree": listed == pure}
    elif result is not None:
        out = {"list_failed": describe(result)}
    if name in examined.reads:
        out["read"] = describe(examined.reads[name])
    return out


def _listed_elsewhere(measured: Measured, binding: FileBinding) -> bool:
    """Whether sessions are listed by their registry entries, so that no lister shows a transcript by itself."""
    return binding.format == "transcript" and any(
        other.format == "registry" for other in measured.expectation.bindings.all
    )
