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


def judged(script: Script, files: dict[str, bytes], acked: int) -> list[tuple[str, str]]:
    bindings = infer_bindings(script.trace())
    judge = Judge(bindings, Expectation.from_trace(script.trace(), bindings))
    return names(judge.judge(tree_of(files), acked, "kill"))


def not_measured(script: Script) -> str:
    """Return why nothing judges what the files hold; empty if something does."""
    bindings = infer_bindings(script.trace())
    judge = Judge(bindings, Expectation.from_trace(script.trace(), bindings))
    reasons = [judge.measured(name, "kill") for name in ("B1", "B2", "B4", "B5", "B6", "M1")]
    return reasons[4] if all(reasons) else ""


def appended(script: Script, path: str, data: bytes, *, truncate: bool = False) -> None:
    fd = script.open(path, append=True, truncate=truncate)
    script.write(fd, data)
    script.close(fd)


def test_a_document_that_is_opened_to_append_and_emptied_is_a_document() -> None:
    script = Script()
    for number in range(3):
        fd = script.open("s.json", append=True)
        script.truncate(fd, 0)
        script.write(fd, b'{"n": %d}' % number)
        script.close(fd)
        script.ack(number)
    assert formats(script) == {"s.json": ("document", True)}
    assert violated(script, "kill") == {("M1", "empty")}


@given(st.booleans(), st.integers(1, 3), st.booleans())
def test_a_document_written_in_two_opens_is_a_document(newline: bool, rounds: int, acks: bool) -> None:
    script = Script()
    for number in range(rounds):
        script.put("s.json", b'{"n": %d,' % number)
        appended(script, "s.json", b'\n"b": 2}' + b"\n" * newline)
        if acks:
            script.ack(number)
    assert formats(script)["s.json"][0] == "document"
    assert ("M1", "empty") in violated(script, "kill")


def test_a_configuration_written_line_by_line_is_a_document() -> None:
    script = Script()
    for number in range(3):
        script.put("conf", b"user=%d\n" % number)
        appended(script, "conf", b"pass=%d\n" % number)
        script.ack(number)
    assert formats(script) == {"conf": ("document", False)}
    assert violated(script, "kill") == {("M1", "empty")}


def compacted(between: str) -> Script:
    """A log of three records, replaced by one that says the same, and extended again."""
    script = Script()
    for number in range(1, 4):
        appended(script, "log", record(number))
        script.ack(number)
    if between == "truncated":
        appended(script, "log", record(123), truncate=True)
    elif between == "removed":
        script.unlink("log")
        appended(script, "log", record(123))
    else:
        script.replace("log", record(123))
    return script


def test_a_log_compacted_in_place_is_empty_or_half_there_in_between() -> None:
    for acknowledged in (False, True):
        for between, damage in (("truncated", {"empty"}), ("removed", {"missing", "empty"}), ("renamed", set())):
            script = compacted(between)
            if acknowledged:
                script.ack("compacted")
            for number in (4, 5):
                appended(script, "log", record(number))
                script.ack(number)
            assert formats(script)["log"] == ("log", True)
            assert violated(script, "kill") == {("B6", name) for name in damage}, (between, acknowledged)


def test_a_log_replaced_in_two_writes_is_whole_only_at_the_end_of_them() -> None:
    script = Script()
    fd = script.open("log", append=True)
    for number in range(1, 4):
        script.write(fd, record(number))
        script.ack(number)
    script.truncate(fd, 0)
    script.write(fd, record(7))
    script.write(fd, record(8))
    script.ack("compacted")
    script.write(fd, record(9))
    assert {("B6", "empty"), ("B6", "lost")} <= violated(script, "kill")
    assert judged(script, {"log": record(7)}, 3) == [("B6", "lost")]
    assert judged(script, {"log": record(7) + record(8)}, 3) == []
    assert judged(script, {"log": record(1) + record(2) + record(3)}, 3) == []
    assert ("B6", "lost") in judged(script, {"log": record(1) + record(2)}, 3)


def test_without_an_acknowledgement_nobody_knows_whether_an_emptied_log_is_a_new_one() -> None:
    script = Script()
    for _ in range(2):
        fd = script.open("log", append=True)
        script.truncate(fd, 0)
        script.write(fd, b"one\n")
        script.close(fd)
        appended(script, "log", b"two\n")
    assert formats(script)["log"][0] == "log"
    assert violated(script, "kill") == set()
    assert "no acknowledgement" in not_measured(script)


def test_rotated_logs_hold() -> None:
    script = Script()
    for number in range(6):
        if number in (2, 4):
            if number == 4:
                script.unlink("log.1")
            script.rename("log", "log.1")
        appended(script, "log", record(number))
        script.ack(number)
    assert violated(script, "kill") == set()
    assert not_measured(script) == ""


def rotated_by_copy(copy_first: bool) -> Script:
    script = Script()
    for number in range(3):
        appended(script, "log", record(number))
        script.ack(number)

    def empty() -> None:
        fd = script.open("log", append=True)
        script.truncate(fd, 0)
        script.close(fd)

    if not copy_first:
        empty()
    script.replace("log.1", record(0) + record(1) + record(2))
    if copy_first:
        empty()
    appended(script, "log", record(3))
    script.ack(3)
    return script


def test_records_may_be_moved_to_another_file_and_have_to_be_somewhere() -> None:
    assert violated(rotated_by_copy(copy_first=True), "kill") == set()
    assert not_measured(rotated_by_copy(copy_first=True)) == ""
    assert ("B5", "lost") in violated(rotated_by_copy(copy_first=False), "kill")


def test_a_log_emptied_after_a_document_took_its_records_is_not_judged_alone() -> None:
    for document in (True, False):
        script = Script()
        fd = script.open("wal", append=True)
        for number in range(6):
            script.write(fd, record(number))
            script.ack(number)
            if number in (2, 4):
                if document:
                    script.replace("state.json", b'{"upto": %d}' % number)
                script.truncate(fd, 0)
        found = violated(script, "kill")
        assert found == (set() if document else {("B6", "empty")})
        bindings = infer_bindings(script.trace())
        (wal,) = Expectation.from_trace(script.trace(), bindings).records.values()
        assert ("another file may hold its records" in wal.undecided) is document


def test_a_journal_that_is_empty_at_every_acknowledgement_holds() -> None:
    script = Script()
    fd = script.open("journal", append=True)
    for number in range(3):
        script.write(fd, record(number))
        script.replace("state.json", b'{"n": %d}' % number)
        script.truncate(fd, 0)
        script.ack(number)
    assert formats(script)["journal"][0] == "log"
    assert violated(script, "kill") == set()


def test_a_torn_tail_cut_off_at_the_start_is_no_replacement() -> None:
    script = Script(tree_of({"log": b"one\ntw"}))
    fd = script.open("log", append=True)
    script.truncate(fd, 4)
    for number in range(3):
        script.write(fd, b"line %d\n" % number)
        script.ack(number)
    assert {damage for invariant, damage in violated(script, "kill") if invariant != "B1"} == set()
    assert not_measured(script) == ""
    bindings = infer_bindings(script.trace(), "healed")
    judge = Judge(bindings, Expectation.from_trace(script.trace(), bindings))
    assert not explore(script.trace(), "kill", judge.judge).groups


def test_a_log_with_a_header_and_two_writers_holds() -> None:
    script = Script(actors=2)
    first, second = script.open("log", append=True), script.open("log", append=True, actor=1)
    script.write(first, b"id,value\n")
    for number in range(3):
        script.write(first, b"%d,a\n" % number)
        script.ack(f"a{number}")
        script.write(second, b"%d,b\n" % number, actor=1)
        script.ack(f"b{number}", actor=1)
    assert formats(script)["log"] == ("log", False)
    assert violated(script, "kill") == set()
    assert not_measured(script) == ""


def test_a_log_without_newlines_is_judged_and_does_not_count_as_measured() -> None:
    script = Script()
    fd = script.open("frames", append=True)
    for number in range(1, 5):
        script.write(fd, bytes([number, 0, number]))
        script.ack(number)
    assert formats(script) == {"frames": ("log", False)}
    assert "do not end with a newline" in not_measured(script)


def linked(atomic: bool) -> Script:
    script = Script()
    for number in range(3):
        script.replace(f"v{number}", b"version %d" % number)
        if atomic:
            script.symlink(f"v{number}", "current.tmp")
            script.rename("current.tmp", "current")
        else:
            if number:
                script.unlink("current")
            script.symlink(f"v{number}", "current")
        script.ack(number)
    return script


def test_a_symbolic_link_is_a_document() -> None:
    assert formats(linked(atomic=True))["current"] == ("document", False)
    assert violated(linked(atomic=True)) == set()
    assert violated(linked(atomic=False), "kill") == {("M1", "missing")}


def test_a_symbolic_link_that_leads_back_is_stale() -> None:
    script = linked(atomic=True)
    bindings = infer_bindings(script.trace())
    judge = Judge(bindings, Expectation.from_trace(script.trace(), bindings))
    tree = script.tree
    assert names(judge.judge(tree, 3, "kill")) == []
    for destination, damage in (("v1", "stale"), ("nowhere", "other")):
        script.symlink(destination, "current")
        assert names(judge.judge(script.tree, 3, "kill")) == [("M1", damage)]
    assert names(judge.judge(tree, 3, "kill")) == []


def test_a_link_that_never_changes_does_not_count_as_measured() -> None:
    script = Script()
    script.symlink("/elsewhere", "current")
    script.ack(1)
    assert "M1" in str(not_measured(script)) or not_measured(script)
    assert violated(script) == set()


def test_what_a_lock_holds_is_not_judged() -> None:
    script = Script()
    lock = script.open("lock")
    script.write(lock, b"4711")
    script.close(lock)
    for number in range(3):
        script.replace("state.json", b'{"n": %d}' % number)
        script.ack(number)
    script.unlink("lock")
    assert formats(script) == {"state.json": ("document", True), "lock": ("opaque", True)}
    assert violated(script) == set()
    script.put("lock", b"4712")  # left behind: a document like any other
    assert formats(script) == {"state.json": ("document", True), "lock": ("document", True)}
    assert ("M1", "empty") in violated(script, "kill")


def test_an_empty_lock_is_not_even_mentioned() -> None:
    script = Script()
    script.close(script.open("lock"))
    script.ack(1)
    script.unlink("lock")
    assert formats(script) == {}


def framed_in_binary(copied: bool) -> Script:
    script = Script()
    fd = script.open("frames", append=True)
    for number in range(3):
        script.write(fd, bytes([number, 0, number]))
        script.ack(number)
    if copied:
        script.replace("frames.1", bytes([0, 0, 0, 1, 0, 1, 2, 0, 2]))
    script.truncate(fd, 0)
    script.write(fd, b"abc")
    script.ack(3)
    script.write(fd, b"def")
    script.ack(4)
    return script


def test_a_log_without_newlines_that_is_emptied_in_place() -> None:
    assert formats(framed_in_binary(copied=False)) == {"frames": ("log", False)}
    assert violated(framed_in_binary(copied=False), "kill") == {("B6", "empty")}
    assert violated(framed_in_binary(copied=True), "kill") == set()
