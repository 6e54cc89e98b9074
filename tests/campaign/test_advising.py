"""Advice for one recorded case: bounded in states, time and operations, and judged by what the whole run owes."""

from __future__ import annotations

import pickle

from harness.campaign.advising import OPERATIONS, advice_for, audit_for, beginning
from harness.campaign.work import Judged
from harness.catalog.profiles import load_profiles
from harness.checks import FileBinding, infer_bindings
from harness.core.advice import Advice, Audit, Heal
from harness.core.json_record import decode_record, encode_record
from harness.core.operation import Ack
from harness.core.trace import Trace
from harness.core.tree import tree_of
from harness.explore.script import Script

PROFILES = load_profiles(("posix", "ext4"))
LOG = FileBinding("log.jsonl", "log", id_key="id")


def appended(records: int, *, acked_first: bool = False) -> Trace:
    script = Script(tree_of({"log.jsonl": b""}))
    for number in range(records):
        if acked_first:
            script.ack(f"record-{number}")
        fd = script.open("log.jsonl", append=True)
        script.write(fd, b'{"id": "record-%d", "text": "%s"}\n' % (number, b"x" * 700))
        script.close(fd)
        if not acked_first:
            script.ack(f"record-{number}")
    return script.trace()


def judged(*bindings: FileBinding) -> Judged:
    return Judged(bindings=bindings, inferred=False, masked=False, invariants=frozenset())


def test_a_log_that_nobody_heals_has_to_be_healed_as_well() -> None:
    advice = advice_for(appended(3), judged(LOG), PROFILES)
    assert advice.outcome == "repaired"
    assert [step.kind for step in advice.steps] == ["fsync_file"]
    assert advice.heals == (Heal(role="log.jsonl"),)


def test_a_log_that_is_healed_already_only_needs_its_barrier() -> None:
    healed = FileBinding("log.jsonl", "log", id_key="id", torn_tail="healed")
    advice = advice_for(appended(3), judged(healed), PROFILES)
    assert (advice.outcome, advice.heals) == ("repaired", ())
    assert [step.kind for step in advice.steps] == ["fsync_file"]


def test_an_acknowledgement_that_comes_first_is_moved() -> None:
    advice = advice_for(appended(3, acked_first=True), judged(LOG), PROFILES)
    assert advice.outcome == "repaired"
    assert [step.kind for step in advice.steps] == ["fsync_file", "move_ack"]


def test_a_program_that_nobody_described() -> None:
    trace = appended(3)
    advice = advice_for(trace, judged(*infer_bindings(trace)), PROFILES)
    assert [step.kind for step in advice.steps] == ["fsync_file"]


def test_a_search_is_bounded_in_states_and_in_time() -> None:
    trace = appended(3)
    advice = advice_for(trace, judged(LOG), PROFILES, limit=10)
    assert (advice.outcome, advice.judged) == ("unfinished", 10)
    advice = advice_for(trace, judged(LOG), PROFILES, seconds=0.0)
    assert advice.outcome == "unfinished"
    assert "time" in advice.note
    assert "time" in audit_for(trace, judged(LOG), PROFILES, seconds=0.0).note


def test_of_a_long_run_the_beginning_is_looked_at() -> None:
    trace = appended(OPERATIONS)
    short = beginning(trace)
    assert OPERATIONS - 4 < len(short.operations) <= OPERATIONS
    assert isinstance(short.operations[-1], Ack)
    assert beginning(short) is short
    assert len(beginning(trace, 2).operations) == 2
    advice = advice_for(trace, judged(LOG), PROFILES[1:])
    assert advice.outcome == "repaired"
    assert advice.note == f"looked at the first {len(short.operations)} of {len(trace.operations)} operations"


def test_what_nobody_judges_is_never_called_in_order() -> None:
    script = Script()
    script.put("blob.bin", b"\x00\x01")
    fd = script.open("blob.bin")
    script.fsync(fd)
    script.close(fd)
    trace = script.trace()
    opaque = judged(FileBinding("blob.bin", "opaque"))
    advice, audit = (ask(trace, opaque, PROFILES) for ask in (advice_for, audit_for))
    assert advice.outcome == "unfinished"
    told = "no file of this run is judged; not judged, because nobody said what form it has: blob.bin"
    assert advice.note == audit.note == told
    assert [barrier.removals for barrier in audit.barriers] == [()]


def test_what_is_judged_beside_what_is_not() -> None:
    script = Script(tree_of({"log.jsonl": b"", "old.bin": b"x"}))
    fd = script.open("log.jsonl", append=True)
    script.write(fd, b'{"id": "record-1"}\n')
    script.close(fd)
    script.ack("record-1")
    script.put("blob.bin", b"x")
    advice = advice_for(script.trace(), judged(LOG), PROFILES)
    assert [step.kind for step in advice.steps] == ["fsync_file"]
    assert advice.note == "not judged, because nobody said what form it has: blob.bin"


def test_answers_can_be_stored() -> None:
    trace = appended(3, acked_first=True)
    advice, audit = (ask(trace, judged(LOG), PROFILES) for ask in (advice_for, audit_for))
    assert decode_record(encode_record(advice), Advice) == advice
    assert decode_record(encode_record(audit), Audit) == audit


def test_answers_travel_between_processes() -> None:
    trace = appended(2)
    advice, audit = (ask(trace, judged(LOG), PROFILES) for ask in (advice_for, audit_for))
    assert pickle.loads(pickle.dumps(advice)) == advice
    assert pickle.loads(pickle.dumps(audit)) == audit
