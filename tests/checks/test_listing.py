from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from trees import REGISTRY, TRANSCRIPT, names

from harness.checks import Expectation, judge_listing
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
