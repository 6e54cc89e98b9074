from __future__ import annotations

import errno

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, LOG, document_run, log_run, names, record

from harness.checks import judge_outcome, unsteady_roles
from harness.core.run import Delivered, Recording, RunSpec
from harness.core.tree import tree_of
from harness.explore.script import Script

SPEC = RunSpec(argv=("writer",), root="/state", cwd="/cwd", environment={})
BOTH = (LOG, DOCUMENT)


def recording(script: Script, **more: object) -> Recording:
    values = {
        "spec": SPEC,
        "engine": "script",
        "final": script.tree,
        "ending": "exited",
        "trace": script.trace(),
        "exit_code": 0,
        "acks": tuple(ack.id for ack in script.trace().acks),
    }
    return Recording(**{**values, **more})  # type: ignore[arg-type]


def struck(fault: str, script: Script, files: dict[str, bytes], **more: object) -> Recording:
    write = next(op for op in script.trace().operations if op.kind == "write")
    if fault == "errno":
        write = msgspec.structs.replace(write, error=errno.ENOSPC)
    delivered = (Delivered(fault=fault, seq=write.seq, pid=1, operation=write),)
    return recording(script, **{"delivered": delivered, "final": tree_of(files), **more})


NULL = recording(log_run())
WHOLE = {"log.jsonl": record(1) + record(2) + record(3)}
TORN = {"log.jsonl": record(1)[:5] + record(2) + record(3)}


@pytest.mark.parametrize(("fault", "invariant"), [("short", "W1"), ("errno", "W8")])
def test_a_fault_that_is_neither_reported_nor_repaired(fault: str, invariant: str) -> None:
    found = judge_outcome(NULL, struck(fault, log_run(), TORN), BOTH)
    assert [(v.invariant, v.damage, v.path) for v in found] == [(invariant, "silent", "log.jsonl")]


@pytest.mark.parametrize("fault", ["short", "errno"])
@pytest.mark.parametrize(
    "report",
    [
        {"exit_code": 1},
        {"exit_code": None, "signal": 6, "ending": "signalled"},
        {"acks": ("1", "2")},
        {"stderr_tail": b"error: disk full\n"},
    ],
)
def test_any_report_is_enough(fault: str, report: dict[str, object]) -> None:
    assert judge_outcome(NULL, struck(fault, log_run(), TORN, **report), BOTH) == ()


@pytest.mark.parametrize("fault", ["short", "errno"])
def test_a_repaired_fault_holds(fault: str) -> None:
    assert judge_outcome(NULL, struck(fault, log_run(), WHOLE), BOTH) == ()


def test_standard_error_of_the_undisturbed_run_is_no_report() -> None:
    noisy = recording(log_run(), stderr_tail=b"warning at 2025-01-01T00:00:00Z\n")
    again = struck("short", log_run(), TORN, stderr_tail=b"warning at 2026-01-01T00:00:00Z\n")
    assert names(judge_outcome(noisy, again, BOTH)) == [("W1", "silent")]


def test_a_fault_that_never_struck_proves_nothing() -> None:
    assert judge_outcome(NULL, recording(log_run(), final=tree_of(TORN)), BOTH) == ()


def test_a_run_that_did_not_end_by_itself_is_not_a_success() -> None:
    run = struck("short", log_run(), TORN, ending="timeout", exit_code=None)
    assert judge_outcome(NULL, run, BOTH) == ()


def test_litter_is_no_difference() -> None:
    null = recording(document_run())
    final = {"state.json": b'{"version": 3}\n', "state.json.tmp": b"{"}
    assert judge_outcome(null, struck("errno", document_run(), final), BOTH) == ()
    missing = struck("errno", document_run(), {"state.json.tmp": b"{"})
    assert names(judge_outcome(null, missing, BOTH)) == [("W8", "silent")]


def test_random_names_times_and_counters_of_the_clock_are_masked() -> None:
    def fork(uuid: str, when: str) -> Script:
        script = Script()
        script.put(f"{uuid}.jsonl", b'{"id":"%s","at":%s}\n' % (uuid.encode(), when.encode()))
        script.ack(uuid)
        return script

    null = recording(fork("11111111-1111-4111-8111-111111111111", "1700000000000"))
    other = fork("22222222-2222-4222-8222-222222222222", "1800000000123")
    files = {path: file.content.to_bytes() for path, file in other.tree.files()}
    assert judge_outcome(null, struck("short", other, files), ()) == ()
    short = {path: data[:20] for path, data in files.items()}
    assert names(judge_outcome(null, struck("short", other, short), ())) == [("W1", "silent")]


def test_what_differs_between_undisturbed_runs_is_left_out_and_nothing_else() -> None:
    other = recording(log_run(), final=tree_of({"log.jsonl": b"something else\n"}))
    assert unsteady_roles(NULL, NULL, BOTH) == frozenset()
    assert unsteady_roles(NULL, other, BOTH) == {"log.jsonl"}
    torn = struck("short", log_run(), {**TORN, "noise.bin": b"1"})
    null = recording(log_run(), final=tree_of({**WHOLE, "noise.bin": b"2"}))
    assert names(judge_outcome(null, torn, BOTH, unsteady=frozenset({"noise.bin"}))) == [("W1", "silent")]
    assert judge_outcome(null, torn, BOTH, unsteady=frozenset({"noise.bin", "log.jsonl"})) == ()


def test_only_the_rows_asked_for() -> None:
    assert judge_outcome(NULL, struck("short", log_run(), TORN), BOTH, ("W8",)) == ()
    with pytest.raises(ValueError, match="no trace"):
        judge_outcome(recording(log_run(), trace=None), struck("short", log_run(), TORN), BOTH)


@given(st.binary(max_size=80), st.sampled_from(["short", "errno"]))
def test_silence_is_a_violation_exactly_when_the_tree_differs(data: bytes, fault: str) -> None:
    found = judge_outcome(NULL, struck(fault, log_run(), {"log.jsonl": data}), BOTH)
    assert bool(found) == (data != WHOLE["log.jsonl"])
    assert judge_outcome(NULL, struck(fault, log_run(), {"log.jsonl": data}, exit_code=1), BOTH) == ()
