from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, HEALED, LOG, document_run, log_run, record

from harness.checks import FileBinding, judge_trace
from harness.core.tree import tree_of
from harness.explore.script import Script


def wrong(script: Script, *bindings: FileBinding, invariants: tuple[str, ...] = ()) -> list[str]:
    found = judge_trace(script.trace(), bindings, invariants or None)
    return [v.invariant for v in found if v.severity == "violation"]


# -- W3 ----------------------------------------------------------------------------------------------------------


def test_w3_a_temporary_beside_its_target_holds() -> None:
    assert wrong(document_run(), DOCUMENT) == []


def test_w3_a_temporary_in_another_directory() -> None:
    script = Script()
    script.mkdir("tmp")
    for number in range(3):
        script.put(f"tmp/x{number}", b"{}")
        script.rename(f"tmp/x{number}", "state.json")
        script.ack(number)
    found = judge_trace(script.trace(), (DOCUMENT,), ("W3",))
    assert [(v.invariant, "another directory" in v.message) for v in found] == [("W3", True)]


def test_w3_moving_a_published_file_is_no_temporary() -> None:
    script = Script(tree_of({"a/x": b"1", "b/y": b"2"}))
    script.rename("a/x", "b/x")
    assert wrong(script, DOCUMENT) == []


def test_w3_two_processes_writing_one_temporary_at_once() -> None:
    script = Script(actors=2)
    one = script.open("state.json.tmp", truncate=True, actor=0)
    two = script.open("state.json.tmp", truncate=True, actor=1)
    script.write(one, b"{}", actor=0)
    script.close(one, actor=0)
    script.rename("state.json.tmp", "state.json", actor=0)
    script.close(two, actor=1)
    assert wrong(script, DOCUMENT) == ["W3"]


def test_w3_two_processes_one_after_the_other_hold() -> None:
    script = Script(actors=2)
    for actor in (0, 1):
        script.replace("state.json", b"{}", actor=actor)
    assert wrong(script, DOCUMENT) == []


def test_w3_temporaries_that_pile_up() -> None:
    script = Script()
    for number in range(12):
        script.put(f"state.json.{number}.tmp", b"{}")
    for number in range(12):
        script.rename(f"state.json.{number}.tmp", "state.json")
    assert wrong(script, DOCUMENT) == ["W3"]


def test_w3_temporaries_that_are_left_behind_for_good() -> None:
    script = Script()
    for number in range(12):
        script.put(f"state.json.{number}.tmp", b"{}")
        if number % 2:
            script.rename(f"state.json.{number}.tmp", "state.json")
        script.ack(number)
    assert "W3" in wrong(script, DOCUMENT)


@given(st.integers(1, 30))
def test_w3_any_number_of_updates_through_temporaries_is_bounded(count: int) -> None:
    script = Script()
    for number in range(count):
        script.replace("state.json", b"{}", suffix=f".{number}.tmp")
        script.ack(number)
    assert wrong(script, DOCUMENT) == []


# -- W6 ----------------------------------------------------------------------------------------------------------


def test_w6_one_write_per_record_and_several_records_per_write_hold() -> None:
    assert wrong(log_run(), LOG) == []
    script = Script()
    script.write(script.open("log.jsonl"), record(1) + record(2))
    assert wrong(script, LOG) == []


@given(st.integers(1, len(record(2)) - 1))
def test_w6_any_record_in_two_writes_is_seen(cut: int) -> None:
    script = log_run(1)
    fd = script.open("log.jsonl", append=True)
    script.write(fd, record(2)[:cut])
    script.write(fd, record(2)[cut:])
    assert wrong(script, LOG) == ["W6"]


def test_w6_a_write_that_a_fault_cut_short_counts_as_it_was_meant() -> None:
    script = Script()
    fd = script.open("log.jsonl", append=True)
    script.write(fd, record(1), landed=4)
    assert wrong(script, LOG) == []


def test_w6_a_newline_that_closes_off_a_tail_found_torn_holds() -> None:
    script = Script(tree_of({"log.jsonl": record(1) + record(2)[:5]}))
    fd = script.open("log.jsonl", append=True)
    script.write(fd, b"\n")
    script.write(fd, record(3))
    assert wrong(script, HEALED) == []


def test_w6_a_log_built_in_a_temporary_file_may_be_written_in_pieces() -> None:
    script = Script()
    fd = script.open("log.jsonl.tmp")
    for piece in (b'{"a"', b":1}", b"\n"):
        script.write(fd, piece)
    script.close(fd)
    script.rename("log.jsonl.tmp", "log.jsonl")
    assert wrong(script, LOG) == []


def test_w6_is_for_json_records() -> None:
    script = Script()
    fd = script.open("log.jsonl", append=True)
    script.write(fd, b"half ")
    script.write(fd, b"line\n")
    assert wrong(script, FileBinding("log.jsonl", "log", json=False)) == []
    assert wrong(script, FileBinding("log.jsonl", "document")) == []
    assert wrong(script, LOG, invariants=("W3",)) == []


def test_w6_a_record_without_its_newline_and_a_write_into_a_record() -> None:
    script = log_run(1)
    script.write(script.open("log.jsonl", append=True), record(2)[:-1])
    assert wrong(script, LOG) == ["W6"]
    script = log_run(1)
    script.write(script.open("log.jsonl"), b'9"}\n', at=len(record(1)) - 4)
    assert wrong(script, LOG) == ["W6"]


def fixed_name(suffixes: tuple[str, ...]) -> Script:
    script = Script()
    for number, suffix in enumerate(suffixes):
        script.replace("state.json", b'{"last": %d}\n' % number, suffix=suffix)
        script.ack(number)
    return script


def test_w3_a_fixed_temporary_name() -> None:
    declared = FileBinding("*.tmp", "opaque", litter=True)
    (found,) = judge_trace(fixed_name((".tmp", ".tmp")).trace(), (declared, DOCUMENT), ("W3",))
    assert (found.path, found.severity) == ("state.json.tmp", "violation")


def test_w3_a_fixed_temporary_name_of_an_undescribed_program_is_said_only() -> None:
    (found,) = judge_trace(fixed_name((".tmp", ".tmp")).trace(), (DOCUMENT,), ("W3",))
    assert found.severity == "information"


def test_w3_temporaries_with_names_of_their_own_hold() -> None:
    declared = FileBinding("*.tmp", "opaque", litter=True)
    assert wrong(fixed_name((".1.tmp", ".2.tmp")), declared, DOCUMENT, invariants=("W3",)) == []


def test_w3_a_journal_that_is_made_and_removed_again_and_again_is_no_temporary_of_a_document() -> None:
    declared = FileBinding("*-journal", "opaque", litter=True)
    script = Script()
    for number in range(3):
        journal = script.open("store.db-journal")
        script.write(journal, b"old pages")
        script.close(journal)
        script.put("store.db", b"%d" % number)
        script.unlink("store.db-journal")
        script.ack(number)
    assert wrong(script, declared, FileBinding("store.db", "opaque")) == []


def test_w3_opening_again_what_mkstemp_made_holds() -> None:
    declared = FileBinding("tmp*", "opaque", litter=True)
    script = Script()
    for number in range(3):
        script.close(script.open(f"tmp{number}x"))
        script.replace("state.json", b"{}", suffix=".never")
        script.put(f"tmp{number}x", b'{"n": %d}' % number)
        script.rename(f"tmp{number}x", "state.json")
        script.ack(number)
    assert wrong(script, declared, DOCUMENT) == []


# -- W4: a remark ------------------------------------------------------------------------------------------------


def remarks(script: Script) -> list[str]:
    found = judge_trace(script.trace(), (FileBinding("**/state.json", "document"),), ("W4",))
    assert all(violation.severity == "information" for violation in found)
    return [violation.message for violation in found]


def test_w4_synced_renamed_directory_synced_acknowledged() -> None:
    script = Script()
    for number in range(3):
        script.replace("state.json", b"{}")
        script.sync_directory()
        script.ack(number)
    assert remarks(script) == []


def test_w4_renamed_before_any_fsync() -> None:
    script = Script()
    script.put("state.json.tmp", b"{}" * 50)
    script.rename("state.json.tmp", "state.json")
    (message,) = remarks(script)
    assert "no fsync covers 100 bytes" in message


def test_w4_acknowledged_before_the_directory_is_synced() -> None:
    script = Script()
    script.replace("state.json", b"{}")
    script.ack(1)
    script.sync_directory()
    (message,) = remarks(script)
    assert "operation 5 acknowledges after the rename" in message


def test_w4_another_directory_does_not_count() -> None:
    script = Script()
    script.mkdir("d")
    script.replace("d/state.json", b"{}")
    script.sync_directory()
    script.ack(1)
    assert len(remarks(script)) == 1
    script = Script()
    script.mkdir("d")
    script.replace("d/state.json", b"{}")
    script.sync_directory("d")
    script.ack(1)
    assert remarks(script) == []


def test_w4_says_nothing_of_what_is_no_document() -> None:
    script = Script()
    script.put("x.tmp", b"1")
    script.rename("x.tmp", "y.tmp")
    script.ack(1)
    assert remarks(script) == []


def test_w4_a_sync_of_everything_covers_both() -> None:
    script = Script()
    script.put("state.json.tmp", b"{}")
    script.sync_everything()
    script.rename("state.json.tmp", "state.json")
    script.sync_everything()
    script.ack(1)
    assert remarks(script) == []
