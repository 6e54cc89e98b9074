"""Outlines tell sizes, digests and records, and never a word of what a file holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.content import content_of
from harness.core.json_record import encode_record
from harness.core.outline import ENTRIES_KEPT, RECORDS_KEPT, EntryOutline, entry_outline, outline_of
from harness.core.tree import File, build_tree, tree_of


def _outline(data: bytes) -> EntryOutline:
    return entry_outline("log.jsonl", File(content_of(data)), in_focus=True)


def test_forms() -> None:
    assert _outline(b"").form == "empty"
    assert _outline(bytes(5000)).form == "nul"
    assert _outline(b'{"a": 1}').form == "document"
    assert _outline(b'{"a": 1}\n').form == "records"
    assert entry_outline("log.jsonl", File(content_of(b"{}\n"))).form == "bytes"


def test_records_say_where_they_are_and_how_they_end() -> None:
    lines = [b'{"type": "user", "uuid": "u-1"}', b"nonsense", b'{"type"\0', b'{"type": "x", "i']
    found = _outline(b"\n".join(lines))
    assert [record.state for record in found.records] == ["whole", "not JSON", "nul", "torn"]
    assert (found.records[0].type, found.records[0].id) == ("user", "u-1")
    assert [record.offset for record in found.records] == [0, 32, 41, 50]
    assert found.record_count == 4


def test_a_type_or_id_that_is_no_plain_word_is_not_told() -> None:
    record = {"type": "what the user said", "uuid": "../../etc", "id": ["x"]}
    (only,) = _outline(json.dumps(record).encode() + b"\n").records
    assert (only.type, only.id, only.state) == ("", "", "whole")


def test_long_files_and_trees_are_bounded() -> None:
    many = _outline(b"{}\n" * 1000)
    assert (len(many.records), many.record_count) == (RECORDS_KEPT, 1000)
    assert [record.number for record in many.records] == [1, 2, 3, 4, 997, 998, 999, 1000]
    names = {f"f{number}": 1 for number in range(ENTRIES_KEPT + 7)}
    outline = outline_of(build_tree(names, {1: File(content_of(b"x"))}), "f9")
    assert (outline.entries[0].path, outline.left_out) == ("f9", 7)


@given(st.binary(min_size=64, max_size=400))
def test_no_content_is_in_an_outline(data: bytes) -> None:
    secret = "Zq" + data.hex() + " "
    told = encode_record(_outline(json.dumps({"type": secret, "text": secret}).encode() + b"\n" + data))
    assert secret not in told
    assert data.hex() not in told


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_pretty_printed_document_is_one_and_no_records(cut: int) -> None:
    whole = json.dumps({"theme": "dark", "list": [1, 2], "more": {"a": 1}}, indent=2).encode()
    outline = outline_of(tree_of({"settings.json": whole[: len(whole) - cut]}), "settings.json")
    assert outline.entries[0].form == "document"
    assert outline.entries[0].record_count == 0


def test_a_damaged_first_record_leaves_the_others_records() -> None:
    outline = outline_of(tree_of({"log.jsonl": b'{"a": 1\n{"b": 2}\n{"c": 3}\n'}), "log.jsonl")
    assert [record.state for record in outline.entries[0].records] == ["not JSON", "whole", "whole"]
