"""A whole campaign, from plan to exit code: the order of the phases, and what is kept when it is interrupted.

Every row is on disk before anybody hears of it, so an interrupted campaign can be taken up again: trials that have
a row are not made twice, and the planned moments of timed kills stay the same. Recordings are made anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from harness import __version__
from harness.campaign.aggregate import (
    EXIT_AS_EXPECTED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING,
    CaseResult,
    ClassResult,
    case_result,
    control_problem,
    join_timed,
    never_measured,
    summary,
    verdict_of,
    with_cuts,
)
from harness.campaign.check import Unchecked, check_phase, without_check
from harness.campaign.concurrency import concurrency_phase
from harness.campaign.confirm import confirm_phase
from harness.campaign.context import Context, Measured, case_id
from harness.campaign.cutting import cutting_phase
from harness.campaign.damage import damage_phase
from harness.campaign.dialogues import dialogue_phase
from harness.campaign.errors import errno_phase
from harness.campaign.examine import recovery_phase
from harness.campaign.executor import Executor
from harness.campaign.ledger import Ledger
from harness.campaign.lives import figures_of, lives_phase
from harness.campaign.plan import Options, Plan
from harness.campaign.power import Explored, checked_of, power_phase, settle_profiles
from harness.campaign.power_advice import advice_phase
from harness.campaign.power_confirm import confirm_power
from harness.campaign.power_shown import power_shown_phase
from harness.campaign.power_sync import power_sync_phase
from harness.campaign.probe import torn_tail_hint
from harness.campaign.record import prepare_cases, record_cases
from harness.campaign.replay import add_tokens
from harness.campaign.schedules import schedule_phase
from harness.campaign.scratch import canonical_base, claimed_workspace
from harness.campaign.sharding import home_of, split_of
from harness.campaign.shares import Shares
from harness.campaign.signals import signal_phase
from harness.campaign.store import RUN_FORMAT_VERSION, RunStore
from harness.campaign.timed import Window, timed_phase
from harness.core.advice import Advice
from harness.core.drift import IndexFigures
from harness.core.event import CampaignFinished, CampaignStarted, Notice, Subscriber
from harness.core.fault import FaultClass
from harness.core.verdict import TrialRow
from harness.sandbox.machine import machine
from harness.sandbox.workspace import Workspace

NO_DEADLINE = float("inf")


def worker_count(asked: int) -> int:
    """Return the number of workers: as asked, else one per processor this process may use."""
    if asked:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def run_campaign(
    make_plan: Callable[[Workspace], Plan],
    store: RunStore,
    options: Options,
    emit: Subscriber,
    command: str,
) -> CampaignFinished:
    """Make the plan in a workspace of the run's own, carry it out, and return the verdict.

    ``emit`` hears every event in order; the last is the one returned.
    """
    with claimed_workspace(canonical_base(store.run_id)) as workspace:
        plan = make_plan(workspace)
        store.write_run(_description(plan, options, command))
        finished = _carry_out(plan, store, options, emit, workspace, command)
        emit(finished)
        return finished


def _started(plan: Plan, store: RunStore, options: Options, workspace: Workspace, command: str) -> CampaignStarted:
    return CampaignStarted(
        run_id=store.run_id,
        scenario=plan.name,
        targets=tuple(case.id for case in plan.cases),
        seed=plan.seed,
        directory=store.directory,
        planned_trials=sum(
            case.timed + case.signals + case.runs + case.schedules + len(case.lives) + case.dialogues + case.cuts
            for case in plan.cases
        ),
        shard=options.shard,
        plan=plan.identity,
        environment={
            "tornwrite": __version__,
            "engine": options.engine,
            "command": command,
            **({"replay": plan.replay} if plan.replay else {}),
            **machine(workspace.root),
        },
    )


def _description(plan: Plan, options: Options, command: str) -> dict[str, Any]:
    """Return what ``run.json`` says of a campaign before its first event."""
    return {
        "format_version": RUN_FORMAT_VERSION,
        "tornwrite": __version__,
        "name": plan.name,
        "seed": plan.seed,
        "command": command,
        "options": msgspec.to_builtins(options),
        "kind": plan.kind,
        "names": list(plan.names),
        "selectors": list(plan.selectors),
        "targets": [case.id for case in plan.cases],
        "not_available": msgspec.to_builtins(plan.not_available),
        "not_measured": msgspec.to_builtins(plan.not_measured),
    }


def _carry_out(
    plan: Plan, store: RunStore, options: Options, emit: Subscriber, workspace: Workspace, command: str
) -> CampaignFinished:
    started = _started(plan, store, options, workspace, command)
    if not plan.cases:
        emit(started)
        for item in plan.not_available:
            emit(Notice(text=f"not available: {item.reason}", target=item.what))
        code = EXIT_INCONCLUSIVE if options.require_all and plan.not_available else EXIT_NOTHING
        return CampaignFinished(verdict="inconclusive", exit_code=code, summary={"cases": []})
    # The workers are forked before anybody is told anything: a subscriber may start threads.
    with Executor(worker_count(options.jobs), workspace.base) as executor:
        emit(started)
        ctx = Context(
            store=store,
            executor=executor,
            emit=emit,
            engine=options.engine,
            seed=plan.seed,
            deadline=time.monotonic() + plan.budget_s if plan.budget_s else NO_DEADLINE,
            done={row.trial_id: row for row in store.rows()},
            ledger=Ledger(store, options.content),
            split=split_of(plan.everything, options.shard),
            cut={},
        )
        for item in plan.not_available:
            ctx.notice(f"{item.what}: not available: {item.reason}")
        for item in plan.not_measured:
            ctx.notice(f"{item.what}: not measured: {item.reason}")
        for name in sorted({case.subject.latest for case in plan.cases if case.subject.latest}):
            ctx.notice(f"latest is {name}")
        phases = _phases(ctx, plan, options)
    store.flush()
    return _finish(ctx, plan, options, phases)


class _Phases(NamedTuple):
    """What the phases leave beside rows and findings."""

    measured: list[Measured]
    windows: dict[str, Window]
    unchecked: Unchecked
    drift: dict[str, IndexFigures]
    undamaged: dict[str, str]
    """Why not all starts on damaged documents were made, by case id."""
    unshown: dict[str, str]
    """Why a check did not see all states of power losses that it was to see, by case id."""
    unordered: dict[str, str]
    """Why no orders of operations were searched although somebody asked, by case id."""
    explored: Explored
    advice: dict[str, Advice]
    unsaid: dict[str, dict[FaultClass, Mapping[str, str]]]
    """What dialogues said nothing of, by case id and class."""


def _phases(ctx: Context, plan: Plan, options: Options) -> _Phases:
    unsaid = dialogue_phase(ctx, plan.everything)
    unsaid |= cutting_phase(ctx, plan.everything)
    cases = prepare_cases(ctx.executor, (case for case in plan.everything if case.dialogue is None))
    measured = record_cases(ctx, cases)
    unchecked = check_phase(ctx, measured)
    measured = [without_check(item) if item.case.id in unchecked.untrusted else item for item in measured]
    shares = Shares(ctx, measured)
    explored = power_phase(shares.of("power"), measured)
    unseen = power_shown_phase(shares.of("shown"), measured, explored)
    power_sync_phase(shares.of("syncs"), measured, explored)
    recovery_phase(shares.of("recover"), measured)
    undamaged = damage_phase(shares.of("damage"), measured)
    errno_phase(shares.of("errno"), measured)
    windows = timed_phase(shares.of("timed"), measured)
    signal_phase(shares.of("signal"), measured)
    concurrency_phase(shares.of("concurrency"), measured)
    unordered = schedule_phase(shares.of("schedules"), measured)
    lived = lives_phase(ctx, measured)
    figures = {item.case.id: figures_of(item, lived[item.case.id]) for item in measured if item.case.id in lived}
    settle_profiles(ctx, measured)
    ctx.ledger.settle(join_timed(ctx.ledger.by_key(), ctx.ledger.damages))
    add_tokens(ctx, measured, plan.digest)
    confirm_power(shares.of("cuts"), measured, options.confirm_power, vm=options.block_vm)
    confirm_phase(ctx, measured)
    advice = advice_phase(ctx, measured, explored)
    drift = {name: each for name, each in figures.items() if each}
    return _Phases(measured, windows, unchecked, drift, undamaged, unseen, unordered, explored, advice, unsaid)


def _finish(ctx: Context, plan: Plan, options: Options, phases: _Phases) -> CampaignFinished:
    rows = list(ctx.done.values())
    reasons = {item.case.id: item.explored.not_measured for item in phases.measured} | phases.unsaid
    meeting = {item.case.id for item in phases.measured if item.interleaves}
    results = [
        _as_measured(case_result(case, rows, reasons.get(case.id), interleaves=case.id in meeting), phases)
        for case in plan.everything
    ]
    results = [with_cuts(result, ctx.cut) for result in results]
    if not options.shard.whole:
        results = [_of_shard(ctx, result, rows) for result in results]
    # What one shard does not measure, another may: that is known when they are merged.
    never = never_measured(results, plan.requested) if options.shard.whole else {}
    for name, reason in never.items():
        ctx.notice(f"{name} was asked for and never measured: {reason}")
    for case in plan.cases:
        hint = torn_tail_hint(case.subject, (item for item in ctx.ledger if case_id(item) == case.id))
        if hint and plan.kind == "probe":
            ctx.notice(hint, case)
    verdict, code = verdict_of(results, missing=bool(never or plan.not_measured), shard=not options.shard.whole)
    trouble = control_problem(results)
    if trouble:
        ctx.notice(f"broken: {trouble}")
    if code == EXIT_AS_EXPECTED and options.require_all and plan.not_available:
        code = EXIT_INCONCLUSIVE
    data = summary(results, ctx.ledger)
    for entry in data["cases"]:
        if entry["id"] in phases.windows:
            entry["timed_window"] = msgspec.to_builtins(phases.windows[entry["id"]])
        if entry["id"] in phases.advice:
            entry["advice"] = msgspec.to_builtins(phases.advice[entry["id"]])
        if entry["id"] in phases.drift:
            entry["index"] = msgspec.to_builtins(phases.drift[entry["id"]])
    data["control_problem"] = trouble
    data["never_measured"] = {**{item.what: item.reason for item in plan.not_measured}, **never}
    data["requested"] = list(plan.requested)
    if not options.shard.whole:
        data["not_measured"] = {item.what: item.reason for item in plan.not_measured}
        data["damages"] = {key: sorted(kinds) for key, kinds in ctx.ledger.damages.items() if len(kinds) > 1}
    data["findings"] = sorted(ctx.ledger.by_key())
    data["parts"] = msgspec.to_builtins(plan.parts)
    data["required"] = [item.what for item in plan.not_available] if options.require_all else []
    return CampaignFinished(verdict=verdict, exit_code=code, summary=data)


def _of_shard(ctx: Context, result: CaseResult, rows: list[TrialRow]) -> CaseResult:
    """Return the result of a shard without the classes of which it had no share."""
    if result.control:
        return result
    mine = {row.fault_class for row in rows if row.trial_id.startswith(result.id + "/")}

    def has_share(item: ClassResult) -> bool:
        unit = home_of(item.fault_class)
        here = unit is not None and ctx.split.homes.get((result.id, unit)) == ctx.split.shard.number
        return here or item.fault_class in mine or item.cut > 0

    return msgspec.structs.replace(result, classes=tuple(item for item in result.classes if has_share(item)))


def _as_measured(result: CaseResult, phases: _Phases) -> CaseResult:
    """Return the result with *inconclusive* for *held* where not all was seen, or its own check cannot judge."""
    checked = {item.case.id for item in phases.measured if item.case.subject.check}
    untrusted = phases.unchecked.untrusted.get(result.id, "")
    left_out = {
        "kill": phases.unchecked.unseen.get(result.id, ""),
        "damage": phases.undamaged.get(result.id, ""),
        "power": phases.unshown.get(result.id, ""),
        "concurrency": phases.unordered.get(result.id, ""),
    }
    classes = []
    for item in result.classes:
        if item.profile and result.id in checked:
            coverage = checked_of(phases.explored, result.id, item.profile, item.distinct)
            item = msgspec.structs.replace(item, coverage=coverage)  # noqa: PLW2901
        reason = untrusted or left_out.get(item.fault_class, "")
        if untrusted:  # what it said of runs and states is no measurement
            item = msgspec.structs.replace(item, states=0, distinct=0, runs=0, bad=0)  # noqa: PLW2901
        if reason and item.verdict in ("held", "inconclusive"):
            item = msgspec.structs.replace(item, verdict="inconclusive", reason=reason)  # noqa: PLW2901
        classes.append(item)
    return msgspec.structs.replace(result, classes=tuple(classes))
