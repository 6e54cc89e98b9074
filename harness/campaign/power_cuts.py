"""What a worker does to confirm a power loss: runs the writer on a recorded disk and cuts its power.

The trees that the file system makes of each cut are judged by the judge of that recording: what it owes is what that
run had acknowledged by then. A disk that cannot be mounted or read is counted, and judged by nobody.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable

import msgspec

from harness.campaign.observe import evidence_of
from harness.campaign.proof import match
from harness.campaign.trials import serious
from harness.campaign.work import Judged, expectation_for, judge_for
from harness.core.fault import FaultPlan
from harness.core.run import RunSpec
from harness.core.verdict import Damage, Finding
from harness.engines.base import EngineError
from harness.engines.block import BlockOptionError, DiskRecording, observe, record_on_disk, why_not_available
from harness.engines.block.observe import ObservedState
from harness.engines.block.recording import Commit
from harness.engines.block.vm import kernel_release, record_in_vm, why_no_vm, why_not_in_vm
from harness.sandbox.workspace import prepare
from harness.services.tools import serving


class CutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A writer, a file system with its mount options, and the findings that are looked for; ``cuts`` at most.

    ``plan``: what fails while the writer runs. ``vm``: all of it happens in a virtual machine. ``damages``, by key:
    what a finding was predicted to leave, where one cause leaves a file empty in one state and torn in another; of a
    finding that is not there, its own damage.
    """

    spec: RunSpec
    judged: Judged
    findings: tuple[Finding, ...]
    filesystem: str
    options: str
    commit: Commit
    plan: FaultPlan
    cuts: int
    seed: int
    vm: bool = False
    content: bool = False
    damages: dict[str, tuple[Damage, ...]] = {}


class CutResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many cuts were looked at, how many of them show each finding (by key), and the evidence of the first.

    ``problem``: why there was nothing to look at. ``unreadable`` cuts left no file system that could be read.
    """

    problem: str = ""
    kernel: str = ""
    cuts: int = 0
    unreadable: int = 0
    shown: dict[str, int] = {}
    evidence: dict[str, dict[str, object]] = {}


def cut_power(request: CutRequest) -> CutResult:
    """Record the writer on a disk, cut its power, and count the cuts that show each finding."""
    try:
        reason = _why_not(request)
        if reason:
            return CutResult(problem=reason)
        recorded, states = _recorded_in_vm(request) if request.vm else _recorded(request)
        if recorded.recording.trace is None or recorded.recording.differences:
            return CutResult(problem="the recording on a disk does not verify")
        return _look(request, recorded, states)
    except (EngineError, BlockOptionError) as error:
        return CutResult(problem=str(error))


def _why_not(request: CutRequest) -> str:
    """Return "" where this can be done here, else the reason why not."""
    if not request.vm:
        return why_not_available(request.filesystem)
    if request.plan.faults:
        return "a run with a failing fsync is not made in a virtual machine"
    if request.spec.tools is not None:
        return "the tools of a scenario cannot be reached from a virtual machine"
    return why_not_in_vm(request.spec.argv[0]) or why_no_vm(request.filesystem)


def _recorded(request: CutRequest) -> tuple[DiskRecording, Iterable[ObservedState]]:
    """Run the writer on a recorded disk of this machine; return the recording, and what its cuts leave."""
    spec = request.spec
    prepare(spec)
    with serving(spec) as service:
        served = msgspec.structs.replace(spec, environment={**spec.environment, **service.environment})
        recorded = record_on_disk(served, request.filesystem, request.options, request.commit, plan=request.plan)
    return recorded, observe(recorded, request.cuts, request.seed)


def _recorded_in_vm(request: CutRequest) -> tuple[DiskRecording, Iterable[ObservedState]]:
    """Do the same inside a virtual machine."""
    prepare(request.spec)
    return record_in_vm(
        request.spec,
        request.filesystem,
        request.options,
        request.commit,
        limit=request.cuts,
        seed=request.seed,
    )


def _look(request: CutRequest, recorded: DiskRecording, states: Iterable[ObservedState]) -> CutResult:
    judge = judge_for(expectation_for(recorded.recording, request.judged), request.judged)
    shown: dict[str, int] = {}
    evidence: dict[str, dict[str, object]] = {}
    cuts = unreadable = 0
    for state in states:
        cuts += 1
        if state.tree is None:
            unreadable += 1
            continue
        found = serious(judge.judge(state.tree, state.acked, "power"))
        for finding in request.findings if found else ():
            predicted = request.damages.get(finding.key) or (finding.damage,)
            same = [item for item in found if item.damage in predicted]
            violation = match(finding, same)
            if violation is None:
                continue
            shown[finding.key] = shown.get(finding.key, 0) + 1
            if finding.key not in evidence:
                evidence[finding.key] = {
                    **evidence_of(state.tree, violation, request.content),
                    "message": violation.message,
                    "damage": violation.damage,
                    "acknowledged": state.acked,
                    "filesystem": request.filesystem,
                    "mount_options": request.options,
                    "commit": request.commit,
                    "operations_done": [state.low, state.high],
                }
    return CutResult(
        kernel=".".join((kernel_release() if request.vm else platform.release()).split(".")[:2]),
        cuts=cuts,
        unreadable=unreadable,
        shown=shown,
        evidence=evidence,
    )
