"""M6: a sessions index is what the transcripts beside it are, goes forward, keeps up and keeps titles."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions import ALL, HOUR, INDEX, T0, TRANSCRIPTS, index, prompt, row, title, written

from harness.checks import Expectation, FileBinding, Judge, Rules, judge_recovery
from harness.core.tree import tree_of
from harness.explore import explore
from harness.explore.script import Script

AT = "projects/p/sessions-index.json"
A, B = "projects/p/a.jsonl", "projects/p/b.jsonl"
DAY = 24 * HOUR
RUN = written((A, prompt()), (AT, index(row("a"))), "1", (B, prompt()), (AT, index(row("a"), row("b"))), "2")
WHOLE = {A: prompt(), B: prompt(), AT: index(row("a"), row("b"))}


def wrong(
    files: dict[str, bytes],
    script: Script = RUN,
    acked: int = 2,
    fault_class: str = "kill",
    bindings: tuple[FileBinding, ...] = ALL,
    rules: Rules = Rules(),  # noqa: B008
) -> list[tuple[str, tuple[str, ...]]]:
    expectation = Expectation.from_trace(script.trace(), bindings)
    found = Judge(bindings, expectation, ("M6",), rules).judge(tree_of(files), acked, fault_class)  # type: ignore[arg-type]
    return [(v.damage, v.ids) for v in found]


def test_m6_holds_on_what_the_run_left() -> None:
    for fault_class in ("none", "kill", "signal", "power", "concurrency"):
        assert wrong(WHOLE, fault_class=fault_class) == []


def test_m6_a_transcript_without_an_entry() -> None:
    assert wrong({**WHOLE, AT: index(row("a"))}) == [("stale", ("b",))]
    assert wrong({**WHOLE, AT: index()}, fault_class="none") == [("stale", ("a", "b"))]


def test_m6_a_transcript_in_flight_needs_no_entry_yet() -> None:
    assert wrong({**WHOLE, AT: index(row("a"))}, acked=1) == []
    assert wrong({**WHOLE, AT: index(row("a"))}, acked=1, fault_class="concurrency") == [("stale", ("b",))]


def test_m6_an_entry_without_a_transcript() -> None:
    assert wrong({A: prompt(), AT: WHOLE[AT]}) == [("other", ("b",))]
    assert wrong({A: prompt(), AT: WHOLE[AT]}, acked=1) == []  # the entry may come first
    assert wrong({A: prompt(), AT: index(row("a"), row("z"))}, acked=1) == [("other", ("z",))]


def test_m6_sub_agents_have_no_entries() -> None:
    files = {
        **WHOLE,
        "projects/p/agent-1.jsonl": prompt(),
        AT: index(row("a"), row("b"), row("x", isSidechain=True)),
    }
    assert wrong(files, written(*files.items(), "1"), fault_class="none") == []


def test_m6_a_rollback_against_the_start_and_against_earlier_versions() -> None:
    script = Script(tree_of({A: prompt(), AT: index(row("a", T0 + 14 * DAY, 30))}))
    script.replace(AT, index(row("a", T0, 9)))
    script.ack("1")
    assert wrong({A: prompt(), AT: index(row("a", T0, 9))}, script, 1, "none") == [("stale", ("a",))]
    assert wrong({A: prompt(), AT: index(row("a", T0 + 14 * DAY, 29))}, script, 0) == [("stale", ("a",))]
    assert wrong({A: prompt(), AT: index(row("a", T0 + 14 * DAY, 30))}, script, 0) == []


def test_m6_an_entry_younger_than_any_record() -> None:
    assert wrong({**WHOLE, AT: index(row("a", T0 + DAY), row("b"))}) == []
    assert wrong({**WHOLE, AT: index(row("a", T0 + DAY + 1), row("b"))}) == [("other", ("a",))]


def test_m6_more_than_a_day_behind() -> None:
    files = {A: prompt() + prompt(1, T0 + DAY), AT: index(row("a"))}
    assert wrong(files, written(*files.items(), "1"), 1) == []
    files = {A: prompt() + prompt(1, T0 + DAY + 1), AT: index(row("a"))}
    script = written(*files.items(), "1")
    assert wrong(files, script, 1) == [("stale", ("a",))]
    patient = tuple(msgspec.structs.replace(binding, lag_ms=2 * DAY) for binding in ALL)
    assert wrong(files, script, 1, bindings=patient) == []
    assert wrong(files, script, 0) == []  # the record that is far ahead is in flight


def test_m6_ninety_three_days_and_nine_messages() -> None:
    """The entry of the report: frozen at nine messages while its transcript went on for 93 days."""
    start = {A: prompt(), AT: index(row("a", T0, 9))}
    script = Script(tree_of(start))
    fd = script.open(A, append=True)
    script.write(fd, prompt(1, T0 + 93 * DAY))
    script.close(fd)
    script.ack("1")
    found = Judge(ALL, Expectation.from_trace(script.trace(), ALL), ("M6",)).judge(script.tree, 1, "kill")
    assert [v.damage for v in found] == ["stale"]
    assert f"{93 * 24} hours" in found[0].message


def test_m6_what_was_behind_at_the_start_counts_once_something_was_acknowledged() -> None:
    start = {A: prompt(1, T0 + 9 * DAY), B: prompt(), AT: index(row("a"))}
    script = Script(tree_of(start))
    script.ack("1")
    assert wrong(start, script, 0) == []
    assert wrong(start, script, 1) == [("stale", ("b",)), ("stale", ("a",))]


def test_m6_file_times_stand_in_only_where_they_are_the_workloads() -> None:
    files = {A: b'{"type":"user"}\n', AT: index(row("a"))}
    script = written(*files.items(), "1")
    tree = tree_of(files)
    ino = tree.names[A]
    tree = tree.with_node(ino, tree.nodes[ino]._replace(mtime_ns=(T0 + 9 * DAY) * 1_000_000))  # type: ignore[union-attr]
    expectation = Expectation.from_trace(script.trace(), ALL)
    assert Judge(ALL, expectation, ("M6",)).judge(tree, 1, "none") == ()
    assert len(Judge(ALL, expectation, ("M6",), Rules(file_times=True)).judge(tree, 1, "none")) == 1


@pytest.mark.parametrize(
    ("now", "damage"),
    [
        ({"customTitle": "T"}, []),
        ({}, ["lost"]),
        ({"customTitle": "new"}, []),
        ({"customTitle": "else"}, ["lost"]),
    ],
)
def test_m6_a_rebuild_keeps_custom_titles(now: dict[str, Any], damage: list[str]) -> None:
    transcript = prompt() + title("T") + title("new")
    script = Script(tree_of({A: transcript, AT: index(row("a", customTitle="T"))}))
    script.ack("1")
    found = wrong({A: transcript, AT: index(row("a", **now))}, script, 1)
    assert [each for each, _ in found] == damage


def test_m6_an_index_that_does_not_parse_is_m1s() -> None:
    for data in (b"", b"\0" * 9, WHOLE[AT][:-1], b"[]", b'{"entries": 3}'):
        assert wrong({**WHOLE, AT: data}) == []


def test_m6_an_index_that_the_next_start_rebuilds_is_judged_after_it() -> None:
    healed = (TRANSCRIPTS, FileBinding(INDEX.glob, "index", torn_tail="healed"))
    stale = {**WHOLE, AT: index(row("a"))}
    assert wrong(stale, bindings=healed) == []
    assert wrong(stale, bindings=healed, fault_class="none") == [("stale", ("b",))]
    expectation = Expectation.from_trace(RUN.trace(), healed)
    found = judge_recovery(tree_of(stale), tree_of(stale), expectation, 2, invariants=("M6",))
    assert [v.damage for v in found] == ["stale"]
    assert judge_recovery(tree_of(stale), tree_of(WHOLE), expectation, 2, invariants=("M6",)) == ()


@pytest.mark.parametrize(("case_sensitive", "damage"), [(True, ["stale", "other"]), (False, [])])
def test_m6_two_worktrees_that_differ_in_case_only(case_sensitive: bool, damage: list[str]) -> None:
    """Opened once as /srv/Repo and once as /srv/repo: one project, or two, as the file system has it."""
    a = "projects/-work-repo/a.jsonl"
    at = "projects/-work-repo/sessions-index.json"
    files = {a: prompt(), at: index(row("a", fullPath="/home/u/projects/-Work-Repo/a.jsonl"))}
    script = Script()
    for directory in ("projects", "projects/-work-repo"):
        script.mkdir(directory)
    script = written(*files.items(), "1", start=script)
    found = wrong(files, script, 1, "none", rules=Rules(case_sensitive=case_sensitive))
    assert [each for each, _ in found] == damage


def test_m6_a_writer_that_keeps_its_index_up_to_date_holds_in_every_state_across_a_month() -> None:
    script = written((A, b""), (AT, index(row("a"))))
    for number in range(4):
        at = T0 + number * 30 * DAY
        fd = script.open(A, append=True)
        script.write(fd, prompt(number, at))
        script.close(fd)
        script.replace(AT, index(row("a", at, number + 1)))
        script.ack(f"u{number}")
    judge = Judge(ALL, Expectation.from_trace(script.trace(), ALL), ("M6",))
    for fault_class in ("kill", "short"):
        assert explore(script.trace(), fault_class, judge.judge).violated == 0  # type: ignore[arg-type]


@given(st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_m6_exactly_the_differences_are_named(there: set[str], indexed: set[str]) -> None:
    files = {f"projects/p/{name}.jsonl": prompt() for name in there}
    files[AT] = index(*(row(name) for name in sorted(indexed)))
    found = dict(wrong(files, written(*files.items(), "1"), fault_class="none"))
    assert found.get("stale", ()) == tuple(sorted(there - indexed))
    assert found.get("other", ()) == tuple(sorted(indexed - there))
