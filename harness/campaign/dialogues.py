"""The phase of dialogues: a client of the Messages API is started, ended and resumed, again and again.

Each dialogue is a real one, with its own draw of the moments, and has a row; the first of each case is undisturbed:
what it violates needs no fault. A finding is proven by the dialogues that show it: a case goes on with the next draw,
so what was seen once is looked for in all the others, and ``3 of 15`` is the rate and the proof.

Non-goals: exploring states of a client's files (a target that is recorded has that).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from harness.campaign.context import Case, Context, case_id
from harness.campaign.dialoguing import DialogueOrder, carry_out, time_limit_s
from harness.campaign.executor import Call, Outcome
from harness.campaign.observe import Observation
from harness.campaign.streams import stream
from harness.campaign.token import ReplayRecord, TokenError, encode
from harness.campaign.trials import harness_failure
from harness.checks.dialogue import DIALOGUE_ROWS, judge_dialogue, unanswered_life
from harness.checks.dialogue_disk import wrong_on_disk
from harness.checks.dialogue_index import ROW as INDEX_ROW
from harness.checks.dialogue_index import wrong_in_index
from harness.core.dialogue import DialogueSeen, quiet, undisturbed
from harness.core.fault import FaultClass, FaultPlan
from harness.core.verdict import DIALOGUE, Confirmation, Finding, TrialRow, Verdict, Violation

_SPARE_S = 30.0


def dialogue_phase(ctx: Context, cases: Iterable[Case]) -> dict[str, dict[FaultClass, Mapping[str, str]]]:
    """Hold the dialogues of all cases, and return what no row says anything about, by case id and class."""
    cases = [case for case in cases if case.dialogue is not None]
    if not cases:
        return {}
    ctx.ledger.begin_phase()
    for case in cases:
        ctx.phase("dialogues", case, case.dialogues)
    silent: dict[str, dict[str, str]] = {case.id: {} for case in cases}
    said: dict[str, set[str]] = {case.id: set() for case in cases}
    isolated: list[DialogueSeen] = []
    for outcome in ctx.executor.run(_calls(ctx, cases)):
        number, index = outcome.key
        case = cases[number]
        if outcome.error is None and case.subject.spec.isolation is not None:
            isolated.append(outcome.value)
        for name, reason in _keep(ctx, case, outcome, number, index).items():
            if reason:
                silent[case.id].setdefault(name, reason)
            else:
                said[case.id].add(name)
    for case in cases:
        _tell(ctx, case)
    if isolated:
        ctx.notice(_kept_inside(isolated))
    _prove(ctx, cases)
    return {
        case.id: {case.faults[0]: {row: why for row, why in silent[case.id].items() if row not in said[case.id]}}
        for case in cases
    }


def order_of(seed: int, case: Case, index: int) -> DialogueOrder:
    """Return the ``index``-th dialogue of a case; 0 is the undisturbed one."""
    assert case.dialogue is not None
    # Not by version: what happens at one moment is compared between versions, and replayed on another.
    drawn = stream(seed, "dialogues", f"{case.subject.target}/{case.subject.variant}", index).getrandbits(48)
    lives, script = case.dialogue.lives, msgspec.structs.replace(case.dialogue.script, seed=drawn)
    if not index:
        lives, script = undisturbed(lives), quiet(script)
    return msgspec.structs.replace(case.dialogue, lives=lives, script=script, seed=drawn)


def _trial_id(case: Case, index: int) -> str:
    return f"{case.id}/dialogue/{index}" if index else f"{case.id}/null"


def _calls(ctx: Context, cases: list[Case]) -> Iterator[Call]:
    """Yield the dialogues that have no row yet, those of all cases in turn, until the budget is used up."""
    for index in range(max(case.dialogues for case in cases) + 1):
        for number, case in enumerate(cases):
            trial_id = _trial_id(case, index)
            if index > case.dialogues or not ctx.split.takes(case, trial_id):
                continue
            row = ctx.done.get(trial_id)
            if row is not None:
                ctx.ledger.restore(row, _place(case, number, index))
                ctx.record(row)
            elif index and ctx.expired():
                ctx.leave_out(case, case.faults[0])
            else:
                order = order_of(ctx.seed, case, index)
                yield Call(
                    carry_out,
                    (order, ctx.executor.canonical_base),
                    (number, index),
                    time_limit_s(order) + _SPARE_S,
                )


def _place(case: Case, number: int, index: int) -> int:
    return number * (case.dialogues + 1) + index


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What one dialogue says: its verdict, why it has none, what it violates."""

    verdict: Verdict
    note: str = ""
    violations: tuple[Violation, ...] = ()
    not_measured: Mapping[str, str] = {}


def judge(case_rows: frozenset[str], order: DialogueOrder, seen: DialogueSeen) -> Said:
    """Return what a dialogue says of the rows of its case. One that was not carried out whole says nothing."""
    why = unanswered_life(seen)
    if why:
        return Said(verdict="inconclusive", note=why)
    rows = [name for name in DIALOGUE_ROWS if name in case_rows]
    judged = judge_dialogue(seen, order.script, rows)
    not_measured = dict(judged.not_measured)
    violations = judged.violations + wrong_on_disk(seen.lives[-1], case_rows)
    if INDEX_ROW in case_rows:
        in_index, why = wrong_in_index(seen)
        violations += in_index
        not_measured |= {INDEX_ROW: why} if why else {}
    if not_measured.keys() == case_rows:
        return Said(verdict="inconclusive", note=next(iter(not_measured.values())), not_measured=not_measured)
    return Said(verdict="violated" if violations else "held", violations=violations, not_measured=not_measured)


def _keep(ctx: Context, case: Case, outcome: Outcome, number: int, index: int) -> dict[str, str]:
    """Keep the row of one dialogue; return the rows it says something of, those that it does not with the reason."""
    trial_id = _trial_id(case, index)
    fault_class: FaultClass = case.faults[0] if index else "none"
    failure = harness_failure(outcome)
    if failure:
        row = case.row("dialogue", trial_id, "broken", fault_class)
        ctx.record(msgspec.structs.replace(row, note=f"the harness failed: {failure}"))
        return {}
    seen: DialogueSeen = outcome.value
    said = judge(case.invariants, order_of(ctx.seed, case, index), seen)
    observations = [
        Observation(violation=each, fault_class=fault_class, runs=1, tree=seen.lives[-1].tree, dialogue=True)
        for each in said.violations
    ]
    names = ctx.ledger.observe(case, observations, trial_id, _place(case, number, index))
    ctx.ledger.save(names)
    ctx.record(_row(case, trial_id, fault_class, said, seen, names))
    rows = dict.fromkeys(case.invariants, "")
    return {} if said.verdict == "inconclusive" else {**rows, **said.not_measured}


def _row(
    case: Case, trial_id: str, fault_class: FaultClass, said: Said, seen: DialogueSeen, names: tuple[str, ...]
) -> TrialRow:
    struck = [client for life in seen.lives for client in life.clients if client.struck]
    died = [f"signal {client.signal}" if client.signal else f"exit {client.exit_code}" for client in struck]
    return msgspec.structs.replace(
        case.row("dialogue" if fault_class != "none" else "null", trial_id, said.verdict, fault_class),
        findings=names,
        delivered=", ".join(life.order.exit for life in seen.lives if any(each.struck for each in life.clients)),
        died_by=", ".join(died),
        engine="dialogue",
        wall_ms=seen.wall_ms,
        cpu_ms=seen.cpu_ms,
        note=said.note or _beyond(seen),
    )


def _beyond(seen: DialogueSeen) -> str:
    """Return what a dialogue tried to reach outside of its network, in words; what did leave it must be nothing."""
    if seen.packets_elsewhere:
        return f"{seen.packets_elsewhere} packets left its network"
    return f"{seen.no_route} attempts to leave its network found no route" if seen.no_route else ""


def _kept_inside(seen: list[DialogueSeen]) -> str:
    """Return what was counted of dialogues in full isolation: what left their networks, and what tried to."""
    left, tried = sum(each.packets_elsewhere for each in seen), sum(each.no_route for each in seen)
    return (
        f"{len(seen)} isolated dialogues: {left} packets left their networks, {tried} attempts found no route; "
        f"{sum(each.left_processes for each in seen)} processes outlived their client and were ended with it"
    )


def _rows(ctx: Context, case: Case) -> list[TrialRow]:
    return [row for name, row in ctx.done.items() if name.startswith(f"{case.id}/dialogue/")]


def _tell(ctx: Context, case: Case) -> None:
    """Say of a case what its trials cannot: why some of them say nothing."""
    reasons: dict[str, int] = {}
    for row in _rows(ctx, case):
        if row.verdict == "inconclusive":
            reasons[row.note] = reasons.get(row.note, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:3]:
        ctx.notice(f"{count} of {case.dialogues} dialogues say nothing: {reason}", case)


def _prove(ctx: Context, cases: Iterable[Case]) -> None:
    """Give every finding its proof: the dialogues that show it, of those that were carried out."""
    by_id = {case.id: case for case in cases}
    for finding in ctx.ledger:
        case = by_id.get(case_id(finding))
        if case is None or finding.operation != DIALOGUE:
            continue
        rows = [row for row in _rows(ctx, case) if row.verdict in ("held", "violated")]
        null = ctx.done.get(f"{case.id}/null")
        rows += [null] if finding.fault_class == "none" and null is not None else []
        proof = Confirmation(
            attempts=len(rows),
            confirmed=sum(finding.key in row.findings for row in rows),
            method="dialogues with the real program, each with moments of its own",
        )
        ctx.ledger.replace(
            msgspec.structs.replace(finding, confirmation=proof, token=token_of(ctx, case, finding))
        )
        ctx.ledger.write(finding.key)


def token_of(ctx: Context, case: Case, finding: Finding, plan: FaultPlan | None = None) -> str:
    """Return what replays a finding: the scenario, and which of its dialogues showed it, or where it is struck."""
    number = "1" if plan is not None else str(finding.evidence.get("trial", "")).rpartition("/")[2]
    record = ReplayRecord(
        target=case.subject.target,
        variant=case.subject.variant,
        version=case.subject.version,
        kind="dialogue",
        scenario=case.part,
        workload={"dialogue": int(number) if number.isdecimal() else 0},
        seed=ctx.seed,
        plan=plan or FaultPlan(),
        fault_class=finding.fault_class,
        fingerprint=finding.fingerprint,
        invariant=finding.invariant,
        role=finding.role,
        damage=finding.damage,
    )
    try:
        return encode(record)
    except TokenError as error:
        ctx.notice(f"no token for finding {finding.fingerprint}: {error}", case)
        return ""
