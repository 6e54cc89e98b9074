from __future__ import annotations

import copy
from typing import Any

import pytest
from conversations import Json, Tale, lines, result, tale_of, text, turns, use
from hypothesis import given
from hypothesis import strategies as st
from trees import names

from harness.checks import ApiError, Expectation, FileBinding, judge_recovery, resume_outcome, validate
from harness.core.tree import tree_of
from harness.core.verdict import Violation
from harness.explore.script import Script

CLOSED = FileBinding("p/*.jsonl", "transcript", id_key="uuid", torn_tail="healed", open_turn="closed")
PATH = "p/s0.jsonl"
ERROR = "the tool was interrupted and did not complete; its result is not known"


def run() -> Tale:
    return tale_of([(2, True), (2, True)])


def expectation() -> Expectation:
    script = Script()
    script.mkdir("p")
    fd = script.open(PATH, append=True)
    for record in run().records:
        script.write(fd, lines([record]))
        script.ack(record["uuid"])
    return Expectation.from_trace(script.trace(), (CLOSED,))


def repaired(
    before: bytes, after: bytes, fault_class: str = "kill", rows: tuple[str, ...] = ()
) -> list[Violation]:
    trees = tree_of({PATH: before}), tree_of({PATH: after})
    return list(judge_recovery(*trees, expectation(), 0, fault_class, invariants=rows or None))  # type: ignore[arg-type]


def interrupted(records: int = 12) -> Tale:
    """The first records of the run: its second turn has asked and has one of two answers."""
    tale = run()
    tale.records = tale.records[:records]
    return tale


def continued(tale: Tale, *answers: Json) -> Tale:
    """The same, with these results and one more prompt."""
    tale = copy.deepcopy(tale)
    tale.count = 100
    for answer in answers:
        tale.user(answer, parent=tale.lines_of[answer["tool_use_id"]])
    tale.user("go on")
    return tale


# -- T1 after recovery ------------------------------------------------------------------------------------------------


def test_t1_after_recovery_every_turn_is_closed() -> None:
    before = interrupted()
    closed = continued(before, result("toolu_03", ERROR, is_error=True))
    assert repaired(before.data, closed.data) == []
    left = continued(before)
    assert ("T1", "rejected") in names(repaired(before.data, left.data))
    assert ("T1", "rejected") in names(repaired(before.data, before.data))


def test_other_rows_are_judged_again() -> None:
    before = interrupted()
    doubled = continued(before, *[result("toolu_03", ERROR, is_error=True)] * 2)
    doubled.records[-2]["parentUuid"] = doubled.records[-3]["uuid"]
    assert ("T3", "rejected") in names(repaired(before.data, doubled.data, "concurrency"))
    orphan = continued(before, result("toolu_03", ERROR, is_error=True))
    orphan.records[-1]["parentUuid"] = "nobody"
    assert ("G2", "unlinked") in names(repaired(before.data, orphan.data))


# -- T9 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made_up", "wrong"),
    [
        (result("toolu_03", ERROR, is_error=True), ""),
        (result("toolu_03", [text(ERROR)], is_error=True), ""),  # type: ignore[arg-type]
        (result("toolu_03", "", is_error=True), ""),
        (result("toolu_03"), ""),  # the real one, from a journal
        (result("toolu_03", ERROR), "is not marked as an error"),
        (result("toolu_03", ERROR, is_error=False), "is not marked as an error"),
        (result("toolu_03", "ok", is_error=True), "claims success"),
        (result("toolu_03", [text("Done.")], is_error=True), "claims success"),  # type: ignore[arg-type]
    ],
)
def test_t9_a_made_up_result_is_an_error(made_up: Json, wrong: str) -> None:
    before = interrupted()
    found = repaired(before.data, continued(before, made_up).data, rows=("T9",))
    assert [v.message.endswith(wrong) and v.ids == ("toolu_03",) for v in found] == [True] * bool(wrong)


def test_t9_results_that_were_there_are_not_made_up() -> None:
    before = interrupted()
    before.records[11]["message"]["content"][0]["content"] = "as it was"
    assert repaired(before.data, continued(before).data, rows=("T9",)) == []


@given(st.text(max_size=20), st.sampled_from([True, False, None]))
def test_t9_whatever_is_made_up_must_be_marked(words: str, mark: Any) -> None:
    before = interrupted()
    made_up = result("toolu_03", "E: " + words, **({} if mark is None else {"is_error": mark}))
    found = repaired(before.data, continued(before, made_up).data, rows=("T9",))
    assert bool(found) == (mark is not True)


# -- G4 -------------------------------------------------------------------------------------------------------------


def test_g4_recovery_cuts_nothing_off() -> None:
    before = interrupted(7)
    assert repaired(before.data, continued(before).data, rows=("G4",)) == []
    cut = continued(before)
    cut.records[-1]["parentUuid"] = None
    (found,) = repaired(before.data, cut.data, rows=("G4",))
    assert (found.damage, found.ids) == ("unlinked", tuple(r["uuid"] for r in before.records))
    assert "of 7 records that the conversation reached before recovery, 7 are not" in found.message
    assert repaired(before.data, cut.data, "errno", rows=("G4",)) == []


@pytest.mark.parametrize(("acked", "broken"), [(4, False), (5, True), (7, True)])
def test_g4_a_rollback_may_drop_what_nobody_acknowledged(acked: int, broken: bool) -> None:
    before, after = interrupted(7), continued(interrupted(4))
    trees = tree_of({PATH: before.data}), tree_of({PATH: after.data})
    found = judge_recovery(*trees, expectation(), acked, "kill", invariants=("G4",))
    assert bool(found) == broken


def test_g4_a_compaction_may_start_anew() -> None:
    before = interrupted(7)
    after = copy.deepcopy(before)
    after.count = 100
    after.record("system", parent=None, subtype="compact_boundary")
    after.user("summary", isCompactSummary=True)
    assert repaired(before.data, after.data, rows=("G4",)) == []


def test_g4_a_transcript_that_is_gone_is_not_its_business() -> None:
    trees = tree_of({PATH: run().data}), tree_of({})
    assert judge_recovery(*trees, expectation(), 0, invariants=("G4",)) == ()


@given(st.integers(2, 14), st.integers(0, 13))
def test_g4_is_broken_exactly_where_the_next_record_hangs_too_high(kept: int, at: int) -> None:
    before = interrupted(kept)
    after = continued(before)
    parent = before.records[min(at, kept - 1)]["uuid"]
    after.records[-1]["parentUuid"] = parent
    reached = before.conversation.reached, after.conversation.reached
    assert bool(repaired(before.data, after.data, rows=("G4",))) == (not reached[0] <= reached[1])


# -- the outcome of a resume ------------------------------------------------------------------------------------------


def acked(tale: Tale) -> list[str]:
    return [record["uuid"] for record in tale.records]


def sent(tale: Tale) -> list[Json]:
    return copy.deepcopy(list(tale.conversation.messages))


def test_recovered() -> None:
    before = interrupted()
    after = continued(before, result("toolu_03", ERROR, is_error=True))
    assert resume_outcome(before.records, sent(after), acked(before)) == ("recovered", "", ())
    as_text = [{"role": m["role"], "content": m["content"]} for m in sent(after)]
    as_text[0]["content"] = as_text[0]["content"][0]["text"]
    as_text[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    assert resume_outcome(before.records, as_text, acked(before)).outcome == "recovered"


def test_rejected_with_the_text_of_the_api() -> None:
    before = interrupted()
    found = resume_outcome(before.records, sent(continued(before)), acked(before))
    assert found.outcome == "rejected"
    assert found.text.startswith(
        "messages.5: `tool_use` ids were found without `tool_result` blocks immediately after"
    )
    error = ApiError("API said no")
    assert resume_outcome(before.records, error, []) == ("rejected", "API said no", ())


def test_rolled_back_to_a_checkpoint() -> None:
    before = interrupted()
    checkpoint = interrupted(7)
    found = resume_outcome(before.records, sent(checkpoint), acked(before))
    assert (found.outcome, found.text) == ("rolled_back", "")
    assert found.lost == tuple(acked(before)[7:])
    assert resume_outcome(before.records, sent(checkpoint), acked(checkpoint)).outcome == "recovered"


def test_rolled_back_to_nothing_and_lost_on_disk() -> None:
    before = interrupted(7)
    assert resume_outcome(before.records, [], acked(before)).lost == tuple(acked(before))
    assert resume_outcome(before.records, sent(before), [*acked(before), "gone"]).lost == ("gone",)


def test_records_that_are_never_sent_are_not_missed() -> None:
    before = interrupted(7)
    before.count = 100
    before.user("meta", isMeta=True)
    before.record("progress", data={})
    before.record("system", parent=None, subtype="compact_boundary")
    before.user("summary")
    assert resume_outcome(before.records, sent(before), acked(before)).outcome == "recovered"


def test_a_real_result_replaced_by_a_made_up_one_is_a_loss() -> None:
    before = interrupted()
    after = sent(continued(before, result("toolu_03", ERROR, is_error=True)))
    block = next(b for m in after for b in m["content"] if b.get("tool_use_id") == "toolu_02")
    block["content"] = ERROR
    assert resume_outcome(before.records, after, acked(before)).lost == (before.records[11]["uuid"],)


def test_two_prompts_of_the_same_words_need_two() -> None:
    before = Tale()
    for name in "ab":
        before.user("yes")
        before.line(name, text("ok"))
    after = sent(before)[:2]
    assert resume_outcome(before.records, after, acked(before)).lost == tuple(acked(before)[2:])


@given(turns, st.integers(0, 40))
def test_any_prefix_is_a_rollback_or_a_refusal(shape: list[tuple[int, bool]], kept: int) -> None:
    before = tale_of(shape)
    after = Tale()
    after.records = before.records[:kept]
    messages = sent(after)
    found = resume_outcome(before.records, messages, acked(before))
    if validate(messages) is not None:
        assert found.outcome == "rejected"
    else:
        missing = tuple(acked(before)[kept:])
        assert found == ("rolled_back" if missing else "recovered", "", missing)


def test_the_calls_of_an_interrupted_turn() -> None:
    before = Tale()
    before.user("go")
    before.assistant(use("a"))
    assert resume_outcome(before.records, sent(before), acked(before)).text.startswith(
        "messages.1: `tool_use` ids"
    )
