from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import HEALED, LOG, PLAIN, TRANSCRIPT, explored, judge, log_run, names, record

from harness.checks import Expectation, FileBinding, Judge
from harness.core.tree import tree_of
from harness.explore.script import Script

R1, R2, R3 = record(1), record(2), record(3)
ALL = R1 + R2 + R3


# -- B1 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", R1, ALL])
def test_b1_holds_for_empty_and_terminated_files(data: bytes) -> None:
    assert judge(log_run(), LOG, {"log.jsonl": data}, invariants="B1") == []


@pytest.mark.parametrize("cut", range(1, len(R2) - 1))
def test_b1_is_violated_by_a_torn_tail(cut: int) -> None:
    found = judge(log_run(), LOG, {"log.jsonl": R1 + R2[:cut]}, 1, fault_class="kill", invariants="B1")
    assert [(v.damage, v.severity, v.offset) for v in found] == [("torn", "violation", len(R1))]


def test_b1_only_notes_a_whole_record_without_its_newline() -> None:
    found = judge(log_run(), LOG, {"log.jsonl": R1 + R2[:-1]}, 1, fault_class="kill", invariants="B1")
    assert [v.severity for v in found] == ["information"]


def test_a_tail_that_the_opener_heals_is_damage_only_after_an_undisturbed_run() -> None:
    torn = {"log.jsonl": R1 + R2[:5]}
    assert judge(log_run(), HEALED, torn, 1, fault_class="kill") == []
    assert names(judge(log_run(), HEALED, torn, 1, fault_class="none", invariants="B1")) == [("B1", "torn")]


# -- B2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"1", b"null", b"{}{}", b'{"a":1', b"\x00\x00", b'{"a":1}\t{"b":1}', b"NaN"]
)
def test_b2_is_violated_by_a_segment_that_is_no_object(line: bytes) -> None:
    found = judge(log_run(), LOG, {"log.jsonl": R1 + line + b"\n" + R2}, 1, invariants="B2")
    assert [(v.invariant, v.offset) for v in found] == [("B2", len(R1))]


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"])
def test_b2_splits_on_newlines_only(char: str) -> None:
    line = f'{{"a":"{char}"}}\n'.encode() if char >= "\x20" else b'{"a":"x"}\n'
    assert judge(log_run(), LOG, {"log.jsonl": line}, invariants="B2") == []


def test_b2_ignores_damage_the_run_started_with() -> None:
    script = log_run(1, start=b"rubbish\n")
    assert judge(script, LOG, {"log.jsonl": b"rubbish\n" + R1}, 1, invariants="B2") == []
    assert names(judge(script, LOG, {"log.jsonl": b"rubbish\n" + R1 + b"rubbish\n"}, 1, invariants="B2"))


def test_records_that_need_not_be_json_are_not_parsed() -> None:
    plain = FileBinding("log.jsonl", "log", json=False)
    script = Script()
    script.write(script.open("log.jsonl", append=True), b"one\n")
    assert judge(script, plain, {"log.jsonl": b"one\n"}) == []


# -- B3 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (R1 + b"\0" * 10, "the tail is NUL"),
        (b"\0" * 10, "the whole file is NUL"),
        (b"\0\0" + R1, "a prefix is NUL"),
        (R1[:5] + b"\0\0" + R1[7:], "there is a NUL inside"),
    ],
)
def test_b3_says_where_the_nul_bytes_are(data: bytes, where: str) -> None:
    found = judge(log_run(), LOG, {"log.jsonl": data}, invariants="B3")
    assert len(found) == 1
    assert found[0].message.startswith(where)
    assert found[0].offset == data.index(0)


def test_b3_is_not_judged_under_a_kill_and_not_in_opaque_files() -> None:
    assert judge(log_run(), LOG, {"log.jsonl": b"\0"}, fault_class="kill", invariants="B3") == []
    opaque = FileBinding("log.jsonl", "opaque")
    assert judge(log_run(), opaque, {"log.jsonl": b"\0"}, invariants="B3") == []


@given(st.binary(max_size=60))
def test_b3_is_violated_exactly_when_there_is_a_nul(data: bytes) -> None:
    assert bool(judge(log_run(), LOG, {"log.jsonl": data}, invariants="B3")) == (b"\0" in data)


# -- B4 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b'{"a":"\xff"}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}'])
def test_b4_is_violated_by_bytes_that_are_no_text(line: bytes) -> None:
    assert names(judge(log_run(), LOG, {"log.jsonl": line + b"\n"}, invariants="B4"))[0][0] == "B4"


@given(st.text())
def test_b4_holds_for_any_text_json_can_carry(text: str) -> None:
    line = json.dumps({"t": text}).encode() + b"\n"
    lone = any(0xD800 <= ord(char) <= 0xDFFF for char in text)
    assert bool(judge(log_run(), LOG, {"log.jsonl": line}, invariants="B4")) == lone


# -- B5 ----------------------------------------------------------------------------------------------------------


def test_b5_holds_at_every_acknowledgement_and_with_more_than_is_owed() -> None:
    for acked in range(4):
        assert judge(log_run(), LOG, {"log.jsonl": ALL}, acked, invariants="B5") == []


def test_b5_owes_nothing_before_the_first_acknowledgement() -> None:
    assert judge(log_run(), LOG, {}, 0, invariants="B5") == []


@given(st.data())
def test_b5_any_acknowledged_line_removed_or_changed_is_lost(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    acked = data.draw(st.integers(1, count))
    victim = data.draw(st.integers(1, count))
    binding = data.draw(st.sampled_from([LOG, PLAIN, HEALED]))
    change = data.draw(st.sampled_from(["removed", "changed", "doubled"]))
    lines = [record(number) for number in range(1, count + 1)]
    if change == "removed":
        del lines[victim - 1]
    elif change == "changed":
        lines[victim - 1] = lines[victim - 1].replace(b"text", b"tuxt")
    else:
        lines.append(lines[victim - 1])
    found = judge(log_run(count), binding, {"log.jsonl": b"".join(lines)}, acked, invariants="B5")
    if victim <= acked:
        assert names(found) == [("B5", "extra" if change == "doubled" else "lost")]
        assert found[0].ids in ((str(victim),), ())
    else:
        assert found == []


@given(st.data())
def test_b5_and_b6_hold_for_any_prefix_of_the_log_that_has_what_is_owed(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    kept = data.draw(st.integers(0, count))
    acked = data.draw(st.integers(0, kept))
    log = b"".join(record(number) for number in range(1, kept + 1))
    for binding in (LOG, PLAIN, HEALED):
        assert judge(log_run(count), binding, {"log.jsonl": log}, acked, fault_class="kill") == []


def test_b5_a_log_that_vanished_is_missing() -> None:
    assert names(judge(log_run(), LOG, {}, 2, invariants="B5")) == [("B5", "missing")]


def test_b5_finds_an_acknowledgement_before_the_write() -> None:
    script = Script()
    fd = script.open("log.jsonl", append=True)
    for number in (1, 2):
        script.ack(number)
        script.write(fd, record(number))
    assert ("B5", "lost") in explored(script, LOG)
    assert explored(script, PLAIN) == set()  # without ids only what was written is known


def test_b5_finds_a_record_that_was_acknowledged_and_never_written() -> None:
    script = Script()
    fd = script.open("log.jsonl", append=True)
    for number in range(1, 6):
        if number != 3:
            script.write(fd, record(number))
        script.ack(number)
    found = judge(script, LOG, {"log.jsonl": b"".join(record(n) for n in (1, 2, 4, 5))}, 5, invariants="B5")
    assert [(v.damage, v.ids) for v in found] == [("lost", ("3",))]


def test_b5_acknowledgements_of_something_else_prove_nothing() -> None:
    script = Script()
    fd = script.open("log.jsonl", append=True)
    for number in range(3):
        script.write(fd, record(number))
        script.ack(f"other-{number}")
    log = b"".join(record(number) for number in range(3))
    assert judge(script, LOG, {"log.jsonl": log}, 3, invariants="B5") == []


def test_b5_finds_records_in_a_rotated_log() -> None:
    script = log_run(2)
    script.rename("log.jsonl", "log.1.jsonl")
    fd = script.open("log.jsonl", append=True)
    script.write(fd, record(3))
    script.ack(3)
    both = (LOG, FileBinding("log.1.jsonl", "log", id_key="id"))
    assert explored(script, both) == set()
    assert names(judge(script, both, {"log.jsonl": R3}, 3, invariants="B5")) == [("B5", "lost")]


def test_b5_a_compaction_that_drops_old_records_loses_nothing_that_is_still_owed() -> None:
    script = log_run(3)
    script.replace("log.jsonl", R3)
    script.ack("compacted")
    assert explored(script, (PLAIN,)) == set()
    assert names(judge(script, PLAIN, {"log.jsonl": b""}, 4, invariants="B5")) == [("B5", "lost")]


def test_b5_records_owed_by_id_when_an_acknowledgement_was_withheld() -> None:
    log = R1 + R3
    assert judge(log_run(), LOG, {"log.jsonl": log}, ["1", "3"], invariants=("B5", "B6")) == []
    found = judge(log_run(), LOG, {"log.jsonl": log}, ["1", "2", "3"], invariants="B5")
    assert [v.ids for v in found] == [("2",)]


def test_b5_a_line_of_the_start_that_carries_no_id_may_come_again() -> None:
    checkpoint = b'{"type": "checkpoint"}\n'
    whole = checkpoint + b"".join(map(record, (1, 2, 3)))
    assert judge(log_run(start=checkpoint), LOG, {"log.jsonl": whole + checkpoint}, 3, invariants="B5") == []
    assert names(judge(log_run(start=checkpoint), LOG, {"log.jsonl": whole + record(2)}, 3, invariants="B5")) == [
        ("B5", "extra")
    ]


def test_b5_counts_equal_records_as_often_as_the_run_had_them() -> None:
    script = Script()
    fd = script.open("log.jsonl", append=True)
    for _ in range(2):
        script.write(fd, b'{"same":1}\n')
        script.ack("x")
    assert judge(script, PLAIN, {"log.jsonl": b'{"same":1}\n' * 2}, 2, invariants="B5") == []
    assert names(judge(script, PLAIN, {"log.jsonl": b'{"same":1}\n'}, 2, invariants="B5")) == [("B5", "lost")]
    assert names(judge(script, PLAIN, {"log.jsonl": b'{"same":1}\n' * 3}, 2, invariants="B5")) == [("B5", "extra")]


# -- B6 ----------------------------------------------------------------------------------------------------------


@given(st.data())
def test_b6_holds_for_every_byte_prefix_that_keeps_what_is_owed(data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, 3))
    tail = data.draw(st.integers(0, len(ALL)))
    log = ALL[: max(tail, len(b"".join([R1, R2, R3][:kept])))]
    assert judge(log_run(), HEALED, {"log.jsonl": log}, kept, fault_class="kill", invariants="B6") == []


@pytest.mark.parametrize(
    ("data", "damage"),
    [
        (R2, "hole"),
        (R1 + R3, "hole"),
        (R1 + b'{"id":9}\n' + R2, "other"),
        (R1 + R2[:10] + R3, "torn"),
        (R1 + b"\0" * len(R2[:-1]) + b"\n" + R3, "nul"),
    ],
)
def test_b6_names_what_happened_before_the_record_in_flight(data: bytes, damage: str) -> None:
    found = judge(log_run(), HEALED, {"log.jsonl": data}, 0, fault_class="kill", invariants="B6")
    assert names(found) == [("B6", damage)]


def test_b6_finds_a_tail_that_no_record_begins_with() -> None:
    found = judge(log_run(), HEALED, {"log.jsonl": R1 + b"#"}, 0, fault_class="kill", invariants="B6")
    assert [(v.damage, v.offset) for v in found] == [("torn", len(R1))]


def test_b6_finds_a_log_emptied_for_rewriting() -> None:
    script = log_run(2)
    fd = script.open("log.jsonl", truncate=True)
    script.write(fd, ALL)
    script.close(fd)
    script.ack(3)
    assert {("B6", "empty"), ("B5", "lost")} <= explored(script, HEALED)


@given(st.integers(1, 3), st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_b6_any_change_to_a_complete_line_is_seen(line: int, at: int, junk: bytes) -> None:
    lines = [R1, R2, R3]
    old = lines[line - 1]
    at %= len(old)
    lines[line - 1] = old[:at] + junk + old[at + len(junk) :]
    data = b"".join(lines)
    found = judge(log_run(), HEALED, {"log.jsonl": data}, 3, fault_class="kill", invariants=("B5", "B6"))
    assert bool(found) == (data != ALL)


# -- B8, B9 ------------------------------------------------------------------------------------------------------

USER = b'{"type":"user","uuid":"u","parentUuid":null,"sessionId":"s","timestamp":"t","message":{"role":"user"}}\n'


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (USER, False),
        (USER.replace(b'{"role":"user"}', b'"text"'), True),
        (USER.replace(b'"uuid":"u",', b""), True),
        (b'{"type":"summary","summary":"s","leafUuid":"l"}\n', False),
        (b'{"type":"summary","summary":"s"}\n', True),
        (b'{"type":"never-heard-of"}\n', False),
        (b'{"no":"type"}\n', False),
        (b'{"type":7}\n', False),
    ],
)
def test_b8_required_fields_of_known_types(line: bytes, wrong: bool) -> None:
    found = judge(Script(), TRANSCRIPT, {"p/s.jsonl": line}, invariants="B8")
    assert bool(found) == wrong


@given(st.sampled_from(["uuid", "parentUuid", "sessionId", "timestamp", "message"]))
def test_b8_any_required_field_removed_is_named(field: str) -> None:
    entry = json.loads(USER)
    del entry[field]
    found = judge(Script(), TRANSCRIPT, {"p/s.jsonl": json.dumps(entry).encode() + b"\n"}, invariants="B8")
    assert len(found) == 1
    assert field in found[0].message


def test_b8_and_b9_are_for_transcripts_only() -> None:
    line = b'{"type":"user","sessionId":"other"}\n'
    assert judge(Script(), LOG, {"log.jsonl": line}, invariants=("B8", "B9")) == []


@given(st.sampled_from(["s", "agent-1", "other"]), st.sampled_from(["s", "x"]))
def test_b9_session_id_is_the_stem(stem: str, session: str) -> None:
    data = USER.replace(b'"sessionId":"s"', b'"sessionId":"%s"' % session.encode())
    found = judge(Script(), TRANSCRIPT, {f"p/{stem}.jsonl": data}, invariants="B9")
    assert bool(found) == (stem != session and not stem.startswith("agent-"))


def test_messages_quote_no_content() -> None:
    secret = b"SECRET-CONTENT"
    script = Script(tree_of({"log.jsonl": R1}))
    data = R1 + secret + b"\n\xff" + secret + b"\n" + secret
    for violation in judge(script, LOG, {"log.jsonl": data}, 0):
        assert "SECRET" not in violation.message


def forked_twice() -> Expectation:
    """A run of a writer with random names: it copies a record of the same masked content into a new transcript."""
    script = Script()
    script.put(
        "p/0b6f2a8e-7c1d-4e5f-9a3b-2d4c6e8f0a1b.jsonl", b'{"uuid": "0b6f2a8e-7c1d-4e5f-9a3b-2d4c6e8f0a1b"}\n'
    )
    script.ack("fork")
    return Expectation.from_trace(script.trace(), (TRANSCRIPT,), masked=True)


def test_b5_two_files_of_one_role_may_hold_the_same_masked_record() -> None:
    line = b'{"uuid": "11111111-2222-4333-8444-555555555555"}\n'
    paths = ("p/11111111-2222-4333-8444-555555555555.jsonl", "p/66666666-7777-4888-9999-aaaaaaaaaaaa.jsonl")
    masked = Judge((TRANSCRIPT,), forked_twice(), ("B5",))
    assert masked.judge(tree_of(dict.fromkeys(paths, line)), 1, "kill") == ()
    assert [v.damage for v in masked.judge(tree_of({paths[0]: line + line}), 1, "kill")] == ["extra"]
