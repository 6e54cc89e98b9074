"""The phase of failing syncs: a writer that takes a refused fsync for a success has lost what it then acknowledges.

Without a power loss nothing is wrong: the tree is the undisturbed one. So each sync that comes before an
acknowledgement fails with EIO in a real run of its own, and where the writer acknowledges all the same, that run is
explored under the profiles under which the undisturbed one holds: a failed sync makes nothing durable.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from harness.campaign.context import Case, Context, Measured
from harness.campaign.executor import Call
from harness.campaign.observe import Observation, observed_loss
from harness.campaign.power import Explored
from harness.campaign.power_states import PowerRequest, explore_losses
from harness.campaign.trials import harness_failure, run_row
from harness.campaign.work import Judged, run_once
from harness.core.fault import Errno, FaultPlan
from harness.core.operation import Ack, Sync
from harness.core.profile import Profile
from harness.core.run import Recording, RunSpec
from harness.core.trace import Trace
from harness.core.verdict import TrialRow
from harness.explore.places import Places
from harness.explore.power.exploration import PowerGroup

SYNCS = 24
"""How many syncs of a case fail in turn, evenly spread over the run."""
SYNCS_LEAST = 4
"""How many although the budget is used up."""
_SECONDS = 10.0
"""Processor time for one profile of one such run, at most."""


class SyncRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A run in which one sync fails, and the profiles to explore it under if it acknowledges all the same."""

    engine: str
    spec: RunSpec
    judged: Judged
    plan: FaultPlan
    profiles: tuple[Profile, ...]
    seed: int


class SyncResult(msgspec.Struct, frozen=True, kw_only=True):
    """The run, whether it acknowledged anything after its sync had failed, and what that violates, by profile."""

    recording: Recording
    acknowledged: bool = False
    found: dict[str, tuple[PowerGroup, ...]] = {}


def fail_sync(request: SyncRequest) -> SyncResult:
    """Run the writer with one failing sync; explore what it then acknowledges."""
    recording = run_once(request.engine, request.spec, request.plan)
    trace = recording.trace
    if trace is None or recording.differences or not recording.delivered:
        return SyncResult(recording=recording)
    failed = recording.delivered[0].seq
    if not any(isinstance(op, Ack) and op.seq > failed for op in trace.operations):
        return SyncResult(recording=recording)
    found = {}
    for profile in request.profiles:
        states = explore_losses(
            PowerRequest(
                recording=recording,
                judged=request.judged,
                profile=profile,
                seed=request.seed,
                seconds=_SECONDS,
            )
        )
        found[profile.name] = tuple(group for group in states.exploration.groups if group.severity == "violation")
    return SyncResult(recording=recording, acknowledged=True, found=found)


def sync_plans(trace: Trace) -> list[FaultPlan]:
    """Return a plan for each sync that comes before an acknowledgement, evenly spread where they are many."""
    last = max((op.seq for op in trace.operations if isinstance(op, Ack)), default=-1)
    places = Places(trace)
    points = [
        places.point(op.seq) for op in trace.operations if isinstance(op, Sync) and not op.error and op.seq < last
    ]
    at = [point for point in points if point is not None]
    if len(at) > SYNCS:
        at = [at[round(index * (len(at) - 1) / (SYNCS - 1))] for index in range(SYNCS)]
    return [FaultPlan(faults=(Errno(at=point, errno=errno.EIO),)) for point in at]


def held_profiles(item: Measured, explored: Explored) -> tuple[Profile, ...]:
    """Return the profiles under which the undisturbed run holds: only there does a failing sync say anything new."""
    states = explored.get(item.case.id, {})
    return tuple(
        profile
        for profile in item.case.profiles
        if profile.name in states
        and not any(group.severity == "violation" for group in states[profile.name].exploration.groups)
    )


def syncs_planned(case: Case, trace: Trace) -> int:
    """Return how many runs the phase is to make of a case, before it is known under which profiles it holds."""
    return len(sync_plans(trace)) if "power" in case.faults and not case.subject.check else 0


def power_sync_phase(ctx: Context, cases: Iterable[Measured], explored: Explored) -> None:
    """Fail the syncs of each case that holds under some profile, one per run."""
    plans: dict[str, list[FaultPlan]] = {}
    by_id: dict[str, Measured] = {}
    for item in cases:
        if item.case.control or item.case.subject.check or not held_profiles(item, explored):
            continue
        mine = sync_plans(item.trace)
        if mine:
            ctx.phase("failing syncs", item.case, len(mine))
            plans[item.case.id], by_id[item.case.id] = mine, item
    ctx.ledger.begin_phase()
    results: dict[tuple[str, int], SyncResult | str] = {}
    for outcome in ctx.executor.run(_calls(ctx, by_id, plans, explored)):
        results[outcome.key] = harness_failure(outcome) or outcome.value
    place = 0
    for name, item in by_id.items():
        for index, plan in enumerate(plans[name]):
            if (name, index) in results:
                _keep(ctx, item, plan, index, place, results[name, index])
            place += 1
        made = sum(key[0] == name for key in results)
        if made < len(plans[name]):
            text = (
                f"power loss: {made} of {len(plans[name])} syncs failed in a run: the budget is used up (--budget)"
            )
            ctx.notice(text, item.case)
            ctx.leave_out(item.case, "power", len(plans[name]) - made)


def _calls(
    ctx: Context, by_id: Mapping[str, Measured], plans: Mapping[str, list[FaultPlan]], explored: Explored
) -> Iterator[Call]:
    """Yield the runs so that the cases take turns."""
    for index in range(max(map(len, plans.values()), default=0)):
        for name, item in by_id.items():
            if index >= len(plans[name]) or (index >= SYNCS_LEAST and time.monotonic() >= ctx.deadline):
                continue
            request = SyncRequest(
                engine=ctx.engine,
                spec=item.case.subject.spec,
                judged=item.explored.judged,
                plan=plans[name][index],
                profiles=held_profiles(item, explored),
                seed=ctx.seed,
            )
            yield Call(fail_sync, (request,), (name, index))


def _keep(ctx: Context, item: Measured, plan: FaultPlan, index: int, place: int, result: SyncResult | str) -> None:
    """Keep a row of a run that withheld its acknowledgements, or one for each profile under which it loses them."""
    trial_id = f"{item.case.id}/sync/{index}"
    if isinstance(result, str):
        row = item.case.row("errno", trial_id, "broken", "power")
        ctx.record(msgspec.structs.replace(row, note=f"the harness failed: {result}"))
        return
    recording = result.recording
    if recording.differences or not recording.delivered:
        why = "the recording does not verify" if recording.differences else "the run ended before its fault"
        ctx.record(_row(item, plan, trial_id, recording, "", (), why))
        return
    for profile, groups in result.found.items():
        if not groups:
            continue
        names = ctx.ledger.observe(
            item.case, [_seen(group, plan) for group in groups], f"{trial_id}/{profile}", place
        )
        ctx.ledger.save(names)
        ctx.record(_row(item, plan, f"{trial_id}/{profile}", recording, profile, names, ""))
    if not any(result.found.values()):
        told = "acknowledged all the same, and loses nothing" if result.acknowledged else ""
        ctx.record(_row(item, plan, trial_id, recording, "", (), told))


def _seen(group: PowerGroup, plan: FaultPlan) -> Observation:
    return observed_loss(
        group.violation, group.fault, tree=group.tree, seq=group.seq, before=plan.faults, states=group.states
    )


def _row(
    item: Measured,
    plan: FaultPlan,
    trial_id: str,
    recording: Recording,
    profile: str,
    names: tuple[str, ...],
    note: str,
) -> TrialRow:
    struck = recording.delivered and not recording.differences
    row = run_row(
        item.case,
        "errno",
        trial_id,
        plan,
        recording,
        "violated" if names else ("held" if struck else "inconclusive"),
    )
    return msgspec.structs.replace(
        row,
        fault_class="power",
        profile=profile,
        expected=item.case.expected("power", profile),
        findings=names,
        note=note,
    )
