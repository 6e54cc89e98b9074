from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from trees import document_run, log_run, names, record

from harness.checks import Expectation, Judge, infer_bindings
from harness.core.operation import Map
from harness.core.tree import tree_of
from harness.explore import explore
from harness.explore.script import Script


def formats(script: Script) -> dict[str, tuple[str, bool]]:
    return {b.glob: (b.format, b.json) for b in infer_bindings(script.trace())}


def violated(script: Script, *classes: str) -> set[tuple[str, str]]:
    trace = script.trace()
    bindings = infer_bindings(trace)
    found: set[tuple[str, str]] = set()
    for fault_class in classes or ("kill", "short"):
        groups = explore(trace, fault_class, Judge(bindings, Expectation.from_trace(trace, bindings)).judge).groups  # type: ignore[arg-type]
        found |= {(g.invariant, g.damage) for g in groups if g.severity == "violation"}
    return found


def test_a_file_opened_to_append_is_a_log() -> None:
    assert formats(log_run()) == {"log.jsonl": ("log", True)}


def test_a_file_extended_after_an_acknowledgement_is_a_log() -> None:
    script = Script()
    fd = script.open("events")
    for number in (1, 2):
        script.write(fd, record(number))
        script.ack(number)
    assert formats(script) == {"events": ("log", True)}


def test_a_file_written_in_one_open_is_a_document() -> None:
    script = Script()
    fd = script.open("state.json")
    for piece in (b'{"a":', b"1", b"}"):
        script.write(fd, piece)
    script.close(fd)
    script.ack(1)
    assert formats(script) == {"state.json": ("document", True)}
    assert formats(document_run()) == {"state.json": ("document", True)}
    assert formats(document_run(3, Script.put)) == {"state.json": ("document", True)}


def test_a_document_rewritten_from_its_start_and_cut_is_a_document() -> None:
    script = Script(tree_of({"state.json": b'{"a": "long"}'}))
    fd = script.open("state.json")
    script.write(fd, b'{"a":', at=0)
    script.write(fd, b" 1}", at=5)
    script.truncate(fd, 8)
    script.close(fd)
    assert formats(script) == {"state.json": ("document", True)}
    assert ("M1", "torn") in violated(script)


def test_logs_and_documents_that_are_not_json_are_judged_by_order_and_version() -> None:
    script = Script()
    for number in range(1, 4):
        fd = script.open("plain.log", append=True)
        script.write(fd, b"line %d\n" % number)
        script.close(fd)
        script.replace("blob", bytes([0, number, 255]))
        script.ack(number)
    assert formats(script) == {"blob": ("document", False), "plain.log": ("log", False)}
    assert violated(script, "kill") == set()
    bindings = infer_bindings(script.trace())
    judged = Judge(bindings, Expectation.from_trace(script.trace(), bindings))
    torn = tree_of({"blob": b"\0\1", "plain.log": b"line 2\n"})
    assert {("M1", "torn"), ("B6", "hole"), ("B5", "lost")} <= set(names(judged.judge(torn, 1, "kill")))


def test_a_binary_log_without_lines_is_a_prefix_of_itself() -> None:
    script = Script()
    fd = script.open("frames", append=True)
    for number in range(1, 5):
        script.write(fd, bytes([number, 10, 0, number]))
        script.ack(number)
    assert formats(script) == {"frames": ("log", False)}
    assert violated(script) == set()
    bindings = infer_bindings(script.trace())
    judged = Judge(bindings, Expectation.from_trace(script.trace(), bindings))
    assert names(judged.judge(tree_of({"frames": b"\1\n\0\1\2\n\0X"}), 1, "kill"))


def sqlite_like() -> Script:
    script = Script()
    db = script.open("store.db")
    script.write(db, b"SQLite format 3\0" + bytes(4080))
    script.write(db, b"p" * 4096, at=4096)
    for number in range(1, 6):
        journal = script.open("store.db-journal")
        script.write(journal, b"old page")
        script.fsync(journal)
        script.close(journal)
        script.write(db, b"q" * number, at=4096 + number)
        script.write(db, b"h", at=24)
        script.fsync(db)
        script.unlink("store.db-journal")
        wal = script.open("store.db-wal")
        script.write(wal, b"frame" * number, at=0)
        script.write(wal, b"frame", at=500)
        script.close(wal)
        script.ack(number)
    return script


def test_a_database_and_what_lies_beside_it_are_opaque_and_raise_no_alarm() -> None:
    assert formats(sqlite_like()) == {"store.db": ("opaque", True), "store.db-wal": ("opaque", True)}
    assert violated(sqlite_like()) == set()
    bindings = infer_bindings(sqlite_like().trace())
    judged = Judge(bindings, Expectation.from_trace(sqlite_like().trace(), bindings))
    assert "2 opaque" in judged.measured("M1", "kill")


def test_a_mapped_or_unseen_file_is_opaque() -> None:
    script = document_run()
    trace = script.trace()
    ino = trace.operations[-1].seq + 1
    mapped = Map(seq=ino, ino=script.tree.names["state.json"], what="mmap")
    with_map = msgspec.structs.replace(trace, operations=(*trace.operations, mapped))
    assert [b.format for b in infer_bindings(with_map)] == ["opaque"]
    unseen = msgspec.structs.replace(trace, unseen_paths=("state.json",))
    assert [b.format for b in infer_bindings(unseen)] == ["opaque"]


def test_names_that_differ_between_runs_are_bound_by_role_too() -> None:
    script = Script()
    script.put("11111111-1111-4111-8111-111111111111.json", b"{}")
    assert formats(script) == {
        "11111111-1111-4111-8111-111111111111.json": ("document", True),
        "*.json": ("document", True),
    }


def test_special_characters_of_globs_in_names_are_taken_literally() -> None:
    script = Script()
    script.put("a[b]*?.json", b"{}")
    bindings = infer_bindings(script.trace())
    judged = Judge(bindings, Expectation.from_trace(script.trace(), bindings))
    assert names(judged.judge(tree_of({"a[b]*?.json": b"{"}), 0, "kill")) == [("M1", "torn")]


def test_temporaries_are_not_bound() -> None:
    assert "state.json.tmp" not in formats(document_run())


def test_an_empty_lock_file_is_no_json_document() -> None:
    script = Script()
    script.put("lock", b"")
    script.ack(1)
    assert formats(script) == {"lock": ("document", False)}
    assert violated(script) == set()


@given(st.lists(st.sampled_from([b"{}", b'{"a":1}', b"\0\1", b"text\n"]), min_size=1, max_size=5))
def test_any_durable_document_raises_no_alarm(contents: list[bytes]) -> None:
    script = Script()
    for number, content in enumerate(contents):
        script.replace("document", content)
        script.ack(number)
    assert violated(script) == set()


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=6), st.booleans())
def test_any_log_of_whole_writes_raises_no_alarm_under_kills(records: list[bytes], close: bool) -> None:
    script = Script()
    fd = script.open("log", append=True)
    for number, data in enumerate(records):
        script.write(fd, data.replace(b"\n", b"") + b"\n")
        if close:
            script.close(fd)
            fd = script.open("log", append=True)
        script.ack(number)
    assert violated(script, "kill") == set()


def test_a_file_written_at_random_offsets_is_opaque() -> None:
    script = Script(tree_of({"pages": bytes(9000)}))
    fd = script.open("pages")
    script.write(fd, b"x" * 100, at=4096)
    script.write(fd, b"y" * 100, at=100)
    assert formats(script) == {"pages": ("opaque", True)}
    assert violated(script) == set()
