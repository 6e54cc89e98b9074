"""Replay of a power loss: a fresh recording, explored under the profile of the token.

REPRODUCED: the same invariant is violated on the same path role, at the token's place or at another one. FIXED: the
invariant is measured, and no state of the fresh recording violates it under that profile. An exploration that a bound
of time has stopped proves no fix: CHANGED. A token of a failed fsync runs the target with that failure first.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from harness.campaign.context import Measured
from harness.campaign.elsewhere import not_comparable
from harness.campaign.examine import CHECK_INVARIANT, check_violations, commands_for, outcome_violations
from harness.campaign.executor import Call, Executor
from harness.campaign.power_states import PowerRequest, PowerStates, coverage_of, explore_losses
from harness.campaign.programs import CheckRequest, CommandRequest, inspect, run_check
from harness.campaign.proof import match, needed_programs
from harness.campaign.work import run_once
from harness.catalog import ManifestError
from harness.catalog.profiles import list_profiles, load_profile
from harness.core.fault import CrashPoint, Errno, FaultPlan, PowerLoss
from harness.core.point import at_phase
from harness.core.profile import Profile
from harness.core.verdict import Finding
from harness.explore.power.exploration import PowerGroup

_SHOWN = 200
"""States that real programs are shown for one replay."""
_SECONDS = 250.0
"""Processor time for the exploration of one replay; a call to a worker has 300 s."""


class PowerReplay(NamedTuple):
    """What exploring a fresh recording showed: where it is violated, or why that cannot be said."""

    reproduced: bool
    fixed: bool
    text: str


def loss_of(plan: FaultPlan) -> PowerLoss | None:
    """Return the power loss of a plan; it comes last."""
    last = plan.faults[-1] if plan.faults else None
    return last if isinstance(last, PowerLoss) else None


def loss_point(plan: FaultPlan) -> CrashPoint | None:
    """Return the place that a power loss is named after: what failed before it, else what is lost first."""
    loss = loss_of(plan)
    if loss is None:
        return None
    failed = next((fault.at for fault in plan.faults if isinstance(fault, Errno)), None)
    at = failed or (loss.losses[0].at if loss.losses else loss.at)
    return at_phase(at, "after") if at is not None else None


def profile_for(plan: FaultPlan, given: Profile | None = None) -> Profile | None:
    """Return the profile of a plan with a power loss: a shipped one, else the one ``given``.

    Raises :class:`ManifestError` where it is neither.
    """
    loss = loss_of(plan)
    if loss is None:
        if given is not None:
            raise ManifestError("--profile: this token is not of a power loss")
        return None
    if given is not None:
        if given.name != loss.profile:
            raise ManifestError(f"--profile: this token is of {loss.profile!r}, and not of {given.name!r}")
        return given
    if loss.profile not in list_profiles():
        raise ManifestError(
            f"this token is of a power loss under {loss.profile!r}, which is not shipped: give its file with --profile"
        )
    return load_profile(loss.profile)


def replay_power(
    executor: Executor, measured: Measured, finding: Finding, plan: FaultPlan, profile: Profile, engine: str
) -> PowerReplay:
    """Explore ``measured`` under ``profile`` and say whether the finding is there."""
    recording = measured.explored.recording
    failing = tuple(fault for fault in plan.faults if isinstance(fault, Errno))
    if failing:
        call = Call(run_once, (engine, measured.case.subject.spec, FaultPlan(faults=failing)))
        (outcome,) = executor.run([call])
        recording = outcome.result()
        if not recording.delivered:
            return PowerReplay(False, False, "CHANGED: the run ended before its fault")
    request = PowerRequest(
        recording=recording,
        judged=measured.explored.judged,
        profile=profile,
        seed=measured.case.subject.seed,
        samples=_SHOWN,
        seconds=_SECONDS,
    )
    (outcome,) = executor.run([Call(explore_losses, (request,), needs_workspace=False)])
    states: PowerStates = outcome.result()
    if finding.invariant == CHECK_INVARIANT or needed_programs(finding):
        return _by_programs(executor, measured, finding, profile, states)
    found = [
        group
        for group in states.exploration.groups
        if group.severity == "violation" and match(finding, [group.violation]) is not None
    ]
    return _answer(measured, finding, profile, states, found, failed=bool(failing))


def _answer(
    measured: Measured,
    finding: Finding,
    profile: Profile,
    states: PowerStates,
    found: list[PowerGroup],
    failed: bool,
) -> PowerReplay:
    exploration = states.exploration
    if found:
        same = [
            group for group in found if group.damage == finding.damage and (failed or _same_place(finding, group))
        ]
        group = (same or found)[0]
        of = f"{group.states:,} of {exploration.distinct:,} states under {profile.name}"
        if same:
            return PowerReplay(True, False, f"REPRODUCED 1/1: {of}")
        return PowerReplay(
            True, False, f"REPRODUCED at another point: {group.fault.at or 'the end of the run'}; {of}"
        )
    reason = not_comparable(measured, finding)
    if exploration.stopped_at >= 0:
        reason = reason or coverage_of(exploration)
    if reason:
        return PowerReplay(False, False, f"CHANGED: no state shows it, but {reason}")
    how = f" ({coverage_of(exploration)})" if coverage_of(exploration) else ""
    explored = f"{exploration.distinct:,} states under {profile.name} explored{how}"
    text = f"FIXED: {explored}, none violates {finding.invariant}"
    return PowerReplay(False, True, text)


def _same_place(finding: Finding, group: PowerGroup) -> bool:
    point, asked = loss_point(FaultPlan(faults=(group.fault,))), finding.crash_point
    if point is None or asked is None:
        return point is asked
    return (point.operation, point.role) == (asked.operation, asked.role)


def _by_programs(
    executor: Executor, measured: Measured, finding: Finding, profile: Profile, states: PowerStates
) -> PowerReplay:
    """Show the sampled states to those who saw the finding."""
    subject, acks = measured.case.subject, measured.explored.recording.acks
    samples = states.exploration.samples
    calls = []
    for index, sample in enumerate(samples):
        if finding.invariant == CHECK_INVARIANT:
            state = ((sample.tree, acks[: sample.acked]),)
            check = CheckRequest(spec=subject.spec, argv=subject.check, states=state)
            calls.append(Call(run_check, (check,), index))
        else:
            commands = commands_for(measured, sample.tree)
            request = CommandRequest(spec=subject.spec, state=sample.tree, commands=commands)
            calls.append(Call(inspect, (request,), index))
    shown = 0
    for outcome in executor.run(calls):
        sample, value = samples[outcome.key], outcome.result()
        if finding.invariant == CHECK_INVARIANT:
            said = [violation for item in value for violation in check_violations(item)]
        else:
            said = list(outcome_violations(measured, sample.tree, sample.acked, value, "power"))
        shown += match(finding, said) is not None
    if shown:
        return PowerReplay(
            True, False, f"REPRODUCED: {shown} of {len(samples)} sampled states under {profile.name}"
        )
    if len(samples) < states.exploration.distinct:
        text = f"CHANGED: none of {len(samples)} sampled states of {states.exploration.distinct:,} shows it"
        return PowerReplay(False, False, text)
    return PowerReplay(False, True, f"FIXED 0/{len(samples)}: all states under {profile.name} were shown")


def with_loss(finding: Finding, plan: FaultPlan) -> Finding:
    """Return the finding of a token with the place and the profile of its power loss."""
    loss, point = loss_of(plan), loss_point(plan)
    if loss is None:
        return finding
    return msgspec.structs.replace(
        finding,
        crash_point=point,
        operation=point.operation if point else "end",
        phase=point.phase if point else "",
        profiles=(loss.profile,),
    )
