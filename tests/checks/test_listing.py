from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from trees import REGISTRY, TRANSCRIPT, names

from harness.checks import Expectation, judge_listing, sessions_to_resume
from harness.core.tree import tree_of
from harness.explore.script import Script

GOOD = b'{"sessionId": "x"}'
PROMPT = json.dumps({"type": "user", "message": {"role": "user", "content": "hi"}}).encode() + b"\n"
BOTH = (REGISTRY, TRANSCRIPT)


def registry(**entries: bytes):
    return tree_of({f"r/{name}.json": data for name, data in entries.items()})


def test_m4_holds_when_good_entries_are_listed_and_bad_ones_named() -> None:
    tree = registry(a=GOOD, b=b"\0\0\0", c=GOOD)
    assert judge_listing(tree, BOTH, ["a", "c"], ["cannot read r/b.json"], fault_class="kill") == ()


def test_m4_a_bad_entry_must_be_named() -> None:
    assert names(judge_listing(registry(a=GOOD, b=b""), BOTH, ["a"])) == [("M4", "silent")]
    assert names(judge_listing(registry(a=GOOD, b=b""), BOTH, ["a"], ["something is wrong"])) == [("M4", "silent")]


def test_m4_a_bad_entry_must_hide_no_other() -> None:
    found = judge_listing(registry(a=GOOD, b=b"{", c=GOOD), BOTH, [], ["b is broken"])
    assert [(v.damage, v.ids) for v in found] == [("missing", ("a",)), ("missing", ("c",))]


def test_m4_torn_transcripts_want_a_warning_unless_the_opener_heals_them() -> None:
    tree = tree_of({"p/s.jsonl": PROMPT + b'{"type"'})
    assert names(judge_listing(tree, BOTH, ["s"])) == [("M4", "silent")]
    healed = (REGISTRY, type(TRANSCRIPT)("p/*.jsonl", "transcript", torn_tail="healed"))
    assert judge_listing(tree, healed, ["s"]) == ()


def test_m4_a_transcript_no_lister_would_show_need_not_be_listed() -> None:
    assert judge_listing(tree_of({"p/s.jsonl": b'{"type": "assistant"}\n'}), BOTH, []) == ()


def test_m4_is_not_defined_under_errno() -> None:
    assert judge_listing(registry(a=b""), BOTH, [], fault_class="errno") == ()


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([GOOD, b"", b"{", b"\0\0", b"[]"])), st.data())
def test_m4_holds_exactly_for_the_honest_listings(entries: dict[str, bytes], data: st.DataObject) -> None:
    good = {name for name, content in entries.items() if content == GOOD}
    bad = set(entries) - good
    listed = data.draw(st.sets(st.sampled_from(sorted(good)))) if good else set()
    warned = data.draw(st.sets(st.sampled_from(sorted(bad)))) if bad else set()
    found = judge_listing(registry(**entries), BOTH, listed, [f"r/{name}.json" for name in warned])
    assert {v.ids[0] for v in found} == (good - listed) | (bad - warned)


def test_w2_a_half_made_session_must_not_be_shown() -> None:
    script = Script()
    script.put("p/s.jsonl", PROMPT * 3)
    expectation = Expectation.from_trace(script.trace(), BOTH)
    tree = tree_of({"p/s.jsonl": PROMPT})
    shown = judge_listing(tree, BOTH, ["s"], expectation=expectation, invariants=("W2",))
    assert names(shown) == [("W2", "torn")]
    assert judge_listing(tree, BOTH, [], expectation=expectation, invariants=("W2",)) == ()
    assert judge_listing(tree, BOTH, ["s"], invariants=("W2",)) == ()


# -- M10 ---------------------------------------------------------------------------------------------------------

SESSION = {"p/a.jsonl": PROMPT, "r/local_a.json": b'{"sessionId": "local_a", "cliSessionId": "a"}'}


def reached(
    files: dict[str, bytes], listed: list[str] | None, *warned: str, **more: object
) -> list[tuple[str, str]]:
    script = Script()
    for directory in ("p", "r"):
        script.mkdir(directory)
    for path, data in SESSION.items():
        script.replace(path, data)
    script.ack(1)
    expectation = Expectation.from_trace(script.trace(), BOTH)
    found = judge_listing(
        tree_of(files),
        BOTH,
        listed,
        warned,
        expectation=expectation,
        invariants=("M10", "M4"),
        **more,  # type: ignore[arg-type]
    )
    return names(found)


DAMAGED = {**SESSION, "r/local_a.json": b"\0" * 9}


def test_m10_either_id_of_a_session_stands_for_it() -> None:
    for listed in (["local_a"], ["a"]):
        for asked in ("a", "local_a"):
            assert reached(SESSION, listed, resumed={asked: True}, acked=1) == []


def test_m10_a_damaged_registry_entry_hides_an_intact_transcript() -> None:
    assert reached(DAMAGED, [], resumed={"a": False}, acked=1) == [("M4", "silent"), ("M10", "unreadable")]
    assert reached(DAMAGED, [], "no: x", resumed={"a": False}, acked=1) == [
        ("M4", "silent"),
        ("M10", "unreadable"),
    ]
    # Named, the user can act; but a session that no id resumes is out of reach whatever the lister says.
    assert reached(DAMAGED, [], "r/local_a.json", resumed={"a": True}, acked=1) == []
    assert reached(DAMAGED, [], "r/local_a.json", resumed={"a": False}, acked=1) == [("M10", "unreadable")]


def test_m10_found_with_a_warning_or_by_the_transcript_alone() -> None:
    assert reached(DAMAGED, ["a"], "r/local_a.json", resumed={"a": True}, acked=1) == []
    assert reached({"p/a.jsonl": PROMPT}, ["a"], resumed={"a": True}, acked=1) == []
    assert reached({"p/a.jsonl": PROMPT}, [], resumed={"a": True}, acked=1) == [("M10", "unreadable")]


def test_m10_listed_but_not_resumed() -> None:
    assert reached(SESSION, ["a"], resumed={"a": False}, acked=1) == [("M10", "unreadable")]
    assert reached(SESSION, ["a"], acked=1) == []
    assert reached(SESSION, None, resumed={"a": False}, acked=1) == [("M10", "unreadable")]
    assert reached(SESSION, None, acked=1) == []


def test_m10_a_session_being_made_is_in_flight() -> None:
    assert reached({"p/a.jsonl": PROMPT}, [], acked=0) == []
    assert reached({"p/a.jsonl": PROMPT}, []) == [("M10", "unreadable")]


def test_m10_damaged_transcripts_side_files_and_sessions_without_a_prompt_are_not_judged() -> None:
    files = {"p/b.jsonl": PROMPT[:9], "p/agent-c.jsonl": PROMPT, "p/d.jsonl": b'{"type": "assistant"}\n'}
    found = judge_listing(tree_of(files), BOTH, [], invariants=("M10",))
    assert found == ()


def test_the_sessions_to_resume_are_the_intact_ones_the_struck_ones_first() -> None:
    files = {f"p/{name}.jsonl": PROMPT for name in "abc"} | {"p/torn.jsonl": PROMPT[:5]}
    entry = b'{"sessionId": "local_c", "cliSessionId": "c"}'
    start = tree_of({**files, "r/local_c.json": entry})
    assert sessions_to_resume(start, BOTH, start) == ("a", "b", "c")
    assert sessions_to_resume(tree_of({**files, "r/local_c.json": b""}), BOTH, start) == ("c", "a", "b")


@given(st.sets(st.sampled_from("ab")), st.dictionaries(st.sampled_from("ab"), st.booleans()), st.booleans())
def test_m10_holds_exactly_where_all_are_reached(listed: set[str], resumed: dict[str, bool], warned: bool) -> None:
    tree = tree_of({"p/a.jsonl": PROMPT, "p/b.jsonl": PROMPT})
    found = judge_listing(tree, BOTH, listed, ["a"] if warned else [], resumed=resumed, invariants=("M10",))
    named = listed | ({"a"} if warned else set())
    bad = {name for name in "ab" if name not in named or not resumed.get(name, True)}
    assert {v.ids[0] for v in found} == bad
