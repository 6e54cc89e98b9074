"""Explaining bytes alone: the table, the patterns of the wild, and what holds for any bytes."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from conversations import Tale, result, use
from hypothesis import example, given
from hypothesis import strategies as st
from test_explain_scan import STYLES, VALUES, encoded

from harness.checks.explain import CAUSES, RULES, Explanation, document, explain, records
from harness.checks.explain.prevention import prevention
from harness.core.fault import FAULT_CLASSES, PAGE_BYTES

DOCUMENT = json.dumps(
    {"sessionId": "local_x", "title": "a title", "turns": [{"n": n, "text": "word " * 9} for n in range(400)]}
).encode()
OLDER = json.dumps({f"key{n}": n for n in range(1500)}).encode()
RECORDS = b"".join(json.dumps({"type": "note", "n": n, "text": "é" * n}).encode() + b"\n" for n in range(20))
LINE = RECORDS.splitlines(keepends=True)


def answers(found: Explanation) -> dict[str, str]:
    return {answer.cause: answer.answer for answer in found.causes}


def patterns(found: Explanation) -> list[str]:
    return [item.pattern for item in found.seen]


# The table.


@pytest.mark.parametrize("pattern", sorted(RULES))
def test_every_row_answers_for_every_cause_and_tells_causes_apart(pattern: str) -> None:
    row = RULES[pattern]
    assert set(row) == set(CAUSES)
    assert "could" in {answer for answer, _ in row.values()}
    assert {answer for answer, _ in row.values()} != {"could"}
    assert all(why[:1].islower() or why.startswith("SQLite") for _, why in row.values())


def test_causes_are_the_fault_classes_of_the_glossary() -> None:
    told = {name for answer in explain(b"", "x.json").causes for name in answer.fault_classes}
    assert told - {"none"} == set(FAULT_CLASSES) - {"damage"}


def test_each_cause_has_a_remedy_for_each_shape() -> None:
    for cause in CAUSES:
        assert prevention([cause], "records", ()) != prevention([cause], "document", ())


# What is seen in the wild, and how it is told.

SEEN: list[tuple[str, bytes, str, str, str, str]] = [
    # name, bytes, pattern, a cause that could, one that could not, what the evidence says
    ("local_1.json", bytes(144_258), "nul_all/exact", "power", "kill", "size 144,258, not a multiple of 4,096"),
    ("a.json", bytes(20_480), "nul_all/blocks", "power", "concurrency", "a multiple of 4,096"),
    ("a.json", b"", "empty", "power", "concurrency", "no bytes"),
    ("a.json", b" \n", "empty", "kill", "concurrency", "white space"),
    ("a.jsonl", b"\n\n", "empty", "kill", "concurrency", "blank lines"),
    ("a.json", DOCUMENT[:2500] + bytes(1596), "nul_tail", "power", "kill", "from offset 2,500"),
    ("a.json", DOCUMENT[:8192] + bytes(500), "nul_tail", "power", "disk_full", "a multiple of 8 KiB"),
    ("a.json", DOCUMENT + b"\0", "nul_tail/one", "program", "kill", "the last 1 of"),
    ("a.json", bytes(4096) + DOCUMENT[4096:], "nul_hole/page", "power", "kill", "the first 4,096 bytes"),
    ("a.json", DOCUMENT[:99] + bytes(413) + DOCUMENT[512:], "nul_hole/page", "power", "kill", "offset 99"),
    ("a.jsonl", bytes(len(LINE[0])) + LINE[1], "nul_hole/record", "concurrency", "kill", "a record begins"),
    (
        "a.json",
        DOCUMENT[:99] + bytes(7) + DOCUMENT[106:],
        "nul_hole/any",
        "concurrency",
        "kill",
        "within the file 7",
    ),
    ("a.json", DOCUMENT[:8192], "cut/page", "kill", "program", "a multiple of 8 KiB"),
    ("a.json", DOCUMENT[:4608], "cut/block", "disk_full", "program", "a multiple of 512"),
    ("a.json", DOCUMENT[: DOCUMENT.index(b'"title"')], "cut/token", "kill", "program", "between two tokens"),
    ("a.json", DOCUMENT[: DOCUMENT.index(b"ord word")], "cut/inside", "disk_full", "program", "within a token"),
    ("a.json", b'{"a":"\xc3', "cut/inside", "disk_full", "program", "within a character"),
    ("a.json", b'{"a":"' + b"x" * 524_288, "cut/inside", "disk_full", "program", "not a multiple of 512"),
    ("a.json", (b'{"a":"' + b"x" * 524_288)[:524_288], "cut/page", "kill", "program", "Node's writeFile"),
    ("a.json", DOCUMENT[:4096] + DOCUMENT, "glued/page", "kill", "program", "a whole one begins there"),
    ("a.json", b'{"a":1}' + DOCUMENT[-90:], "old_tail", "concurrency", "disk_full", "closes what it did not open"),
    ("a.json", b'{"a":1}xyz', "old_tail", "program", "disk_full", "a whole document of 7 bytes"),
    ("a.json", DOCUMENT + DOCUMENT, "glued_documents", "program", "kill", "2 whole documents"),
    ("a.json", b"{}" * 50, "glued_documents", "program", "kill", "more than 8"),
    (
        "a.json",
        DOCUMENT[:8192] + OLDER[8192:],
        "mixed/page",
        "power",
        "program",
        "behind the page boundary at 8,192",
    ),
    ("a.json", DOCUMENT[:300] + OLDER[300:], "mixed/early", "concurrency", "power", "no page boundary"),
    ("a.json", DOCUMENT[900:], "headless", "disk_full", "", "do not begin like one"),
    ("a.json", b'{"a":NaN}', "not_strict", "program", "kill", "at byte 5"),
    ("a.json", b'{"a":1,}', "not_strict", "program", "power", "at byte 7"),
    ("a.json", b'{"a":1} // old', "old_tail", "program", "disk_full", "7 bytes"),
    ("a.json", b"\xef\xbb\xbf{}", "encoding", "program", "kill", "byte order mark"),
    ("a.json", '{"a":1}'.encode("utf-16"), "encoding", "program", "kill", "UTF-16"),
    ("a.json", '{"a":"é"}'.encode("latin-1"), "encoding", "program", "kill", "8-bit"),
    ("a.json", b"<html></html>", "misnamed", "program", "kill", "HTML"),
    ("a.jsonl", RECORDS[:-5], "torn_tail/inside", "disk_full", "program", "line 20"),
    ("a.jsonl", LINE[0] + b'{"t":"' + b"x" * 8186, "torn_tail/piece", "kill", "program", "a multiple of 8 KiB"),
    ("a.jsonl", LINE[0] + LINE[1][:13] + LINE[2], "glued/inside", "kill", "concurrency", "on the same line"),
    (
        "a.jsonl",
        LINE[0] + LINE[1][:13] + b"\n" + LINE[2],
        "stub/inside",
        "kill",
        "concurrency",
        "the line ends there",
    ),
    (
        "a.jsonl",
        LINE[0] + LINE[1][:13] + LINE[2] + LINE[1][13:] + LINE[3],
        "interleaved",
        "concurrency",
        "kill",
        "together they are whole",
    ),
    ("a.jsonl", LINE[0] + LINE[9][30:] + LINE[2], "headless", "concurrency", "", "end of a longer one"),
    (
        "a.jsonl",
        LINE[0] + LINE[1][:-1] + LINE[2] + LINE[3],
        "no_newline_between",
        "kill",
        "concurrency",
        "two whole records",
    ),
    (
        "a.jsonl",
        LINE[0] + LINE[1][:-1] + LINE[2] + b"\n" + LINE[3],
        "newlines_swapped",
        "concurrency",
        "kill",
        "stands behind both",
    ),
    (
        "a.jsonl",
        LINE[0][:-1] + LINE[9][-9:] + LINE[1],
        "old_tail",
        "concurrency",
        "disk_full",
        "end of something longer",
    ),
    ("a.jsonl", LINE[0] + b'{"a":NaN}\n', "not_strict", "program", "kill", "line 2"),
    ("a.jsonl", LINE[0] + b"[1]\n", "misnamed", "program", "kill", "no object"),
    ("a.txt", "é".encode()[:1], "cut/inside", "disk_full", "program", "within a character"),
]


@pytest.mark.parametrize(("name", "data", "pattern", "could", "not_", "says"), SEEN, ids=[row[2] for row in SEEN])
def test_patterns(name: str, data: bytes, pattern: str, could: str, not_: str, says: str) -> None:
    found = explain(data, name)
    assert found.state == "damaged"
    assert pattern in patterns(found)
    assert answers(found)[could] == "could"
    if not_:  # a piece without its beginning: every cause is thinkable for some writer
        assert answers(found)[not_] == "could not"
    assert says in found.summary
    assert found.prevention


def test_what_the_issue_of_the_nul_registry_is_told() -> None:
    found = explain(bytes(144_258), "local_1.json")
    by_cause = {answer.cause: answer for answer in found.causes}
    assert "ntfs" in by_cause["power"].file_systems
    assert by_cause["kill"].why.startswith("a kill loses nothing that write() accepted")
    assert not by_cause["kill"].file_systems
    assert any("fsync(temporary) before the rename" in line for line in found.prevention)


def test_damages_that_have_no_single_cause() -> None:
    found = explain(LINE[0] + LINE[1][:13] + LINE[2] + LINE[1][13:] + bytes(80), "a.jsonl")
    assert patterns(found) == ["nul_tail", "interleaved"]
    assert found.several
    assert (answers(found)["power"], answers(found)["concurrency"]) == ("could", "could")


def test_one_cause_must_make_all_that_is_seen() -> None:
    found = explain(RECORDS[:-5].replace(b'"n": 3', b'"n": NaN'), "a.jsonl")
    assert patterns(found) == ["not_strict", "torn_tail/inside"]
    assert found.several
    glued = explain(LINE[0] + LINE[1][:13] + LINE[2] + LINE[3][:13], "a.jsonl")
    assert patterns(glued) == ["glued/inside", "torn_tail/inside"]
    assert not glued.several
    assert (answers(glued)["kill"], answers(glued)["concurrency"]) == ("could", "could not")


def test_the_same_damage_in_many_lines_is_told_once() -> None:
    found = explain((LINE[1][:13] + b"\n") * 1000, "a.jsonl")
    (item,) = found.seen
    assert (item.pattern, item.times, item.line) == ("stub/inside", 1000, 1)


# Names and shapes.


@pytest.mark.parametrize(
    ("name", "data", "shape", "state"),
    [
        ("x.json.tmp.123", b"{}", "document", "sound"),
        (".claude.json.backup.17", b"{}", "document", "sound"),
        ("C:\\a.jsonl\\x.json", b"{}", "document", "sound"),
        ("x.JSONL", b"{}\n", "records", "sound"),
        ("x.ndjson", b"{}\r\n{}\r\n", "records", "sound"),
        ("x.jsonl", b"{}", "records", "sound"),
        ("x.jsonl", b'{\n "a": 1\n}\n', "records", "sound"),
        ("-", b'{"a":1}\n{"a":2}\n', "records", "sound"),
        ("-", b'{"a":1}\n{"a', "records", "damaged"),
        ("-", b'{\n "a":1}', "document", "sound"),
        ("-", b"[1,", "document", "damaged"),
        ("-", bytes(100), "unknown", "damaged"),
        ("-", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "binary", "not judged"),
        ("-", b"some words\n", "text", "not judged"),
        ("-", b"some words\n" + bytes(500), "text", "damaged"),
        ("-", "words".encode("utf-16"), "text", "not judged"),
        ("x.db", b"no database, encrypted say", "binary", "not judged"),
        ("x.db", bytes(4096) + b"x" * 4096, "sqlite", "damaged"),
        ("x.db-wal", b"", "binary", "not judged"),
        ("x.db-journal", bytes(512), "binary", "not judged"),
    ],
)
def test_what_a_file_is_taken_for(name: str, data: bytes, shape: str, state: str) -> None:
    found = explain(data, name)
    assert (found.shape, found.state) == (shape, state)


def test_a_shape_that_is_given_wins() -> None:
    assert explain(b"{}\n{}\n", "x.json").state == "damaged"
    assert explain(b"{}\n{}\n", "x.json", "records").state == "sound"


def test_a_sound_file_may_be_old_and_its_doubtful_sides_are_notes() -> None:
    assert "old version" in explain(DOCUMENT, "a.json").summary
    twice = explain(b'{"a":1,"b":{"c":1,"c":2},"a":2}', "a.json")
    assert (twice.state, twice.notes[0][:12]) == ("sound", "2 keys stand")
    assert "no newline" in explain(b'{"a":1}\n{"a":2}', "a.jsonl").notes[0]


# Conversations: what the existing checks find is evidence.


def told(build: Callable[[Tale], None]) -> Explanation:
    tale = Tale()
    tale.user("go")
    build(tale)
    data = b"".join(json.dumps(record).encode() + b"\n" for record in tale.records)
    return explain(data, "s0.jsonl")


def _sound(tale: Tale) -> None:
    tale.assistant(use("toolu_a"), use("toolu_b"))
    tale.user(result("toolu_a"), result("toolu_b"))
    tale.assistant("done")


def _open(tale: Tale) -> None:
    tale.assistant(use("toolu_a"))


def _begun(tale: Tale) -> None:
    tale.assistant(use("toolu_a"), use("toolu_b"))
    tale.user(result("toolu_a"))


def _lost_alive(tale: Tale) -> None:
    tale.assistant(use("toolu_a"), use("toolu_b"))
    tale.user(result("toolu_a"))
    tale.assistant("done")


def _resumed(tale: Tale) -> None:
    tale.assistant(use("toolu_a"))
    tale.user("go on")
    tale.assistant("done")


def _parent_gone(tale: Tale) -> None:
    tale.user("orphan", parent="00000000-0000-4000-8000-999999999999")


def _twice(tale: Tale) -> None:
    tale.records.append(dict(tale.records[-1]))


def _cycle(tale: Tale) -> None:
    tale.user("one", parent="00000000-0000-4000-8000-000000000003")
    tale.user("two")


def test_a_sound_conversation_is_sound() -> None:
    assert told(_sound).state == "sound"


@pytest.mark.parametrize(
    ("build", "pattern", "could", "not_"),
    [
        (_open, "open_turn/last", "signal", "concurrency"),
        (_begun, "open_turn/begun", "concurrency", ""),
        (_lost_alive, "result_lost_alive", "concurrency", "kill"),
        (_resumed, "result_missing", "kill", ""),
        (_parent_gone, "record_missing", "concurrency", "kill"),
        (_twice, "record_twice", "concurrency", "power"),
        (_cycle, "order", "concurrency", "kill"),
    ],
)
def test_conversations(build: Callable[[Tale], None], pattern: str, could: str, not_: str) -> None:
    found = told(build)
    assert patterns(found) == [pattern]
    assert answers(found)[could] == "could"
    assert not not_ or answers(found)[not_] == "could not"


def test_ids_are_evidence_and_words_are_not() -> None:
    found = told(_lost_alive)
    assert found.seen[0].ids == ("toolu_b",)
    assert "go" not in re.findall(r"\w+", found.seen[0].what)


# SQLite, roughly.


@pytest.fixture(scope="module")
def database() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 100)
        connection.commit()
        return connection.serialize()


def test_databases_are_judged_roughly(database: bytes) -> None:
    sound = explain(database, "a")
    assert (sound.shape, sound.state) == ("sqlite", "sound")
    assert "integrity_check" in sound.notes[0]
    assert patterns(explain(database[:-PAGE_BYTES], "a.db")) == ["sqlite_short/page"]
    assert patterns(explain(database[:-7], "a.db")) == ["sqlite_short/inside"]
    assert patterns(explain(database[:50], "a.db")) == ["sqlite_short/inside"]
    holed = database[: 2 * PAGE_BYTES] + bytes(PAGE_BYTES) + database[3 * PAGE_BYTES :]
    assert answers(explain(holed, "a.db"))["kill"] == "could not"
    assert explain(database[:16] + b"\0\3" + database[18:], "a.db").state == "damaged"


# What holds for any bytes.

OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


@given(st.lists(VALUES) | OBJECTS, STYLES)
def test_an_undamaged_document_is_sound(value: Any, style: dict[str, Any]) -> None:
    assert explain(encoded(value, style), "a.json").state == "sound"


@given(st.lists(OBJECTS, min_size=1), st.booleans())
def test_undamaged_records_are_sound(values: list[Any], ascii_: bool) -> None:
    data = b"".join(encoded(value, {"ensure_ascii": ascii_}) + b"\n" for value in values)
    found = explain(data, "a.jsonl")
    assert found.state == "sound", found.summary
    assert explain(data.removesuffix(b"\n"), "a.jsonl").state == "sound"


@given(st.lists(VALUES, min_size=1) | st.dictionaries(st.text(), VALUES, min_size=1), STYLES, st.data())
def test_any_cut_of_a_document_is_damage(value: Any, style: dict[str, Any], draw: st.DataObject) -> None:
    data = encoded(value, style)
    found = explain(data[: draw.draw(st.integers(0, len(data) - 1))], "a.json")
    assert found.state == "damaged"
    assert answers(found)["disk_full"] == "could"


@given(st.lists(OBJECTS, min_size=1), st.booleans(), st.data())
def test_any_cut_of_records_but_between_them_is_damage(
    values: list[Any], ascii_: bool, draw: st.DataObject
) -> None:
    lines = [encoded(value, {"ensure_ascii": ascii_}) for value in values]
    data = b"".join(line + b"\n" for line in lines)
    size = draw.draw(st.integers(0, len(data)))
    ends = {
        sum(len(line) + 1 for line in lines[:count]) - back
        for count in range(1, len(lines) + 1)
        for back in (0, 1)
    }
    between = size in {*ends, *(end + 1 for end in ends if end + 1 < len(data) and data[end : end + 1] == b"\n")}
    found = explain(data[:size], "a.jsonl")
    assert (found.state == "sound") == between, (size, found.summary)


NAMES = st.sampled_from(["a.json", "a.jsonl", "a.db", "a.txt", "-", "\udcff\x1b[0m.json", ""])


@given(st.binary(max_size=300), NAMES)
@example(b"SQLite format 3\0" + b"\0" * 200, "a.db")
@example(b'{"type":"user","uuid":"u","parentUuid":1,"message":{"content":[{"type":"tool_use"}]}}\n', "a.jsonl")
def test_no_bytes_are_too_strange(data: bytes, name: str) -> None:
    found = explain(data, name)
    assert found.size == len(data)
    assert (found.state == "damaged") == any(item.causes for item in found.seen)


@given(st.text(alphabet='{}[]":,\\ \n\0u0e1-+.tfnaé', max_size=80).map(str.encode), NAMES)
def test_no_text_is_too_strange(data: bytes, name: str) -> None:
    found = explain(data, name)
    for item in found.seen:
        assert 0 <= item.offset <= len(data)
        assert len(item.causes) == len(CAUSES)


@given(st.text(alphabet="qwxyz", min_size=8, max_size=30), st.integers(0, 60), NAMES)
def test_no_content_is_quoted(secret: str, cut: int, name: str) -> None:
    data = json.dumps({"a": secret, secret: [1, secret], "b": None}).encode()
    for damaged in (
        data[:cut],
        data + data[cut:],
        data[cut:],
        data[:cut] + b"\0" + data[cut:],
        data.replace(b",", b""),
    ):
        found = explain(damaged, name)
        told_ = " ".join([found.summary, *found.notes, *(item.what for item in found.seen)])
        assert secret not in told_


STRANGE: list[tuple[str, Callable[[int], bytes]]] = [
    ("a.json", lambda n: b"[" * n),
    ("a.json", lambda n: b"{}" * (n // 2)),
    ("a.json", lambda n: b'{"a":"' + b'{"a":"' * (n // 6)),
    ("a.json", lambda n: b"\0x" * (n // 2)),
    ("a.json", lambda n: b"[" + b"1," * (n // 2) + b"x"),
    ("a.jsonl", lambda n: b'{"a":"' * (n // 6) + b"\n"),
    ("a.jsonl", lambda n: b'{"a":\n' * (n // 6)),
    ("a.jsonl", lambda n: (b'{"a":"\n' + b'b"}\n') * (n // 12)),
    ("a.jsonl", lambda n: b"\n" * n),
    ("a.jsonl", lambda n: b"{}x\n" * (n // 4)),
    ("a.json", lambda n: b'["' + b"\\" * n),
    ("a.json", lambda n: b'["' + b"\\u00e9" * (n // 6)),
    ("a.json", lambda n: b"\xff" * n),
]


@pytest.mark.parametrize(("name", "make"), STRANGE, ids=[str(number) for number in range(len(STRANGE))])
def test_the_work_grows_with_the_size_alone(
    name: str, make: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: how many bytes are scanned for a file of one size and of four times that."""
    scanned = 0
    real = document.scan

    def counting(data: bytes) -> Any:
        nonlocal scanned
        scanned += len(data)
        return real(data)

    monkeypatch.setattr(document, "scan", counting)
    monkeypatch.setattr(records, "scan", counting)
    work = []
    for size in (6_000, 24_000):
        scanned = 0
        explain(make(size), name)
        work.append(scanned)
    assert work[1] <= 4 * work[0] + 24_000
    assert work[1] <= 40 * 24_000
