"""Replay of a dialogue: the same prompts, the same draw of the moments, held again with the client that is here.

REPRODUCED needs a dialogue that shows the same row violated. Where the client ended at a moment, no number of dialogues
without a violation shows that it is fixed: the answer is CHANGED, with the rate that is excluded. Where every life
ended by itself nothing is left to chance, and it is FIXED.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from harness.campaign.context import Case
from harness.campaign.cutting import recording_order
from harness.campaign.dialogue_case import dialogue_case, why_silent
from harness.campaign.dialogue_trials import Said, holding, judge, order_of
from harness.campaign.executor import Executor
from harness.campaign.token import ReplayRecord, TokenError
from harness.catalog import ManifestError, NotAvailableError, Subject, find_scenario
from harness.core.proportion import spell_rate


def case_of(record: ReplayRecord, subject: Subject) -> Case:
    """Return the case that a token of a dialogue names.

    Raises :class:`TokenError` where its scenario has none, :class:`NotAvailableError` where it cannot be held here.
    """
    try:
        part = find_scenario(record.scenario)
    except ManifestError as error:
        raise TokenError(
            f"the token is of a dialogue of the scenario {record.scenario!r}: replay it where {record.scenario}.toml "
            f"is ({error})"
        ) from None
    if not part.dialogue:
        raise TokenError(f"the token is of a dialogue, and the scenario {record.scenario!r} holds none")
    if reason := why_silent(part, subject):
        raise NotAvailableError(f"{subject.label}: not available: {reason}")
    return dialogue_case(part, subject, (), frozenset({record.invariant}))


def number_of(record: ReplayRecord) -> int:
    """Return which dialogue of its scenario a token names. Raises :class:`TokenError`."""
    number = record.workload.get("dialogue")
    if not isinstance(number, int) or not 0 <= number <= 1_000_000:
        raise TokenError("the token names no dialogue of its scenario")
    return number


def hold_again(executor: Executor, case: Case, record: ReplayRecord, times: int) -> list[Said]:
    """Hold the dialogue of a token so often, and return what each says."""
    order = order_of(record.seed, case, number_of(record))
    if record.plan.faults:
        order = recording_order(order, record.plan)
    calls = [holding(order, executor, index) for index in range(times)]
    return [judge(case.invariants, order, outcome.result()) for outcome in executor.run(calls)]


class Answered(NamedTuple):
    """The answer, how many dialogues were whole, how many showed it, and the sentence."""

    answer: Literal["REPRODUCED", "FIXED", "CHANGED"]
    whole: int
    shown: int
    text: str


def answer_of(record: ReplayRecord, case: Case, said: list[Said]) -> Answered:
    """Return what dialogues that were held again say of a token."""
    times = len(said)
    whole = [each for each in said if each.verdict in ("held", "violated")]
    shown = sum(any(item.invariant == record.invariant for item in each.violations) for each in whole)
    if shown:
        return Answered("REPRODUCED", len(whole), shown, f"REPRODUCED {shown}/{times}")
    if len(whole) < times:
        why = next(each.note for each in said if each.verdict not in ("held", "violated"))
        return Answered("CHANGED", len(whole), 0, f"CHANGED: {len(whole)} of {times} dialogues were whole; {why}")
    assert case.dialogue is not None
    silent = [each.not_measured[record.invariant] for each in whole if record.invariant in each.not_measured]
    if silent:
        return Answered("CHANGED", len(whole), 0, f"CHANGED: {record.invariant} was not measured: {silent[0]}")
    if record.plan.faults:
        text = (
            f"CHANGED: {spell_rate(0, times)}, struck there every time; what it does up to there differs by chance"
        )
        return Answered("CHANGED", times, 0, text)
    alone = all(
        life.exit == "graceful" and len(life.prompt) == 1 and not life.then for life in case.dialogue.lives
    )
    if alone and not any(turn.fault for turn in case.dialogue.script.turn):
        return Answered("FIXED", times, 0, f"FIXED 0/{times}, every dialogue held to its end")
    text = f"CHANGED: {spell_rate(0, times)}; a client that ends at some moment cannot show that it is fixed"
    return Answered("CHANGED", times, 0, text)
