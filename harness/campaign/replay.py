"""Replay: from a token to REPRODUCED, FIXED or CHANGED, and from a finding to its token.

The target is recorded anew, so the judgement belongs to the version that is here.

REPRODUCED needs a run that shows the same invariant violated on the same path role, or such a violation at another
point. FIXED needs the invariant measured at all, and the crash point reached every time without it, or the point gone
from a fresh, verified recording and no such violation in *all* of its crash states (for a failing call: in runs of
all its error plans). A timed kill has no point that could be reached or gone: without a violation it stays CHANGED,
with the rate that is excluded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from harness.campaign.context import Case, Context, Measured, case_id
from harness.campaign.crossing import explore_order, judged_in_order, measured_in, order_problem
from harness.campaign.dialogue_replay import answer_of, case_of, hold_again
from harness.campaign.elsewhere import look_elsewhere, not_measured_here
from harness.campaign.executor import Call, Executor
from harness.campaign.lives import of_life
from harness.campaign.observe import finding_plan
from harness.campaign.power_replay import profile_for, replay_power, with_loss
from harness.campaign.programs import Examined, run_and_examine
from harness.campaign.proof import confirms, engine_for, programs_for
from harness.campaign.record import STATE_CLASSES, explore_request, null_problem, prepare_cases
from harness.campaign.timed import measure_window, moments
from harness.campaign.token import ReplayRecord, TokenError, encode
from harness.campaign.trials import point_of, schedule_problem, struck
from harness.campaign.work import record_and_explore, run_once
from harness.catalog import NotAvailableError, Subject, Workload, compile_subject, find_variant, load_target
from harness.catalog.published import at_version, named_variant
from harness.catalog.workload import problem
from harness.checks import INVARIANTS
from harness.core.dialogue import without_dialogue
from harness.core.fault import FaultClass, FaultPlan, Timed
from harness.core.profile import Profile
from harness.core.proportion import spell_rate
from harness.core.schedule import Prefix, Schedule
from harness.core.verdict import DIALOGUE, Finding
from harness.sandbox.workspace import Workspace

Answer = Literal["REPRODUCED", "FIXED", "CHANGED"]


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying a token showed: ``reproduced`` of ``times`` runs, the fault delivered in ``reached`` of them."""

    answer: Answer
    times: int
    reached: int
    reproduced: int
    text: str
    finding: Finding


def record_of(case: Case, finding: Finding, digest: str = "") -> ReplayRecord:
    """Return what a token must name to replay ``finding``."""
    subject = case.subject
    return ReplayRecord(
        target=subject.target,
        variant=subject.variant,
        version=subject.version,
        kind="probe" if digest else "target",
        workload={} if digest else msgspec.to_builtins(subject.workload),
        seed=subject.seed,
        plan=finding_plan(finding) or FaultPlan(),
        fault_class=finding.fault_class,
        fingerprint=finding.fingerprint,
        invariant=finding.invariant,
        role=finding.role,
        damage=finding.damage,
        digest=digest,
    )


def add_tokens(ctx: Context, cases: Iterable[Measured], digest: str = "") -> None:
    """Give every finding of the campaign its token."""
    by_id = {item.case.id: item for item in cases}
    for finding in ctx.ledger:
        measured = by_id.get(case_id(finding))
        if measured is None or of_life(finding):
            continue
        try:
            # A control is no part of a probe: its token names the reference target.
            token = encode(record_of(measured.case, finding, "" if measured.case.control else digest))
        except TokenError as error:
            ctx.notice(f"no token for finding {finding.fingerprint}: {error}", measured.case)
            continue
        ctx.ledger.replace(msgspec.structs.replace(finding, token=token))


def subject_of(record: ReplayRecord, workspace: Workspace, version: str = "") -> Subject:
    """Return the target that a token names, at ``version`` of its package if one is given.

    Raises :class:`ManifestError` or :class:`NotAvailableError`.
    """
    target = load_target(record.target)
    of_dialogue = record.kind == "dialogue"
    name = without_dialogue(record.variant) if of_dialogue else record.variant
    if version or of_dialogue:
        variant = named_variant(target, name, record.version)
        if version := version or record.version:
            variant = at_version(target, variant, version)
    else:
        variant = find_variant(target, f"{name}@{record.version}" if record.version else name)
    try:
        workload = Workload() if of_dialogue else msgspec.convert(record.workload, Workload)
    except msgspec.ValidationError as error:
        raise TokenError(f"the token's workload is not one of this version: {error}") from None
    if wrong := problem(workload):
        raise TokenError(f"the token's workload is none that can be made: {wrong}")
    subject = compile_subject(target, variant, workspace, workload, record.seed)
    if subject.not_available:
        raise NotAvailableError(f"{subject.label}: not available: {subject.not_available}")
    return subject


def finding_of(record: ReplayRecord) -> Finding:
    """Return the finding that a token asks for."""
    point = point_of(record.plan)
    finding = Finding(
        fingerprint=record.fingerprint,
        target=record.target,
        variant=record.variant,
        version=record.version,
        invariant=record.invariant,
        fault_class=record.fault_class,
        operation=point.operation if point else DIALOGUE if record.kind == "dialogue" else "",
        role=record.role,
        phase=point.phase if point else "",
        damage=record.damage,  # type: ignore[arg-type]
        message="",
        crash_point=point,
        fault=msgspec.to_builtins(record.plan),
    )
    return with_loss(finding, record.plan)


def record_anew(executor: Executor, subject: Subject, fault_class: FaultClass, engine: str) -> Measured:
    """Return the target as it is here, recorded and explored for what a token of this class needs."""
    classes: tuple[FaultClass, ...] = (fault_class,) if fault_class != "none" else ()
    case = Case(subject=subject, faults=classes, invariants=frozenset(INVARIANTS), sample_max=1, check_max=0)
    (case,) = prepare_cases(executor, [case])
    request = explore_request(case)
    (outcome,) = executor.run([Call(record_and_explore, (engine, case.subject.spec, request))])
    return Measured(case, outcome.result())


def replay(
    executor: Executor,
    subject: Subject,
    record: ReplayRecord,
    times: int,
    engine: str = "ptrace",
    profile: Profile | None = None,
) -> Replay:
    """Replay a token ``times`` times against ``subject``; that of a power loss once.

    ``profile``: of a user's own, whose token only names it. Raises :class:`ManifestError` where it is not the token's.
    """
    finding, profile = finding_of(record), profile_for(record.plan, profile)
    if record.kind == "dialogue":
        case = case_of(record, subject)
        found = answer_of(record, case, hold_again(executor, case, record, times))
        return _answer(found.answer, finding, times, found.whole, found.shown, found.text)
    measured = record_anew(executor, subject, record.fault_class, engine)
    problem = null_problem(measured.explored.recording)
    if problem is not None:
        return _answer("CHANGED", finding, times, 0, 0, f"CHANGED: {problem[1]}")
    if profile is not None:
        power = replay_power(executor, measured, finding, record.plan, profile, engine)
        answer: Answer = "REPRODUCED" if power.reproduced else ("FIXED" if power.fixed else "CHANGED")
        return _answer(answer, finding, 1, 1, int(power.reproduced), power.text)
    ordered = in_order(executor, measured, record.plan, engine)
    if isinstance(ordered, str):
        return _answer("CHANGED", finding, times, 0, 0, f"CHANGED: the order was not followed: {ordered}")
    measured = ordered
    plans = _plans(executor, measured, record, times)
    programs = programs_for(measured, [finding], proof=False)
    how = engine_for(record.plan, engine)
    calls = [
        Call(run_and_examine, (how, measured.case.subject.spec, plan, programs), index)
        for index, plan in enumerate(plans)
    ]
    reached = reproduced = 0
    why = ""
    for run in executor.run(calls):
        examined: Examined = run.result()
        plan = plans[run.key]
        reached += struck(examined.recording, plan)
        why = why or schedule_problem(examined.recording)
        reproduced += confirms(measured, examined, plan, finding) is not None
    if reproduced:
        return _answer("REPRODUCED", finding, times, reached, reproduced, f"REPRODUCED {reproduced}/{times}")
    if record.plan.schedule is not None and reached < times:
        text = f"CHANGED: the order was followed in {reached} of {times} runs; {why or 'the run ended before'}"
        return _answer("CHANGED", finding, times, reached, 0, text)
    return _decide(executor, measured, finding, times, reached, engine)


def in_order(executor: Executor, measured: Measured, plan: FaultPlan, engine: str) -> Measured | str:
    """Return what judges runs under ``plan``: of a fault within an order, a run in that order; or why there is none."""
    if not plan.faults or plan.schedule is None:
        return measured
    spec, judged = measured.case.subject.spec, judged_in_order(measured)
    order = plan.schedule
    if isinstance(order, Schedule):  # it may end where the fault strikes
        order = Prefix(begin=order)
    (run,) = executor.run([Call(run_once, (engine, spec, FaultPlan(schedule=order)))])
    recording = run.result()
    if problem := order_problem(recording):
        return problem
    classes = tuple(name for name in STATE_CLASSES if name == plan.fault_class)
    (explored,) = executor.run([Call(explore_order, (recording, judged, classes), needs_workspace=False)])
    return measured_in(measured, explored.result())


def _is_timed(plan: FaultPlan) -> bool:
    return any(isinstance(fault, Timed) for fault in plan.faults)


def _plans(executor: Executor, measured: Measured, record: ReplayRecord, times: int) -> list[FaultPlan]:
    """Return the plan of each run: the token's own, or, for a timed kill, fresh moments of its window."""
    if not _is_timed(record.plan):
        return [record.plan] * times
    window = measure_window(executor, measured)
    (fault, *_) = (fault for fault in record.plan.faults if isinstance(fault, Timed))
    return [
        FaultPlan(faults=(msgspec.structs.replace(fault, delay_us=moment),))
        for moment in moments(record.seed, measured.case, window, times)
    ]


def _decide(
    executor: Executor, measured: Measured, finding: Finding, times: int, reached: int, engine: str
) -> Replay:
    """Answer for a finding that no run showed again."""
    elsewhere = look_elsewhere(executor, measured, finding, engine, reached == times)
    if elsewhere.violated_at:
        text = f"REPRODUCED at another point: {elsewhere.violated_at}"
        return _answer("REPRODUCED", finding, times, reached, 0, text)
    if chance := chance_of(finding):
        text = f"CHANGED: {spell_rate(0, reached)}; {chance} cannot show that it is fixed"
        return _answer("CHANGED", finding, times, reached, 0, text)
    exact = _is_scheduled(finding)
    unmeasured = not_measured_here(measured, finding)
    if unmeasured:
        return _answer("CHANGED", finding, times, reached, 0, f"CHANGED: no run shows it, but {unmeasured}")
    if reached == times:
        what = "order of operations was followed" if exact else "crash point was reached"
        text = f"FIXED 0/{times}, the {what} every time"
        if finding.fault_class in ("none", "damage"):
            how = "run without a fault" if finding.fault_class == "none" else "started on the damaged file"
            text = f"FIXED 0/{times}, {how}"
        return _answer("FIXED", finding, times, reached, 0, text)
    point = finding.crash_point
    if reached == 0 and point is not None and not measured.has_point(point):
        if elsewhere.complete:
            text = f"FIXED: crash point gone; {elsewhere.looked_at}, none violates {finding.invariant}"
            return _answer("FIXED", finding, times, reached, 0, text)
        text = f"CHANGED: crash point gone, and not all else was judged: {elsewhere.reason}"
        return _answer("CHANGED", finding, times, reached, 0, text)
    text = f"CHANGED: the fault struck in {reached} of {times} runs"
    return _answer("CHANGED", finding, times, reached, 0, text)


def _is_scheduled(finding: Finding) -> bool:
    plan = finding_plan(finding)
    return plan is not None and plan.schedule is not None


def chance_of(finding: Finding) -> str:
    """Return what a run that does not show the finding is, where that decides nothing; else an empty string."""
    if finding.operation == DIALOGUE:
        return "a client that ends at some moment"
    exact = finding.crash_point is not None or finding.fault_class in ("none", "damage", "power")
    if exact or _is_scheduled(finding):
        return ""
    if finding.fault_class == "concurrency":
        return "a run in which nothing met"
    return f"a {'signal' if finding.fault_class == 'signal' else 'kill'} at a random moment"


def _answer(answer: Answer, finding: Finding, times: int, reached: int, reproduced: int, text: str) -> Replay:
    return Replay(answer=answer, times=times, reached=reached, reproduced=reproduced, text=text, finding=finding)
