from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, HEALED, LOG, document_run, log_run, names, record

from harness.checks import Expectation, FileBinding, judge_recovery
from harness.core.tree import tree_of
from harness.core.verdict import Violation
from harness.explore.script import Script

R1, R2, R3 = record(1), record(2), record(3)
NEW = b'{"id": "r9", "text": "recovered"}\n'
TMP = FileBinding("**/.*.tmp", "opaque", litter=True)
BINDINGS = (TMP, HEALED, DOCUMENT)


def run() -> Script:
    script = Script()
    for number in range(1, 4):
        fd = script.open("log.jsonl", append=True)
        script.write(fd, record(number))
        script.close(fd)
        script.replace("state.json", b'{"last": %d}\n' % number, suffix=f".{number}.tmp")
        script.ack(number)
    return script


def repaired(
    before: dict[str, bytes], after: dict[str, bytes], acked: int = 1, fault_class: str = "kill", **more: object
) -> tuple[Violation, ...]:
    expectation = Expectation.from_trace(run().trace(), BINDINGS)
    return judge_recovery(tree_of(before), tree_of(after), expectation, acked, fault_class, **more)  # type: ignore[arg-type]


def logs(before: bytes, after: bytes, acked: int = 1, **more: object) -> list[tuple[str, str]]:
    return names(repaired({"log.jsonl": before}, {"log.jsonl": after}, acked, **more))  # type: ignore[arg-type]


# -- B7 ----------------------------------------------------------------------------------------------------------


def test_b7_a_healed_log_with_one_more_line_holds() -> None:
    assert logs(R1 + R2[:9], R1 + NEW, appended_id="r9") == []
    assert logs(R1, R1 + NEW, appended_id="r9") == []


def test_b7_a_record_glued_to_the_torn_tail() -> None:
    found = repaired({"log.jsonl": R1 + R2[:9]}, {"log.jsonl": R1 + R2[:9] + NEW}, invariants=("B7",))
    assert names(found) == [("B7", "torn")]
    assert "glued to the torn tail" in found[0].message


def test_b7_an_append_without_its_newline() -> None:
    assert logs(R1, R1 + NEW[:-1], invariants=("B7",)) == [("B7", "torn")]


def test_b7_the_appended_record_must_be_there() -> None:
    assert logs(R1, R1, appended_id="r9", invariants=("B7",)) == [("B7", "missing")]


def test_b7_a_torn_tail_closed_off_as_a_line_of_its_own_is_no_glue_but_no_object() -> None:
    after = R1 + R2[:9] + b"\n" + NEW
    assert logs(R1 + R2[:9], after, invariants=("B7",)) == []
    assert ("B2", "torn") in logs(R1 + R2[:9], after)


@given(st.integers(0, len(R2) - 2), st.binary(max_size=4))
def test_b7_exactly_parsable_lines_hold(cut: int, junk: bytes) -> None:
    junk = junk.replace(b"\n", b"")
    after = R1 + junk + NEW
    found = logs(R1 + R2[:cut], after, invariants=("B7",))
    assert bool(found) == bool(junk.strip(b" \t\r"))


# -- M8 ----------------------------------------------------------------------------------------------------------


def test_m8_a_torn_tail_in_flight_may_be_cut() -> None:
    assert logs(R1 + R2[:9], R1 + NEW, invariants=("M8",)) == []


def test_m8_complete_lines_must_survive_even_unacknowledged_and_damaged_ones() -> None:
    for lost in (R1, R2, b"rubbish\n"):
        assert logs(
            R1 + R2 + b"rubbish\n", (R1 + R2 + b"rubbish\n").replace(lost, b"") + NEW, invariants=("M8",)
        ) == [("M8", "lost")]


def test_m8_a_backup_counts() -> None:
    before = {"log.jsonl": R1 + b"rubbish\n"}
    after = {"log.jsonl": R1 + NEW, "log.jsonl.bak": R1 + b"rubbish\n"}
    assert names(repaired(before, after, invariants=("M8",))) == []


def test_m8_an_unreadable_document_must_be_kept_somewhere() -> None:
    before = {"state.json": b'{"last": 1, "to'}
    reset = {"state.json": b'{"last": 9}\n'}
    assert names(repaired(before, reset, invariants=("M8",))) == [("M8", "reset")]
    assert names(repaired(before, {}, invariants=("M8",))) == [("M8", "missing")]
    kept = {**reset, "state.json.corrupted": before["state.json"]}
    assert names(repaired(before, kept, invariants=("M8",))) == []


def test_m8_nothing_is_lost_with_an_empty_or_nul_document() -> None:
    for data in (b"", b"\0" * 40):
        assert names(repaired({"state.json": data}, {}, invariants=("M8",))) == []


def test_m8_an_intact_document_may_be_updated_but_not_reset() -> None:
    before = {"state.json": b'{"last": 1, "keep": 2}'}
    assert names(repaired(before, {"state.json": b'{"last": 9, "keep": 2}'}, invariants=("M8",))) == []
    for reset in (b"{}", b"[]", b'{"other": 1}'):
        assert names(repaired(before, {"state.json": reset}, invariants=("M8",))) == [("M8", "reset")]
    narrowed = {"state.json": b'{"last": 9}'}
    assert names(repaired(before, narrowed, invariants=("M8",))) == []  # the append may change the shape
    found = repaired(before, narrowed, recovered=tree_of(narrowed), invariants=("M8",))
    assert names(found) == [("M8", "reset")]  # recovery alone may not
    assert names(repaired(before, {}, invariants=("M8",))) == [("M8", "missing")]


def test_m8_between_recovery_and_append_nothing_is_gone_even_for_a_moment() -> None:
    found = repaired(
        {"log.jsonl": R1 + R2},
        {"log.jsonl": R1 + R2 + NEW},
        recovered=tree_of({"log.jsonl": b""}),
        invariants=("M8",),
    )
    assert names(found) == [("M8", "lost")]


def test_m8_temporary_files_may_go() -> None:
    assert names(repaired({".state.json.7.tmp": b"{"}, {}, invariants=("M8",))) == []


@given(st.lists(st.integers(1, 9), unique=True, max_size=6), st.integers(0, 5))
def test_m8_any_complete_line_dropped_is_seen(ids: list[int], victim: int) -> None:
    lines = [record(number) for number in ids]
    kept = [line for index, line in enumerate(lines) if index != victim]
    found = logs(b"".join(lines), b"".join(kept) + NEW, acked=0, invariants=("M8",))
    assert bool(found) == (victim < len(lines))


# -- W3 and what still holds ---------------------------------------------------------------------------------------


def test_w3_unique_temporaries_must_be_swept() -> None:
    before = {"log.jsonl": R1, ".state.json.7.tmp": b"{"}
    kept = {"log.jsonl": R1 + NEW, ".state.json.7.tmp": b"{"}
    assert names(repaired(before, kept, invariants=("W3",))) == [("W3", "extra")]
    assert names(repaired(before, {"log.jsonl": R1 + NEW}, invariants=("W3",))) == []


def test_w3_a_fixed_temporary_name_is_bounded() -> None:
    expectation = Expectation.from_trace(document_run().trace(), (DOCUMENT,))
    before = tree_of({"state.json.tmp": b"{"})
    assert judge_recovery(before, before, expectation, 0, invariants=("W3",)) == ()


def test_acknowledged_records_and_format_are_judged_again() -> None:
    assert ("B5", "lost") in logs(R1 + R2, NEW, acked=1)
    assert ("B1", "torn") in logs(R1, R1 + NEW[:-3])
    assert ("B4", "torn") in logs(R1, R1 + b'{"a":"\xff"}\n')


def test_invariants_are_judged_under_their_fault_classes_only() -> None:
    before, after = {".state.json.7.tmp": b""}, {".state.json.7.tmp": b""}
    assert names(repaired(before, after, fault_class="errno")) == []
    glued = R1 + R2[:9] + NEW
    assert ("B7", "torn") in logs(R1 + R2[:9], glued, fault_class="errno")
    assert ("B2", "torn") not in logs(R1 + R2[:9], glued, fault_class="errno")


def test_a_log_of_another_binding_is_not_touched() -> None:
    expectation = Expectation.from_trace(log_run().trace(), (LOG,))
    tree = tree_of({"other": b"x"})
    assert judge_recovery(tree, tree, expectation, 0) == ()


def test_m8_sweeping_a_temporary_that_holds_the_only_copy() -> None:
    """The old document moved away before the new one is in place: the temporary is all there is."""
    kept = {".state.json.2.tmp": b'{"last": 1}\n', "log.jsonl": R1}
    found = repaired(kept, {"log.jsonl": R1 + NEW}, acked=1, invariants=("M8",))
    assert names(found) == [("M8", "missing")]
    assert found[0].path == "state.json"


def test_m8_sweeping_a_temporary_beside_its_document_holds() -> None:
    both = {".state.json.2.tmp": b'{"last": 2}\n', "state.json": b'{"last": 1}\n'}
    assert names(repaired(both, {"state.json": b'{"last": 1}\n'}, acked=1, invariants=("M8",))) == []


def test_m8_sweeping_the_temporary_of_a_document_nobody_was_promised_holds() -> None:
    assert names(repaired({".state.json.1.tmp": b'{"last": 1}\n'}, {}, acked=0, invariants=("M8",))) == []
