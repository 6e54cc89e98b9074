from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, REGISTRY, TRANSCRIPT, document_run, explored, judge, names

from harness.checks import Expectation, FileBinding, Judge
from harness.core.tree import tree_of
from harness.explore.script import Script

OLD = "p/11111111-1111-4111-8111-111111111111.jsonl"
NEW = "p/22222222-2222-4222-8222-222222222222.jsonl"
OTHER = "p/33333333-3333-4333-8333-333333333333.jsonl"


def lines(count: int, text: str = "hello") -> bytes:
    entry = {"type": "user", "message": {"role": "user", "content": text}}
    return b"".join(json.dumps({**entry, "n": n}).encode() + b"\n" for n in range(count))


def fork(count: int = 10, *, temporary: str = "") -> Script:
    script = Script(tree_of({OLD: lines(count)}))
    path = temporary or NEW
    fd = script.open(path)
    script.write(fd, lines(count))
    script.close(fd)
    if temporary:
        script.rename(temporary, NEW)
    script.ack("forked")
    return script


def w2(files: dict[str, bytes], script: Script | None = None, *, masked: bool = False) -> list[tuple[str, str]]:
    found = judge(script or fork(), TRANSCRIPT, files, 0, fault_class="errno", invariants="W2", masked=masked)
    return names(found)


# -- W2 ----------------------------------------------------------------------------------------------------------


def test_w2_a_fork_in_place_is_caught_torn_and_listed_and_empty() -> None:
    script = fork(200)
    found = explored(script, TRANSCRIPT)
    assert {("W2", "empty"), ("W2", "torn")} <= found


def test_w2_a_fork_by_rename_holds() -> None:
    assert not {i for i, _ in explored(fork(200, temporary=NEW + ".tmp"), TRANSCRIPT, "kill", "short")} & {"W2"}


def test_w2_the_old_session_and_a_whole_new_one_hold() -> None:
    assert w2({OLD: lines(10)}) == []
    assert w2({OLD: lines(10), NEW: lines(10)}) == []


@pytest.mark.parametrize(("count", "damage"), [(0, "empty"), (1, "torn"), (9, "torn")])
def test_w2_an_empty_or_partial_new_session(count: int, damage: str) -> None:
    assert w2({OLD: lines(10), NEW: lines(count)}) == [("W2", damage)]


@given(st.integers(0, 10), st.booleans())
def test_w2_any_missing_record_of_a_new_session_is_seen(count: int, masked: bool) -> None:
    name = OTHER if masked else NEW
    found = w2({OLD: lines(10), name: lines(count)}, masked=masked)
    assert bool(found) == (count < 10)


def test_w2_says_whether_a_reader_of_heads_and_tails_lists_it() -> None:
    listed = judge(fork(), TRANSCRIPT, {NEW: lines(3)}, 0, invariants="W2")[0]
    unlisted = judge(fork(), TRANSCRIPT, {NEW: b'{"n": 1}\n'}, 0, invariants="W2")[0]
    assert (listed.damage, ", listed" in listed.message) == ("torn", True)
    assert (unlisted.damage, "not listed" in unlisted.message) == ("unreadable", True)


def test_w2_a_name_of_another_run_is_extra_unless_masked() -> None:
    files = {OLD: lines(10), OTHER: lines(10)}
    assert w2(files) == [("W2", "extra")]
    assert w2(files, masked=True) == []


def test_w2_a_session_grown_record_by_record_is_whole_from_its_first() -> None:
    script = Script()
    for number in range(3):
        fd = script.open(NEW, append=True)
        script.write(fd, lines(1, str(number)))
        script.close(fd)
        script.ack(number)
    healed = FileBinding("p/*.jsonl", "transcript", torn_tail="healed")
    assert {i for i, _ in explored(script, healed, "kill", "short")} == set()
    assert {("W2", "empty")} == {f for f in explored(script, TRANSCRIPT) if f[0] == "W2"}


def test_w2_a_new_registry_entry_written_in_place_is_caught() -> None:
    script = Script()
    script.put("r/local_1.json", b'{"a": 1}')
    script.ack(1)
    assert ("W2", "empty") in explored(script, REGISTRY)
    assert names(judge(script, REGISTRY, {"r/local_1.json": b'{"a"'}, 0, invariants="W2")) == [("W2", "torn")]
    assert judge(script, REGISTRY, {"r/local_1.json": b'{"a": 1}'}, 0, invariants="W2") == []


# -- W3 ----------------------------------------------------------------------------------------------------------


def test_w3_a_temporary_file_is_information() -> None:
    found = judge(document_run(), DOCUMENT, {"state.json.tmp": b"{", "state.json": b'{"version": 1}\n'}, 1)
    assert [(v.invariant, v.damage, v.severity) for v in found] == [("W3", "litter", "information")]


def test_w3_temporaries_of_another_process_are_known_by_their_role() -> None:
    script = Script()
    for pid in (100, 101):
        script.replace("state.json", b"{}", suffix=f".tmp.{pid}")
    assert names(judge(script, DOCUMENT, {"state.json": b"{}", "state.json.tmp.999": b""}, 0)) == []


def test_w3_any_other_extra_name_is_damage() -> None:
    found = judge(document_run(), DOCUMENT, {"surprise": b""}, 0, fault_class="kill")
    assert names(found) == [("W3", "extra")]


def test_w3_a_binding_may_say_what_litter_is() -> None:
    litter = FileBinding("*.swp", "opaque", litter=True)
    found = judge(document_run(), (litter, DOCUMENT), {"x.swp": b""}, 0, fault_class="kill")
    assert [(v.damage, v.severity) for v in found] == [("litter", "information")]


def test_w3_a_temporary_that_readers_show_as_a_session_is_damage() -> None:
    script = fork(temporary="p/tmp-22222222-2222-4222-8222-222222222222.jsonl")
    found = explored(script, TRANSCRIPT)
    assert ("W3", "extra") in found
    assert ("W2", "empty") in found


@given(st.sets(st.sampled_from(["state.json", "state.json.tmp", "x", "y"])))
def test_w3_exactly_the_names_nobody_published_are_extra(present: set[str]) -> None:
    found = judge(document_run(), DOCUMENT, dict.fromkeys(present, b'{"version": 3}\n'), 0, invariants="W3")
    assert {v.path for v in found if v.severity == "violation"} == present - {"state.json", "state.json.tmp"}
    assert {v.path for v in found if v.severity == "information"} == present & {"state.json.tmp"}


def test_names_present_at_an_acknowledgement_are_published() -> None:
    script = Script()
    script.put("lock", b"1")
    script.ack(1)
    script.unlink("lock")
    assert judge(script, DOCUMENT, {"lock": b"1"}, 1) == []


# -- masked ------------------------------------------------------------------------------------------------------


def test_masked_lines_and_documents_compare_without_uuids_and_times() -> None:
    def entry(uuid: str, when: str) -> bytes:
        return json.dumps({"uuid": uuid, "at": when, "n": 1}).encode() + b"\n"

    ours = entry("22222222-2222-4222-8222-222222222222", "2025-01-01T00:00:00Z")
    theirs = entry("33333333-3333-4333-8333-333333333333", "2026-02-02T01:02:03.004Z")
    script = Script()
    script.mkdir("p")
    script.put(NEW, ours)
    script.replace("state.json", ours)
    script.ack("x")
    both = (TRANSCRIPT, DOCUMENT)
    files = {OTHER: theirs, "state.json": theirs}
    assert names(judge(script, both, files, 1, masked=True)) == []
    assert names(judge(script, both, {NEW: ours, "state.json": theirs}, 1, masked=False)) == [("M1", "reset")]
    changed = theirs.replace(b'"n": 1', b'"n": 2')
    found = names(judge(script, both, {OTHER: changed, "state.json": changed}, 1, masked=True))
    assert {("M1", "reset"), ("B5", "lost")} <= set(found)


def test_masked_acknowledgements_of_random_ids_are_on_script() -> None:
    script = Script()
    script.replace("state.json", b"{}")
    script.ack("22222222-2222-4222-8222-222222222222")
    expectation = Expectation.from_trace(script.trace(), (DOCUMENT,), masked=True)
    acks = ["33333333-3333-4333-8333-333333333333"]
    judged = Judge((DOCUMENT,), expectation).judge(tree_of({}), acks, "kill")
    assert names(judged) == [("M1", "missing")]
