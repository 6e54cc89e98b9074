"""W7: who truncates and rewrites a record file keeps appenders out meanwhile."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, LOG, record

from harness.checks import judge_trace
from harness.core.trace import Actor, Trace
from harness.core.tree import tree_of
from harness.explore.script import Script

START = tree_of({"log.jsonl": record(1)})


def wrong(run: Script | Trace) -> list[str]:
    trace = run.trace() if isinstance(run, Script) else run
    return [v.message for v in judge_trace(trace, (LOG, DOCUMENT), ("W7",))]


def append(script: Script, data: bytes, actor: int) -> None:
    fd = script.open("log.jsonl", append=True, actor=actor)
    script.write(fd, data, actor=actor)
    script.close(fd, actor=actor)


def threads(run: Script, count: int = 2) -> Trace:
    """Return the trace with its actors as threads of one process."""
    actors = tuple(Actor(process=0, thread=index) for index in range(count))
    return msgspec.structs.replace(run.trace(), actors=actors)


def test_w7_an_append_while_the_file_is_rewritten_in_place() -> None:
    script = Script(START, actors=2)
    fd = script.open("log.jsonl", truncate=True, actor=0)
    append(script, record(2), 1)
    script.write(fd, record(1), actor=0)
    script.close(fd, actor=0)
    (found,) = wrong(script)
    assert "while the rewrite begun at operation 0 is under way" in found


def test_w7_an_append_to_the_file_that_a_rename_has_replaced() -> None:
    script = Script(START, actors=2)
    fd = script.open("log.jsonl", append=True, actor=1)
    script.replace("log.jsonl", record(1), actor=0)
    script.write(fd, record(2), actor=1)
    script.close(fd, actor=1)
    (found,) = wrong(script)
    assert "to the file that operation" in found


def stale_snapshot(*, again: bool) -> Script:
    """Actor 0 rewrites what it read before actor 1 appended; actor 1 appends again, or not."""
    script = Script(START, actors=2)
    append(script, record(2), 1)
    script.put("log.jsonl", record(1) + record(3), actor=0)
    if again:
        append(script, record(4), 1)
    return script


def test_w7_a_rewrite_from_a_snapshot_that_leaves_out_an_appenders_line() -> None:
    (found,) = wrong(stale_snapshot(again=True))
    assert "leaves out 1 lines that others appended" in found
    assert len(wrong(threads(stale_snapshot(again=True)))) == 1


def test_w7_dropping_the_lines_of_one_who_appends_no_more_is_compaction() -> None:
    assert wrong(stale_snapshot(again=False)) == []


def test_w7_a_rewrite_that_keeps_every_line_holds() -> None:
    script = Script(START, actors=2)
    append(script, record(2), 1)
    script.put("log.jsonl", record(2) + record(1), actor=0)
    append(script, record(4), 1)
    script.replace("log.jsonl", record(4) + record(2) + record(1), actor=0)
    append(script, record(5), 1)
    assert wrong(script) == []


def test_w7_cutting_a_torn_tail_is_no_rewrite() -> None:
    script = Script(tree_of({"log.jsonl": record(1) + record(2)[:5]}), actors=2)
    one, two = script.open("log.jsonl", append=True, actor=0), script.open("log.jsonl", append=True, actor=1)
    script.truncate(one, len(record(1)), actor=0)
    script.write(two, record(3), actor=1)
    script.close(one, actor=0)
    script.close(two, actor=1)
    assert wrong(script) == []


def test_w7_one_writer_alone_excludes_nobody() -> None:
    script = Script(START)
    script.put("log.jsonl", record(5))
    append(script, record(2), 0)
    script.put("log.jsonl", record(5))
    append(script, record(3), 0)
    assert wrong(script) == []


def test_w7_threads_of_a_pool_that_share_an_open_file_are_one_writer() -> None:
    """Node performs the open, the write and the close of one writeFile on whichever thread is free."""
    script = Script(START, actors=2)
    fd = script.open("log.jsonl", truncate=True, actor=0)
    script.write(fd, record(5), actor=1)
    script.close(fd, actor=0)
    append(script, record(2), 1)
    script.put("log.jsonl", record(5), actor=0)
    append(script, record(3), 1)
    assert wrong(threads(script)) == []
    overlapping = Script(START, actors=2)
    one = overlapping.open("log.jsonl", truncate=True, actor=0)
    two = overlapping.open("log.jsonl", truncate=True, actor=1)
    overlapping.write(one, record(5), actor=1)
    overlapping.write(two, record(6), actor=0)
    overlapping.close(one, actor=0)
    overlapping.close(two, actor=1)
    assert len(wrong(threads(overlapping))) == 1


def test_w7_documents_are_rewritten_all_the_time() -> None:
    script = Script(tree_of({"state.json": b"{}"}), actors=2)
    fd = script.open("state.json", truncate=True, actor=0)
    script.put("state.json", b"[]", actor=1)
    script.write(fd, b"{}", actor=0)
    script.close(fd, actor=0)
    assert wrong(script) == []


@given(st.lists(st.tuples(st.sampled_from(["append", "rewrite"]), st.integers(0, 1)), max_size=8))
def test_w7_writers_that_take_turns_and_read_before_they_rewrite_hold(steps: list[tuple[str, int]]) -> None:
    script = Script(START, actors=2)
    for number, (kind, actor) in enumerate(steps, 2):
        if kind == "append":
            append(script, record(number), actor)
        else:
            now = script.tree.node_at("log.jsonl").content.to_bytes()  # type: ignore[union-attr]
            script.put("log.jsonl", now + record(number), actor=actor)
    assert wrong(script) == []
