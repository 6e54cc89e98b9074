"""The phase of dialogues: a client of the Messages API is started, ended and resumed, again and again.

Each dialogue is a real one, with its own draw of the moments, and has a row; the first of each case is undisturbed:
what it violates needs no fault. A finding is proven by the dialogues that show it: a case goes on with the next draw,
so what was seen once is looked for in all the others, and ``3 of 15`` is the rate and the proof.

Non-goals: exploring states of a client's files (a target that is recorded has that).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from harness.campaign.context import Case, Context, case_id
from harness.campaign.dialogue_trials import (
    Said,
    holding,
    judge,
    keep_broken,
    keep_said,
    order_of,
    restored,
    token_of,
)
from harness.campaign.executor import Call, Outcome
from harness.campaign.trials import harness_failure
from harness.core.dialogue import DialogueSeen
from harness.core.fault import FaultClass
from harness.core.verdict import DIALOGUE, Confirmation, TrialRow

_EARLY = "the client had not started the tool that was due"
_BEFORE = " (those before the interruption are not among them: a row says of its own what left)"


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
    early: Counter[str] = Counter()
    for outcome in ctx.executor.run(_calls(ctx, cases)):
        number, index = outcome.key
        case = cases[number]
        if outcome.error is None:
            isolated += [outcome.value] if case.subject.spec.isolation is not None else []
            early[case.id] += any(life.early for life in outcome.value.lives)
        for name, reason in _keep(ctx, case, outcome, number, index).items():
            if reason:
                silent[case.id].setdefault(name, reason)
            else:
                said[case.id].add(name)
    for case in cases:
        _tell(ctx, case)
        if early[case.id]:
            ctx.notice(f"{early[case.id]} dialogues in another order than drawn: {_EARLY}", case)
    if isolated:
        before = sum(len(_rows(ctx, case)) for case in cases if case.subject.spec.isolation) - len(isolated)
        ctx.notice(_kept_inside(isolated) + (_BEFORE if before > 0 else ""))
    _prove(ctx, cases)
    return {
        case.id: {case.faults[0]: {row: why for row, why in silent[case.id].items() if row not in said[case.id]}}
        for case in cases
    }


def _trial_id(case: Case, index: int) -> str:
    return f"{case.id}/dialogue/{index}" if index else f"{case.id}/null"


def _calls(ctx: Context, cases: list[Case]) -> Iterator[Call]:
    """Yield the dialogues that have no row yet, those of all cases in turn, until the budget is used up."""
    for index in range(max(case.dialogues for case in cases) + 1):
        for number, case in enumerate(cases):
            trial_id = _trial_id(case, index)
            if index > case.dialogues or not ctx.split.takes(case, trial_id):
                continue
            if restored(ctx, trial_id, _place(case, number, index)):
                continue
            if index and ctx.expired():
                ctx.leave_out(case, case.faults[0])
            else:
                yield holding(order_of(ctx.seed, case, index), ctx.executor, (number, index))


def _place(case: Case, number: int, index: int) -> int:
    return number * (case.dialogues + 1) + index


def _keep(ctx: Context, case: Case, outcome: Outcome, number: int, index: int) -> dict[str, str]:
    """Keep the row of one dialogue; return the rows it says something of, those that it does not with the reason."""
    trial_id = _trial_id(case, index)
    fault_class: FaultClass = case.faults[0] if index else "none"
    failure = harness_failure(outcome)
    if failure:
        keep_broken(ctx, case, trial_id, fault_class, failure)
        return {}
    seen: DialogueSeen = outcome.value
    said = judge(case.invariants, order_of(ctx.seed, case, index), seen)
    if index:  # the undisturbed one has nothing of what some rows ask about
        said = of_every_row(said)
    struck = [client for life in seen.lives for client in life.clients if client.struck]
    died = [f"signal {client.signal}" if client.signal else f"exit {client.exit_code}" for client in struck]
    row = msgspec.structs.replace(
        case.row("dialogue" if index else "null", trial_id, said.verdict, fault_class),
        delivered=", ".join(life.order.exit for life in seen.lives if any(each.struck for each in life.clients)),
        died_by=", ".join(died),
        note=said.note or _beyond(seen),
    )
    keep_said(ctx, case, row, seen, said, _place(case, number, index), runs=1)
    rows = dict.fromkeys(case.invariants, "")
    return {} if said.verdict == "inconclusive" else {**rows, **said.not_measured}


def of_every_row(said: Said) -> Said:
    """Return what a dialogue says, as long as it says it of every row: what was not asked cannot have been held."""
    if said.verdict != "held" or not said.not_measured:
        return said
    row, why = next(iter(sorted(said.not_measured.items())))
    return msgspec.structs.replace(said, verdict="inconclusive", note=f"{row}: {why}")


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
