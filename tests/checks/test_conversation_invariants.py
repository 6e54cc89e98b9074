from __future__ import annotations

import pytest
from conversations import Json, Tale, lines, result, tale_of, text, turns, use, uuid
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import explored, judge, names

from harness.checks import INVARIANTS, Expectation, FileBinding, Judge
from harness.core.tree import tree_of
from harness.core.verdict import Violation
from harness.explore.script import Script

OPEN = FileBinding("p/**/*.jsonl", "transcript", id_key="uuid")
CLOSED = FileBinding("p/**/*.jsonl", "transcript", id_key="uuid", open_turn="closed")
PATH = "p/s0.jsonl"
ROWS = tuple(row for row in INVARIANTS if row[0] in "GT")


def written(tale: Tale, start: bytes = b"") -> Script:
    """A writer that appends each record and acknowledges it."""
    script = Script(tree_of({PATH: start})) if start else Script()
    if not start:
        script.mkdir("p")
    fd = script.open(PATH, append=True)
    for record in tale.records:
        script.write(fd, lines([record]))
        if "uuid" in record:
            script.ack(record["uuid"])
    return script


def found_in(
    tale: Tale | bytes,
    binding: FileBinding = OPEN,
    *,
    run: Tale | None = None,
    acked: int = 0,
    fault_class: str = "none",
    rows: tuple[str, ...] = ROWS,
) -> list[Violation]:
    data = tale if isinstance(tale, bytes) else tale.data
    script = written(run or Tale().turn("other"))
    return judge(script, binding, {PATH: data}, acked, fault_class=fault_class, invariants=rows)  # type: ignore[arg-type]


def rows_of(tale: Tale | bytes, binding: FileBinding = OPEN, **more: object) -> list[str]:
    return [v.invariant for v in found_in(tale, binding, **more)]  # type: ignore[arg-type]


# -- the shapes of the reports --------------------------------------------------------------------------------------


def test_three_calls_and_two_results() -> None:
    """One result was dropped while three tools ran: the session is refused for good."""
    tale = Tale().turn("toolu_01", "toolu_02", "toolu_03")
    lost = next(r["uuid"] for r in tale.records if "'tool_use_id': 'toolu_02'" in str(r))
    (found,) = found_in(tale.without(lost), fault_class="concurrency")
    assert (found.invariant, found.damage, found.ids) == ("T1", "rejected", ("toolu_02",))
    assert found.offset == tale.data.index(b'{"parentUuid":"00000000-0000-4000-8000-000000000003"')
    assert found.message == (
        f"the record at offset {found.offset}: messages.1: `tool_use` ids were found without `tool_result` blocks "
        "immediately after: toolu_02. Each `tool_use` block must have a corresponding `tool_result` block in the next "
        "message."
    )


def test_a_dropped_assistant_record() -> None:
    """Its result is still there, below a parent that is not: two ids for what #31328 describes."""
    tale = Tale().turn()
    tale.user("go")
    call = tale.line("m", use("toolu_01"))
    tale.results("toolu_01")
    tale.assistant("done")
    found = found_in(tale.without(call), fault_class="concurrency")
    assert [(v.invariant, v.ids) for v in found] == [("G2", (call,)), ("T2", ("toolu_01",))]
    assert "messages.0.content.0: unexpected `tool_use_id` found" in found[1].message
    assert rows_of(tale, fault_class="kill") == ["G2", "T2"]


# -- row by row: what must fail -------------------------------------------------------------------------------------


def doubled_uuid() -> Tale:
    tale = Tale().turn("a")
    tale.records.append(dict(tale.records[-1], message={"role": "assistant", "content": [text("again")]}))
    return tale


def lost_parent() -> Tale:
    tale = Tale()
    lost = tale.user("one")
    tale.line("m", text("two"))
    return tale.without(lost)


def own_parent() -> Tale:
    tale = Tale().turn()
    tale.user("alone", parent=uuid(tale.count + 1))
    return tale


def cycle() -> Tale:
    tale = Tale()
    tale.user("one", parent=uuid(2))
    tale.user("two")
    tale.user("three")
    return tale


def snapshot_as_parent() -> Tale:
    tale = Tale()
    tale.plain("file-history-snapshot", messageId=uuid(77), snapshot={})
    tale.user("one", parent=uuid(77))
    return tale


def unanswered() -> Tale:
    tale = Tale()
    tale.user("go")
    tale.line("m", use("a"))
    tale.user("next")
    return tale


def open_turn(*answered: str) -> Tale:
    tale = Tale()
    tale.user("go")
    tale.assistant(use("a"), use("b"))
    tale.results(*answered)
    return tale


def unasked() -> Tale:
    tale = Tale().turn()
    tale.user(result("a"))
    return tale


def two_results(tree: bool) -> Tale:
    tale = open_turn()
    tale.results("a", "b", "a", tree=tree)
    return tale


def two_uses() -> Tale:
    return Tale().turn("a").turn("a", tree=False)


def late_result() -> Tale:
    tale = Tale()
    tale.user("go")
    tale.line("m", use("a"))
    tale.user("wait", result("a"))
    return tale


def text_after_use() -> Tale:
    tale = Tale()
    tale.user("go")
    tale.assistant(use("a"), "by the way")
    tale.results("a", tree=False)
    return tale


def interleaved() -> Tale:
    tale = Tale()
    tale.user("go")
    tale.line("m", use("a"))
    tale.user(result("a"))
    tale.line("m", use("b"))
    tale.user(result("b"))
    return tale


def compacted_pair() -> Tale:
    tale = Tale()
    tale.user("go")
    tale.line("m", use("a"))
    tale.record("system", parent=None, subtype="compact_boundary")
    tale.user(result("a"))
    return tale


def empty_message() -> Tale:
    tale = Tale()
    tale.user("")
    tale.line("m", text("two"))
    return tale


def empty_text() -> Tale:
    tale = Tale()
    tale.user("go")
    tale.line("m", text(""))
    return tale


def late_thinking() -> Tale:
    tale = Tale()
    tale.user("go")
    tale.assistant("so", {"type": "thinking", "thinking": "hm", "signature": "x"})
    return tale


BROKEN: list[tuple[list[str], Tale, tuple[str, ...]]] = [
    (["G1"], doubled_uuid(), (uuid(5),)),
    (["G2"], lost_parent(), (uuid(1),)),
    (["G3"], own_parent(), (uuid(3),)),
    (["G3"], cycle(), (uuid(1), uuid(2))),
    (["G2", "G6"], snapshot_as_parent(), (uuid(77),)),
    (["T1"], unanswered(), ("a",)),
    (["T1"], open_turn(), ("a", "b")),
    (["T1"], open_turn("b"), ("a",)),
    (["T2"], unasked(), ("a",)),
    (["T3"], two_results(tree=False), ("a",)),
    (["T3"], two_results(tree=True), ("a",)),
    (["T3", "T4"], two_uses(), ("a",)),
    (["T5"], late_result(), ("a",)),
    (["T5"], text_after_use(), ("a",)),
    (["T6"], interleaved(), ("m",)),
    (["T2", "T7"], compacted_pair(), ("a",)),
    (["T8"], empty_message(), (uuid(1),)),
    (["T8"], empty_text(), (uuid(2),)),
    (["T8"], late_thinking(), (uuid(3),)),
]


@pytest.mark.parametrize(
    ("rows", "tale", "ids"), BROKEN, ids=lambda value: value[0] if isinstance(value, list) else ""
)
def test_what_breaks_a_row(rows: list[str], tale: Tale, ids: tuple[str, ...]) -> None:
    found = found_in(tale)
    assert [v.invariant for v in found] == rows
    assert all(v.ids == ids for v in found)
    assert all(tale.data.startswith(b"{", v.offset) for v in found)


@pytest.mark.parametrize("row", [row for row in ROWS if row not in ("G4", "G5", "G7", "T9")])
def test_rows_are_judged_under_their_classes_only(row: str) -> None:
    tale = next(tale for rows, tale, _ in BROKEN if row in rows)
    for fault_class in ("kill", "signal", "short", "errno", "concurrency", "power"):
        judged = INVARIANTS[row].judges(fault_class)  # type: ignore[arg-type]
        assert (row in rows_of(tale, fault_class=fault_class)) == judged


# -- what must pass -------------------------------------------------------------------------------------------------


def test_uuids_that_hook_contexts_reuse() -> None:
    tale = Tale()
    name = tale.user("one")
    tale.line("m", text("two"))
    tale.records.append({"type": "saved_hook_context", "uuid": name, "content": []})
    hook = {"type": "attachment", "uuid": name, "parentUuid": None, "attachment": {"type": "saved_hook_context"}}
    tale.records.append(hook)
    assert rows_of(tale, rows=("G1",)) == []


def test_a_snapshot_that_names_a_record_is_no_damage() -> None:
    tale = Tale()
    name = tale.user("one")
    tale.plain("file-history-snapshot", messageId=name, snapshot={})
    tale.line("m", text("two"))
    assert rows_of(tale) == []


def test_a_parent_that_the_run_had_and_a_snapshot_names_is_lost_not_mistaken() -> None:
    run = Tale()
    lost = run.user("one")
    run.plain("file-history-snapshot", messageId=lost, snapshot={})
    run.line("m", text("two"))
    torn = lines(record for record in run.records if record.get("uuid") != lost)
    assert rows_of(torn, run=run) == ["G2"]


def test_a_parent_in_front_of_its_child_or_behind_it() -> None:
    tale = Tale().turn()
    tale.records.reverse()
    assert rows_of(tale, rows=("G2", "G3")) == []


def test_an_open_turn_is_allowed_where_resuming_closes_it() -> None:
    assert rows_of(open_turn("b"), CLOSED) == []
    assert rows_of(open_turn(), CLOSED, fault_class="kill") == []
    assert rows_of(unanswered(), CLOSED) == ["T1"]
    assert rows_of(Tale().turn("x").turn("y"), CLOSED) == []


def test_an_empty_final_answer_is_allowed() -> None:
    tale = Tale()
    tale.user("go")
    tale.line("m")
    assert rows_of(tale) == []


def test_thinking_comes_first() -> None:
    tale = Tale()
    tale.user("go")
    tale.assistant({"type": "thinking", "thinking": "hm", "signature": "x"}, "so", use("a"))
    tale.results("a")
    assert rows_of(tale) == []


def test_thinking_of_the_latest_answer_stays_as_it_was() -> None:
    def tale(thought: str) -> Tale:
        told = Tale()
        told.user("go")
        told.assistant({"type": "thinking", "thinking": thought, "signature": "x"}, "so")
        return told

    assert rows_of(tale("hm"), run=tale("hm")) == []
    (found,) = found_in(tale("ha"), run=tale("hm"))
    assert found.invariant == "T8"
    assert "messages.1.content.0: `thinking` or `redacted_thinking` blocks" in found.message


def test_a_compaction_between_turns() -> None:
    tale = Tale().turn("a")
    tale.record("system", parent=None, subtype="compact_boundary")
    tale.user("summary", isCompactSummary=True)
    tale.turn("b")
    assert rows_of(tale) == []


def test_sub_agents_have_no_conversation_of_their_own() -> None:
    tale = Tale()
    tale.user("go", isSidechain=True)
    tale.line("m", use("a"), isSidechain=True)
    assert rows_of(tale) == []


def test_files_of_other_formats_are_not_looked_into() -> None:
    log = FileBinding("p/*.jsonl", "log")
    assert rows_of(unanswered(), log) == []


# -- G5 and G7 ------------------------------------------------------------------------------------------------------


def two_branches() -> Tale:
    """Two instances go on from one record: what the first one says afterwards is out of reach."""
    tale = Tale()
    start = tale.user("one")
    mine = tale.line("m1", text("mine"), parent=start)
    tale.line("m2", text("theirs"), parent=start)
    tale.records.append(tale.records.pop(tale.records.index(next(r for r in tale.records if r["uuid"] == mine))))
    return tale


def test_g5_the_newest_acknowledged_record_is_reached() -> None:
    tale = two_branches()
    run = Tale()
    run.records = [tale.records[0], tale.records[2], tale.records[1]]
    assert rows_of(run, run=run, acked=3, fault_class="concurrency") == []
    (found,) = found_in(tale, run=run, acked=3, fault_class="concurrency")
    assert (found.invariant, found.damage, found.ids) == ("G5", "unlinked", (uuid(3),))
    assert rows_of(tale, run=run, acked=2, fault_class="concurrency") == []
    assert rows_of(tale, run=run, acked=3, fault_class="errno") == []


def test_g5_a_lost_record_is_not_its_business() -> None:
    run = Tale().turn("a")
    assert rows_of(run.data[: run.data[:-1].rindex(b"\n") + 1], run=run, acked=5, rows=("G5",)) == []


def test_g5_by_ids_that_came_off_script() -> None:
    run = Tale().turn("a")
    ids = [record["uuid"] for record in run.records]
    found = judge(written(run), OPEN, {PATH: run.data}, [*ids[1:]], invariants=("G5",))
    assert found == []
    tale = Tale()
    tale.records = [*run.records[:-1], dict(run.records[-1], parentUuid=ids[0])]
    found = judge(written(run), OPEN, {PATH: tale.data}, [ids[0], ids[3]], invariants=("G5",))
    assert [v.ids for v in found] == [(ids[3],)]


@given(turns, st.integers(0, 30))
def test_g5_holds_for_every_prefix_of_an_appender(shape: list[tuple[int, bool]], kept: int) -> None:
    run = tale_of(shape)
    kept = min(kept, len(run.records))
    assert rows_of(lines(run.records[:kept]), run=run, acked=kept, rows=("G5",)) == []


def test_g7_a_parent_in_a_side_chains_file() -> None:
    side = Tale()
    side.count = 50
    name = side.user("sub-agent", isSidechain=True)
    main = Tale().turn()
    main.user("on from there", parent=name)
    for path in ("p/s0/subagents/agent-1.jsonl", "p/agent-1.jsonl"):
        files = {PATH: main.data, path: side.data}
        found = judge(written(Tale().turn()), OPEN, files, fault_class="concurrency", invariants=ROWS)
        assert [(v.invariant, v.path, v.ids) for v in found] == [("G2", PATH, (name,)), ("G7", PATH, (name,))]
    found = judge(written(Tale().turn()), OPEN, {PATH: main.data}, fault_class="concurrency", invariants=ROWS)
    assert [v.invariant for v in found] == ["G2"]


# -- damage that was there before -----------------------------------------------------------------------------------


def test_what_the_run_started_with_is_not_its_damage() -> None:
    start = unanswered()
    assert rows_of(start) == ["T1"]
    script = written(Tale(), start.data)
    assert names(judge(script, OPEN, {PATH: start.data}, invariants=ROWS)) == []
    copied = {PATH: start.data, "p/fork.jsonl": start.data}
    assert names(judge(script, OPEN, copied, invariants=ROWS)) == []


def test_an_open_turn_that_was_there_and_is_left_behind_unanswered_is_new_damage() -> None:
    tale = open_turn()
    start = tale.data
    script = written(Tale(), start)
    assert names(judge(script, OPEN, {PATH: start}, invariants=ROWS)) == []
    tale.user("next")
    assert names(judge(script, OPEN, {PATH: tale.data}, invariants=ROWS)) == [("T1", "rejected")]


# -- properties -----------------------------------------------------------------------------------------------------


@given(turns)
def test_a_whole_tale_breaks_no_row(shape: list[tuple[int, bool]]) -> None:
    run = tale_of(shape)
    assert found_in(run, run=run, acked=len(run.records)) == []


def broken_by(tale: Tale, row: str, at: int) -> bytes:
    """Break one row of a valid tale at one of the places where it can be broken."""
    records = [dict(record) for record in tale.records]
    calls = (
        [i for i, r in enumerate(records) if r["message"]["content"][0]["type"] == "tool_use"] if records else []
    )
    results = [
        i
        for i, r in enumerate(records)
        if isinstance(r["message"]["content"], list) and "tool_use_id" in r["message"]["content"][0]
    ]
    children = range(1, len(records))
    if row == "G1":
        records.append(dict(records[at % len(records)]))
    elif row == "G2":
        records[children[at % len(children)]]["parentUuid"] = uuid(999)
    elif row == "G3":
        index = children[at % len(children)]
        records[index]["parentUuid"] = records[index]["uuid"]
    elif row == "T1":
        del records[results[at % len(results)]]
    elif row == "T2":
        del records[calls[at % len(calls)]]
    elif row == "T3":
        again = dict(records[results[at % len(results)]], uuid=uuid(999))
        records.append(again)
    elif row == "T8":
        content: list[Json] = [{"type": "text", "text": ""}]
        index = at % len(records)
        records[index]["message"] = dict(records[index]["message"], content=content)
    return lines(records)


@settings(max_examples=150)
@given(turns, st.sampled_from(["G1", "G2", "G3", "T1", "T2", "T3", "T8"]), st.integers(0, 99))
def test_a_row_broken_anywhere_is_named(shape: list[tuple[int, bool]], row: str, at: int) -> None:
    tale = tale_of([(2, True), *shape])
    for record in tale.records:
        if isinstance(record["message"]["content"], str):
            record["message"]["content"] = [text(record["message"]["content"])]
    data = broken_by(tale, row, at)
    found = set(rows_of(data))
    if row in ("T1", "T2"):  # where the chain is cut, the damaged turn may be out of reach
        assert found & {row, "G2"}
    elif row == "T8":  # a result that is blanked is no result any more
        assert found & {row, "T1"}
    else:
        assert row in found


# -- crash states ---------------------------------------------------------------------------------------------------


def test_an_appender_of_parallel_turns_is_caught_mid_turn_unless_resuming_closes_it() -> None:
    run = tale_of([(3, True), (2, False)])
    healed = {"torn_tail": "healed", "id_key": "uuid"}
    as_found = FileBinding("p/*.jsonl", "transcript", **healed)  # type: ignore[arg-type]
    closed = FileBinding("p/*.jsonl", "transcript", open_turn="closed", **healed)  # type: ignore[arg-type]
    assert explored(written(run), as_found) == {("T1", "rejected")}
    assert explored(written(run), closed) == set()


def test_a_rewrite_from_an_old_snapshot_loses_a_result() -> None:
    """Two tools finish at once, and each rewrites the file as it knew it: the last one wins."""
    run = tale_of([(2, True)])
    first, second = run.records[4], run.records[5]
    script = Script()
    script.mkdir("p")
    script.put(PATH, lines(run.records[:4]))
    script.put(PATH, lines([*run.records[:4], first]))
    script.ack(first["uuid"])
    left = lines([*run.records[:4], second, run.records[6]])
    found = judge(script, OPEN, {PATH: left}, 1, fault_class="concurrency")
    assert {(v.invariant, v.ids) for v in found} >= {("B5", (first["uuid"],)), ("T1", ("toolu_00",))}


# -- what was not measured --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "tale", "reason"),
    [
        ("G1", Tale(), "no transcript with messages"),
        ("T1", Tale(), "no transcript with messages"),
        ("T1", Tale().turn(), "no tool call"),
        ("T6", tale_of([(0, True)]), "no message of several lines"),
        ("T7", Tale().turn("a"), "no compaction"),
        ("G6", Tale().turn("a"), "no file-history-snapshot"),
        ("G7", Tale().turn("a"), "no transcript of a sub-agent"),
        ("G1", Tale().turn("a"), ""),
        ("G5", Tale().turn("a"), ""),
        ("T1", Tale().turn("a"), ""),
        ("T6", Tale().turn("a"), ""),
    ],
)
def test_what_is_not_measured_is_said(row: str, tale: Tale, reason: str) -> None:
    judged = Judge((OPEN,), Expectation.from_trace(written(tale).trace(), (OPEN,)))
    said = judged.measured(row, "none")
    assert reason in said if reason else said == ""


def test_recovery_rows_need_a_recovery_and_g5_ids() -> None:
    run = Tale().turn("a")
    judged = Judge((OPEN,), Expectation.from_trace(written(run).trace(), (OPEN,)))
    assert "recovery" in judged.measured("G4", "kill", also=())
    assert judged.measured("T9", "kill") == ""
    plain = FileBinding("p/*.jsonl", "transcript")
    nameless = Judge((plain,), Expectation.from_trace(written(run).trace(), (plain,)))
    assert "by its uuid" in nameless.measured("G5", "kill")
