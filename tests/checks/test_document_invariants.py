from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, document_run, explored, judge, names

from harness.checks import FileBinding
from harness.core.tree import tree_of
from harness.explore.script import Script


def version(number: int) -> bytes:
    return b'{"version": %d}\n' % number


@pytest.mark.parametrize("acked", [0, 1, 2, 3])
def test_m1_allows_the_last_acknowledged_version_and_newer_ones(acked: int) -> None:
    for number in range(1, 4):
        found = judge(document_run(), DOCUMENT, {"state.json": version(number)}, acked, invariants="M1")
        assert names(found) == ([] if number >= acked else [("M1", "stale")])


def test_m1_absence_is_a_version_until_the_first_acknowledgement() -> None:
    assert judge(document_run(), DOCUMENT, {}, 0, invariants="M1") == []
    assert names(judge(document_run(), DOCUMENT, {}, 1, invariants="M1")) == [("M1", "missing")]


@pytest.mark.parametrize(
    ("data", "damage"),
    [
        (b"", "empty"),
        (b"\0" * 16, "nul"),
        (b'{"version"', "torn"),
        (b"{}", "reset"),
        (b"{}\n", "reset"),
        (b"[]", "reset"),
        (version(2) + b"}", "torn"),
    ],
)
def test_m1_names_the_damage(data: bytes, damage: str) -> None:
    assert names(judge(document_run(), DOCUMENT, {"state.json": data}, 2, invariants="M1")) == [("M1", damage)]


def test_m1_only_white_space_at_the_end_may_differ() -> None:
    assert judge(document_run(), DOCUMENT, {"state.json": version(2).rstrip()}, 2, invariants="M1") == []
    assert names(judge(document_run(), DOCUMENT, {"state.json": version(1).rstrip()}, 2, invariants="M1"))


@given(st.integers(1, 3), st.integers(0, 20))
def test_m1_any_proper_prefix_is_torn(number: int, cut: int) -> None:
    whole = version(number).rstrip()
    data = whole[: cut % len(whole)]
    found = judge(document_run(), DOCUMENT, {"state.json": data}, 0, invariants="M1")
    assert names(found) == [("M1", "torn" if data else "empty")]


def test_m1_a_durable_writer_holds_and_a_naive_one_is_caught() -> None:
    assert explored(document_run(6), DOCUMENT, "kill", "short") == set()
    naive = explored(document_run(6, Script.put), DOCUMENT, "kill", "short")
    assert {("M1", "empty"), ("M1", "torn")} <= naive


def test_m1_a_window_without_the_document_is_missing() -> None:
    script = Script()
    for number in range(1, 4):
        script.put("new", version(number))
        if number > 1:
            script.unlink("state.json")
        script.rename("new", "state.json")
        script.ack(number)
    assert explored(script, DOCUMENT) == {("M1", "missing")}


def test_m1_a_document_whose_writer_keeps_it_open_is_published_by_the_acknowledgement() -> None:
    script = Script()
    fd = script.open("state.json")
    for number in range(1, 4):
        script.write(fd, version(number), at=0)
        script.ack(number)
    assert judge(script, DOCUMENT, {"state.json": version(2)}, 2, invariants="M1") == []
    assert explored(script, DOCUMENT) == {("M1", "empty")}  # between the open and the first write


def test_m1_content_between_two_writes_to_an_open_document_is_no_version() -> None:
    script = Script(tree_of({"state.json": b'{"a": 1}'}))
    fd = script.open("state.json", truncate=True)
    script.write(fd, b'{"a": ')
    script.write(fd, b"2}")
    script.close(fd)
    script.ack(1)
    found = judge(script, DOCUMENT, {"state.json": b'{"a": '}, 0, invariants="M1")
    assert names(found) == [("M1", "torn")]
    assert judge(script, DOCUMENT, {"state.json": b'{"a": 2}'}, 0, invariants="M1") == []


def test_m1_a_rename_of_a_file_still_open_is_published_when_it_is_closed() -> None:
    script = Script()
    fd = script.open("t")
    script.write(fd, b'{"a": 1}')
    script.rename("t", "state.json")
    assert judge(script, DOCUMENT, {"state.json": b'{"a": 1}'}, invariants="M1") == []  # the end of the run
    script.write(fd, b"\n\n")
    script.close(fd)
    torn = Script()
    fd = torn.open("t")
    torn.write(fd, b'{"a": ')
    torn.rename("t", "state.json")
    torn.write(fd, b"1}")
    torn.close(fd)
    assert ("M1", "torn") in explored(torn, DOCUMENT)


def test_m1_a_write_torn_by_a_fault_counts_as_it_was_meant() -> None:
    script = Script(tree_of({"state.json": b'{"a": 1}'}))
    fd = script.open("t")
    script.write(fd, b'{"a": 22}', landed=3)
    script.close(fd)
    script.rename("t", "state.json")
    assert judge(script, DOCUMENT, {"state.json": b'{"a": 22}'}, invariants="M1") == []
    assert names(judge(script, DOCUMENT, {"state.json": b'{"a'}, invariants="M1")) == [("M1", "torn")]


def test_m1_a_version_that_the_program_itself_published_broken_is_unreadable() -> None:
    script = Script()
    script.replace("state.json", b"{oops")
    script.ack(1)
    found = judge(script, DOCUMENT, {"state.json": b"{oops"}, 1, invariants="M1")
    assert names(found) == [("M1", "unreadable")]


def test_m1_documents_that_are_not_json_are_judged_by_version_alone() -> None:
    binary = FileBinding("state.json", "document", json=False)
    script = Script()
    script.replace("state.json", b"\0\1\2")
    script.ack(1)
    assert judge(script, binary, {"state.json": b"\0\1\2"}, 1) == []
    assert names(judge(script, binary, {"state.json": b"\0\1"}, 1)) == [("M1", "torn")]


def test_m1_a_program_off_script_may_have_versions_of_its_own() -> None:
    found = judge(document_run(), DOCUMENT, {"state.json": b'{"version": 13}'}, ["1", "3"], fault_class="errno")
    assert names(found) == []
    found = judge(document_run(), DOCUMENT, {"state.json": b'{"versio'}, ["1", "3"], fault_class="errno")
    assert names(found) == [("M1", "torn")]


def test_m1_a_document_back_at_an_earlier_content_is_not_stale() -> None:
    script = Script()
    for content in (b"1", b"2", b"1"):
        script.replace("state.json", content)
        script.ack("x")
    assert judge(script, DOCUMENT, {"state.json": b"1"}, 3, invariants="M1") == []
    assert names(judge(script, DOCUMENT, {"state.json": b"2"}, 3, invariants="M1")) == [("M1", "stale")]


@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=6), st.data())
def test_m1_versions_of_a_durable_writer_hold_at_their_acknowledgement(
    contents: list[bytes], data: st.DataObject
) -> None:
    binary = FileBinding("state.json", "document", json=False)
    script = Script()
    for content in contents:
        script.replace("state.json", content)
        script.ack("x")
    acked = data.draw(st.integers(1, len(contents)))
    assert judge(script, binary, {"state.json": contents[acked - 1]}, acked, invariants="M1") == []
    other = data.draw(st.binary(max_size=6))
    assert bool(judge(script, binary, {"state.json": other}, acked, invariants="M1")) == (
        other not in contents[acked - 1 :]
    )


def test_m1_an_acknowledgement_before_the_document_it_names_is_caught() -> None:
    early, late = Script(), Script()
    for number in range(1, 4):
        early.ack(number)
        early.replace("state.json", b'{"last": %d}' % number)
        late.replace("state.json", b'{"last": %d}' % number)
        late.ack(number)
    named = FileBinding("state.json", "document", id_key="last")
    assert explored(early, named) == {("M1", "missing"), ("M1", "stale")}
    assert explored(late, named) == set()
    assert explored(early, DOCUMENT) == set()  # nothing says what is acknowledged


def test_m1_a_temporary_file_that_matches_the_glob_is_not_the_document() -> None:
    script = Script()
    for number in range(3):
        script.replace("a.json", b'{"n": %d}' % number, suffix=".tmp.json")
        script.ack(number)
    assert explored(script, FileBinding("*.json", "document")) == set()


def test_m1_a_close_publishes_only_when_nobody_else_is_writing() -> None:
    script = Script(tree_of({"state.json": b'{"a": 1}'}))
    one, two = script.open("state.json", truncate=True), script.open("state.json")
    script.write(one, b'{"a": ')
    script.close(one)
    script.write(two, b"2}", at=6)
    script.close(two)
    assert names(judge(script, DOCUMENT, {"state.json": b'{"a": '}, invariants="M1")) == [("M1", "torn")]
