"""Record once and cut: the phase of clients whose first life is recorded and resumed from wherever a crash leaves it.

One recording gives every state that a kill, or a write short of its last byte, can leave of the transcripts. Each
different one that the budget allows is resumed by the real client; what the killed life owes is known for that moment:
what stood whole on disk, what its tools had done, what it had printed. A row is one state; a finding names the moment,
is proven by really killing the client there, and its token does that again.

Non-goals: moments of chance (:mod:`harness.campaign.dialogues`), lives of several instances.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from harness.campaign.context import Case, Context, case_id
from harness.campaign.dialogue_trials import (
    SPARE_S,
    Said,
    holding,
    judge,
    keep_broken,
    keep_said,
    order_of,
    restored,
    token_of,
)
from harness.campaign.dialoguing import DialogueOrder, Resumed, record_life, resume_each, time_limit_s
from harness.campaign.executor import Call, Outcome
from harness.campaign.left_on_disk import explore_recordings
from harness.campaign.observe import finding_plan
from harness.campaign.trials import harness_failure, point_of
from harness.checks.dialogue import DIALOGUE_ROWS
from harness.checks.dialogue_disk import what_matters
from harness.core.api_script import ApiScript, Turn
from harness.core.dialogue import DialogueSeen
from harness.core.fault import CrashPoint, Errno, FaultClass, FaultPlan
from harness.core.recorded_life import RecordedLife
from harness.core.trace import Trace
from harness.core.verdict import Confirmation
from harness.explore import errno_plans
from harness.explore.cutting import Cut, cuts_of, thinned

_MOST_CUTS = 5_000
"""So many cuts of one case come before its failing calls, in the order of the plan."""
_BATCH = 4
"""States that are resumed in one cell: what a cell and its API cost is shared, and two workers stay busy."""
SETTINGS = ".claude.json"
_METHOD = "the real client, really struck there, and resumed"
Silent = dict[str, dict[FaultClass, Mapping[str, str]]]


class Cutting(NamedTuple):
    """One client's life, whole, and the cuts of it that are resumed."""

    recorded: RecordedLife
    cuts: tuple[Cut, ...]


def cutting_phase(ctx: Context, cases: Iterable[Case]) -> Silent:
    """Record, cut, resume and judge; return what no row says anything about, by case id and class."""
    cases = [case for case in cases if case.dialogue is not None and case.cuts and ctx.split.has(case, "states")]
    if not cases:
        return {}
    ctx.ledger.begin_phase()
    for case in cases:
        ctx.phase("cuts", case, case.cuts)
    calls = []
    for number, case in enumerate(cases):
        order = recording_order(order_of(ctx.seed, case, 1))
        calls.append(
            Call(record_life, (order, ctx.executor.canonical_base), number, time_limit_s(order) + SPARE_S)
        )
    made: dict[int, Cutting] = {}
    for outcome in ctx.executor.run(calls):
        cutting = _cut(ctx, cases[outcome.key], outcome)
        if cutting is not None:
            made[outcome.key] = cutting
    silent = _resume(ctx, cases, made)
    _fail_calls(ctx, cases, made)
    _prove(ctx, {case.id: case for case in cases})
    explore_recordings(ctx, [(cases[number], cutting.recorded.recording) for number, cutting in made.items()])
    return silent


def recording_order(order: DialogueOrder, plan: FaultPlan | None = None) -> DialogueOrder:
    """Return the order whose first life is watched: undisturbed, or struck where the fault of ``plan`` is.

    A call that fails kills nobody: that life ends by itself.
    """
    first = order.lives[0]
    where = str(getattr(plan.faults[0], "at", "")) if plan is not None and plan.faults else ""
    killed = bool(where) and plan is not None and plan.fault_class != "errno"
    first = msgspec.structs.replace(
        first, exit="sigkill" if killed else "graceful", when=where if killed else "", after_ms=(0, 0), cut=""
    )
    later = order.lives[1:] if plan is not None and plan.fault_class == "short" else order.lives[1:2]
    lives = (first, *later) if where else (first,)
    return msgspec.structs.replace(order, lives=lives, plan=plan or FaultPlan(), script=_closing(order))


def _closing(order: DialogueOrder) -> ApiScript:
    """Return the script in which a resume gets a closing reply, and no turn that its killed life had not got to."""
    script = order.script
    later = (prompt for life in order.lives[1:] for prompt in life.prompt)
    closing = (Turn(prompt=prompt, text=script.api.closing) for prompt in later)
    return msgspec.structs.replace(script, turn=(*script.turn, *closing))


def chosen(cuts: list[Cut], most: int) -> tuple[Cut, ...]:
    """Return at most ``most`` cuts: two thirds of a kill, where there are so many, the rest of short writes."""
    killed = [cut for cut in cuts if cut.fault_class == "kill"]
    short = [cut for cut in cuts if cut.fault_class != "kill"]
    for_short = min(len(short), max(most // 3, most - len(killed)))
    return (*thinned(killed, most - for_short), *thinned(short, for_short))


def resumed(order: DialogueOrder, cut: Cut) -> Resumed:
    """Return what a cut is resumed with: one life, and after a cut newline, whose harm shows later, all of them."""
    lives = order.lives[1:]
    return Resumed(cut.last.tree, lives if cut.fault_class == "short" else lives[:1])


def judged(
    rows: frozenset[str], order: DialogueOrder, recorded: RecordedLife, cut: Cut, seen: DialogueSeen
) -> Said:
    """Return what the resume of a cut says, with what the last of its moments owes."""
    return judge(rows, order, _with_first(recorded, cut, len(cut.states) - 1, seen))


def _with_first(recorded: RecordedLife, cut: Cut, index: int, seen: DialogueSeen) -> DialogueSeen:
    state = cut.states[index]
    first = recorded.cut_at(state.tree, state.seq, state.phase, state.acked)
    return msgspec.structs.replace(seen, lives=(first, *seen.lives))


def bad_moments(
    rows: frozenset[str], order: DialogueOrder, recorded: RecordedLife, cut: Cut, seen: DialogueSeen
) -> int:
    """Return at how many of a cut's moments its resume lacks something: less is owed at the earlier ones."""
    return sum(
        judge(rows, order, _with_first(recorded, cut, index, seen)).verdict == "violated"
        for index in range(len(cut.states))
    )


def _cut(ctx: Context, case: Case, outcome: Outcome) -> Cutting | None:
    failure = harness_failure(outcome)
    problem = f"the harness failed: {failure}" if failure else outcome.value.problem
    if problem:
        for fault_class in case.faults:
            row = case.row("dialogue", f"{case.id}/cut/{fault_class}", "inconclusive", fault_class)
            ctx.record(
                msgspec.structs.replace(
                    row, note=f"life 1: {problem}", verdict="broken" if failure else "inconclusive"
                )
            )
        return None
    recorded: RecordedLife = outcome.value
    ctx.store.write_trace(case.file_name, recorded.trace)
    if case.invariants.isdisjoint(DIALOGUE_ROWS):
        return Cutting(recorded, ())
    found = [cut for cut in cuts_of(recorded.trace, what_matters) if cut.fault_class in case.faults]
    cuts = chosen(found, case.cuts)
    if not case.control:
        moments = sum(len(cut.states) for cut in found)
        ctx.notice(
            f"{moments} moments of a crash leave {len(found)} states to resume"
            + (f"; {len(cuts)} of them, evenly chosen, are resumed" if len(cuts) < len(found) else ""),
            case,
        )
    return Cutting(recorded, cuts)


def _calls(ctx: Context, cases: list[Case], made: Mapping[int, Cutting]) -> Iterator[Call]:
    for number, cutting in made.items():
        case = cases[number]
        due = []
        for index, cut in enumerate(cutting.cuts):
            if not restored(ctx, _trial_id(case, index), _place(number, index)):
                due.append((index, cut))
        order = resuming(order_of(ctx.seed, case, 1), cutting.recorded)
        for begin in range(0, len(due), _BATCH):
            batch = due[begin : begin + _BATCH]
            if ctx.expired():
                for _, cut in batch:
                    ctx.leave_out(case, cut.fault_class)
                continue
            starts = tuple(resumed(order, cut) for _, cut in batch)
            limit_s = sum(time_limit_s(msgspec.structs.replace(order, lives=each.lives)) for each in starts)
            yield Call(
                resume_each,
                (order, starts, ctx.executor.canonical_base),
                (number, tuple(index for index, _ in batch)),
                limit_s + SPARE_S,
            )


def resuming(order: DialogueOrder, recorded: RecordedLife) -> DialogueOrder:
    """Return the order in which the session that was recorded is resumed, from an API that only closes."""
    script = msgspec.structs.replace(order.script, turn=())
    return msgspec.structs.replace(order, session=recorded.seen.clients[0].session_id, script=script)


def _trial_id(case: Case, index: int) -> str:
    return f"{case.id}/cut/{index}"


def _place(number: int, index: int) -> int:
    return number * 2 * _MOST_CUTS + index


def _resume(ctx: Context, cases: list[Case], made: Mapping[int, Cutting]) -> Silent:
    silent: dict[str, dict[FaultClass, dict[str, str]]] = {case.id: {} for case in cases}
    said_of: dict[tuple[str, FaultClass], set[str]] = {}
    for outcome in ctx.executor.run(_calls(ctx, cases, made)):
        number, indices = outcome.key
        case, cutting = cases[number], made[number]
        failure = harness_failure(outcome)
        for place, index in enumerate(indices):
            cut = cutting.cuts[index]
            if failure:
                keep_broken(ctx, case, _trial_id(case, index), cut.fault_class, failure)
                continue
            said = _keep(ctx, case, cutting, number, index, outcome.value[place])
            if said.verdict == "inconclusive":
                continue
            mute = silent[case.id].setdefault(cut.fault_class, {})
            for name in case.invariants:
                if name in said.not_measured:
                    mute.setdefault(name, said.not_measured[name])
                else:
                    said_of.setdefault((case.id, cut.fault_class), set()).add(name)
    return {
        name: {
            fault_class: {row: why for row, why in mute.items() if row not in said_of.get((name, fault_class), ())}
            for fault_class, mute in classes.items()
        }
        for name, classes in silent.items()
    }


def _keep(ctx: Context, case: Case, cutting: Cutting, number: int, index: int, seen: DialogueSeen) -> Said:
    """Keep the row of one cut and what it shows."""
    order, recorded, cut = order_of(ctx.seed, case, 1), cutting.recorded, cutting.cuts[index]
    said = judged(case.invariants, order, recorded, cut, seen)
    bad = bad_moments(case.invariants, order, recorded, cut, seen) if said.violations else 0
    moments = f"{len(cut.states)} moments leave this state" + (f", {bad} of them violate" if bad else "")
    row = case.row("dialogue", _trial_id(case, index), said.verdict, cut.fault_class)
    row = msgspec.structs.replace(row, crash_point=cut.point, note=said.note or moments)
    keep_said(ctx, case, row, seen, said, _place(number, index), point=cut.point, states=1)
    return said


def failing_calls(trace: Trace, most: int) -> list[FaultPlan]:
    """Return at most so many plans in which one call fails on a file that matters: transcripts, and settings."""
    found = []
    for plan in errno_plans(trace):
        (fault,) = plan.faults if len(plan.faults) == 1 else (None,)
        if isinstance(fault, Errno) and (fault.at.role.startswith(SETTINGS) or fault.at.role.endswith(".jsonl")):
            found.append(plan)
    return thinned(found, most)


def _fail_calls(ctx: Context, cases: list[Case], made: Mapping[int, Cutting]) -> None:
    """Let calls fail in the first life, one in each, resume it, and judge: what a recording cannot tell."""
    plans: dict[tuple[int, int], FaultPlan] = {}
    calls = []
    for number, cutting in made.items():
        case = cases[number]
        if "errno" not in case.faults or case.invariants.isdisjoint(DIALOGUE_ROWS):
            continue
        for index, plan in enumerate(failing_calls(cutting.recorded.trace, max(1, case.cuts // 4))):
            if restored(ctx, _errno_id(case, index), _errno_place(number, index)):
                continue
            if ctx.expired():
                ctx.leave_out(case, "errno")
                continue
            plans[number, index] = plan
            order = recording_order(order_of(ctx.seed, case, 1), plan)
            calls.append(holding(order, ctx.executor, (number, index)))
    for outcome in ctx.executor.run(calls):
        number, index = outcome.key
        _keep_failed(ctx, cases[number], outcome, plans[number, index])


def _errno_id(case: Case, index: int) -> str:
    return f"{case.id}/cut/errno/{index}"


def _errno_place(number: int, index: int) -> int:
    return _place(number, _MOST_CUTS + index)


def _keep_failed(ctx: Context, case: Case, outcome: Outcome, plan: FaultPlan) -> None:
    number, index = outcome.key
    trial_id, failure = _errno_id(case, index), harness_failure(outcome)
    if failure:
        keep_broken(ctx, case, trial_id, "errno", failure)
        return
    seen: DialogueSeen = outcome.value
    said = judge(case.invariants, recording_order(order_of(ctx.seed, case, 1), plan), seen)
    point = point_of(plan)
    row = case.row("dialogue", trial_id, said.verdict, "errno")
    row = msgspec.structs.replace(row, crash_point=point, note=said.note)
    keep_said(ctx, case, row, seen, said, _errno_place(number, index), point=point, plan=plan, runs=1)


def _prove(ctx: Context, by_id: Mapping[str, Case]) -> None:
    """Give every finding its token, and its proof: the real client, killed at that moment, and resumed.

    Findings at one moment are proven together.
    """
    mine = (each for each in ctx.ledger if case_id(each) in by_id)
    findings = [each for each in mine if each.crash_point is not None and each.fault_class != "power"]
    shown: dict[tuple[str, CrashPoint | None, FaultClass], list[Said]] = {}
    orders: dict[tuple[str, CrashPoint | None, FaultClass], DialogueOrder] = {}
    for finding in findings:
        case = by_id[case_id(finding)]
        order = recording_order(order_of(ctx.seed, case, 1), finding_plan(finding))
        orders[case.id, finding.crash_point, finding.fault_class] = order
    calls = (
        holding(order, ctx.executor, moment)
        for moment, order in orders.items()
        for _ in range(by_id[moment[0]].confirmations)
    )
    for outcome in ctx.executor.run(calls):
        if not harness_failure(outcome):
            said = judge(by_id[outcome.key[0]].invariants, orders[outcome.key], outcome.value)
            shown.setdefault(outcome.key, []).append(said)
    for finding in findings:
        case = by_id[case_id(finding)]
        told = shown.get((case.id, finding.crash_point, finding.fault_class), [])
        whole = [said for said in told if said.verdict in ("held", "violated")]
        proof = Confirmation(
            attempts=case.confirmations,
            confirmed=sum(any(each.invariant == finding.invariant for each in said.violations) for said in whole),
            method=_METHOD,
            by_chance=True,
            evidence={"reached": len(whole)},
        )
        token = token_of(ctx, case, finding, finding_plan(finding))
        ctx.ledger.replace(msgspec.structs.replace(finding, confirmation=proof, token=token))
        ctx.ledger.write(finding.key)
