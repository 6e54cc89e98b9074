"""From a violation to a finding: its fingerprint, its crash point, the plan that shows it again, its evidence.

Pure. Evidence names sizes, offsets and hashes; bytes of a file only where the user asked for content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.core.fault import NO_FAULTS, CrashPoint, Errno, Fault, FaultClass, FaultPlan, Kill, PowerLoss, Short
from harness.core.point import at_phase
from harness.core.role import path_role
from harness.core.run import Recording
from harness.core.tree import File, Tree
from harness.core.verdict import DIALOGUE, Finding, Violation, fingerprint_of

if TYPE_CHECKING:
    from harness.campaign.context import Case

UNATTRIBUTED = "unattributed"
_HEX_CONTEXT_BYTES = 64


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One violation at one place: in ``states`` crash states of a recording, or in ``runs`` executions.

    ``profile`` is the file system on which the power went, ``seq`` the operation after which it did; -1 for others.
    ``dialogue``: a client showed it in one of its lives, at no operation that anybody watched.
    """

    violation: Violation
    fault_class: FaultClass
    point: CrashPoint | None = None
    plan: FaultPlan | None = None
    states: int = 0
    runs: int = 0
    tree: Tree | None = None
    profile: str = ""
    seq: int = -1
    dialogue: bool = False


def plan_for(point: CrashPoint, fault_class: FaultClass) -> FaultPlan:
    """Return the faults that leave the state of ``point`` on a real disk: a kill, or a short write and a kill."""
    if fault_class == "short":
        return FaultPlan(faults=(Short(at=point, kill=True),))
    return FaultPlan(faults=(Kill(at=point),))


def _operation(observation: Observation) -> str:
    """Return the operation kind of a cause; ``schedule`` where an order of operations shows it.

    ``dialogue`` where a client shows it that is resumed, ``run`` where the undisturbed run itself does, ``start`` where
    starting on a damaged file does; ``end`` where
    the power goes and nothing is lost that an operation can be named for.
    """
    if observation.point is not None:
        return observation.point.operation
    if observation.dialogue:
        return DIALOGUE
    if observation.fault_class == "damage":
        return "start"
    if observation.fault_class == "power":
        return "end"
    if observation.plan is not None and observation.plan.schedule is not None:
        return "schedule"
    return "run" if observation.plan == NO_FAULTS else UNATTRIBUTED


def fingerprint(case: Case, observation: Observation) -> str:
    """Return the name of an observation's cause."""
    point = observation.point
    return fingerprint_of(
        target=case.subject.target,
        variant=case.subject.variant,
        invariant=observation.violation.invariant,
        fault_class=observation.fault_class,
        operation=_operation(observation),
        role=path_role(observation.violation.path),
        phase=point.phase if point else "",
    )


def observed_loss(
    violation: Violation, loss: PowerLoss, *, tree: Tree, seq: int, before: tuple[Fault, ...] = (), states: int = 1
) -> Observation:
    """Return what a power loss showed; it is named after what is lost first. ``before``: what had failed by then."""
    places = [fault.at for fault in before if isinstance(fault, Errno)]
    places += [each.at for each in loss.losses] or [each for each in (loss.at,) if each is not None]
    return Observation(
        violation=violation,
        fault_class="power",
        point=at_phase(places[0], "after") if places else None,
        plan=FaultPlan(faults=(*before, loss)),
        states=states,
        tree=tree,
        profile=loss.profile,
        seq=seq,
    )


def evidence_of(tree: Tree | None, violation: Violation, content: bool) -> dict[str, Any]:
    """Return what can be said of the damaged file: its size and hash; a window of bytes if ``content``."""
    out: dict[str, Any] = {"path": violation.path, "offset": violation.offset, "ids": list(violation.ids)}
    node = tree.node_at(violation.path) if tree is not None else None
    if isinstance(node, File):
        out["size"] = node.content.size
        out["blake2b"] = node.content.digest.hex()
        if content:
            middle = violation.offset if violation.offset >= 0 else node.content.size
            start = max(0, middle - _HEX_CONTEXT_BYTES)
            out["window_offset"] = start
            out["window_hex"] = node.content.read(start, middle + _HEX_CONTEXT_BYTES).hex()
    elif tree is not None and violation.path:
        out["size"] = None
    if violation.said:
        out["said"] = violation.said
    return out


def finding_from(case: Case, observation: Observation, trial_id: str, content: bool) -> Finding:
    """Return the finding that an observation alone makes; ``trial_id`` stands in its evidence."""
    violation, point = observation.violation, observation.point
    plan = observation.plan or (plan_for(point, observation.fault_class) if point else None)
    return Finding(
        fingerprint=fingerprint(case, observation),
        version=case.subject.version,
        control=bool(case.control),
        target=case.subject.target,
        variant=case.subject.variant,
        invariant=violation.invariant,
        fault_class=observation.fault_class,
        operation=_operation(observation),
        role=path_role(violation.path),
        phase=point.phase if point else "",
        damage=violation.damage,
        message=violation.message,
        path=violation.path,
        crash_point=point,
        fault=msgspec.to_builtins(plan) if plan is not None else None,
        states=observation.states,
        runs=observation.runs,
        expected=case.expected(observation.fault_class, observation.profile) == "violated",
        profiles=(observation.profile,) if observation.profile else (),
        evidence={
            **evidence_of(observation.tree, violation, content),
            **({"operation_seq": observation.seq} if observation.seq >= 0 else {}),
            "trial": trial_id,
        },
    )


def died_by(recording: Recording) -> str:
    """Say how the process that the fault struck ended; without one, the target's main process."""
    struck = recording.delivered[0].signal if recording.delivered else None
    if struck is not None:
        return f"signal {struck}"
    if recording.signal is not None:
        return f"signal {recording.signal}"
    return f"exit {recording.exit_code}" if recording.exit_code is not None else recording.ending


def finding_plan(finding: Finding) -> FaultPlan | None:
    """Return the fault plan that a finding was first seen under."""
    return None if finding.fault is None else msgspec.convert(finding.fault, FaultPlan)
