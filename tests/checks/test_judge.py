from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trees import (
    DOCUMENT,
    HEALED,
    LOG,
    REGISTRY,
    TRANSCRIPT,
    document_run,
    explored,
    judge,
    log_run,
    names,
    record,
)

from harness.checks import INVARIANTS, Expectation, FileBinding, Judge, UnknownInvariantError
from harness.core.fault import FAULT_CLASSES
from harness.core.tree import EMPTY_TREE, tree_of
from harness.explore import crash_states, explore
from harness.explore.script import Script

EVERYTHING = (FileBinding(".*", "opaque", litter=True), LOG, DOCUMENT, REGISTRY, TRANSCRIPT)
PATHS = st.sampled_from(["log.jsonl", "state.json", "r/local_1.json", "p/s.jsonl", "p/s.jsonl.tmp", "other"])
DATA = st.sampled_from([record(1), record(2)[:7], b'{"id": 3}\n', b"\0", b"{}", b"", b"x\n", record(4) * 2])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PATHS, DATA),
        st.tuples(st.just("append"), PATHS, DATA),
        st.tuples(st.just("replace"), PATHS, DATA),
        st.tuples(st.just("rename"), PATHS, PATHS),
        st.tuples(st.just("unlink"), PATHS),
        st.tuples(st.just("ack"), st.integers(1, 5)),
    ),
    max_size=14,
)


def run(steps: list[tuple]) -> Script:
    script = Script()
    for directory in ("r", "p"):
        script.mkdir(directory)
    for kind, *rest in steps:
        if kind == "put":
            script.put(rest[0], rest[1])
        elif kind == "replace":
            script.replace(rest[0], rest[1])
        elif kind == "append":
            fd = script.open(rest[0], append=True)
            script.write(fd, rest[1])
            script.close(fd)
        elif kind == "rename" and rest[0] in script.tree.names:
            script.rename(rest[0], rest[1])
        elif kind == "unlink" and rest[0] in script.tree.names:
            script.unlink(rest[0])
        elif kind == "ack":
            script.ack(rest[0])
    return script


@settings(max_examples=40)
@given(STEPS, st.booleans(), st.sampled_from(["kill", "short", "none", "errno", "concurrency"]))
def test_judging_one_tree_after_another_equals_judging_each_afresh(
    steps: list[tuple], masked: bool, fault_class: str
) -> None:
    trace = run(steps).trace()
    expectation = Expectation.from_trace(trace, EVERYTHING, masked=masked)
    kept = Judge(EVERYTHING, expectation)
    states = [*crash_states(trace, "kill"), *crash_states(trace, "short", 12)]
    for state in [*states, *reversed(states[::3])]:
        fresh = Judge(EVERYTHING, expectation)
        again = kept.judge(state.tree, state.acked, fault_class)  # type: ignore[arg-type]
        once = fresh.judge(state.tree, state.acked, fault_class)  # type: ignore[arg-type]
        assert sorted(map(str, again)) == sorted(map(str, once))


@given(STEPS)
@example(
    [("put", "log.jsonl", record(1)), ("ack", 1), *[("unlink", "log.jsonl"), ("put", "log.jsonl", b"{}")] * 2][:-1]
)
def test_the_last_state_of_a_run_breaks_no_promise_of_order_or_version(steps: list[tuple]) -> None:
    script = run(steps)
    trace = script.trace()
    bindings = tuple(FileBinding(b.glob, b.format, torn_tail=b.torn_tail, litter=b.litter) for b in EVERYTHING)
    expectation = Expectation.from_trace(trace, bindings)
    found = Judge(bindings, expectation, ("B5", "B6", "W3")).judge(script.tree, len(trace.acks), "none")
    assert [v for v in found if v.severity == "violation" and v.damage != "torn"] == []


def test_a_durable_writer_holds_over_all_kill_and_short_states() -> None:
    script = Script()
    log = script.open("log.jsonl", append=True)
    for number in range(1, 20):
        script.write(log, record(number, "some text "))
        script.fsync(log)
        script.replace("state.json", b'{"last": %d}\n' % number)
        script.ack(number)
    bindings = (HEALED, DOCUMENT)
    trace = script.trace()
    for fault_class in ("kill", "short"):
        predicate = Judge(bindings, Expectation.from_trace(trace, bindings)).judge
        found = explore(trace, fault_class, predicate)  # type: ignore[arg-type]
        assert found.violated == 0
        assert found.distinct > 90
        assert [g for g in found.groups if g.severity == "violation"] == []


def test_a_naive_writer_is_caught() -> None:
    assert explored(document_run(5, Script.put), DOCUMENT) == {("M1", "empty")}
    big = Script()
    for number in range(1, 3):
        big.put("state.json", b'{"n": %d, "x": "%s"}' % (number, b"x" * 9000))
        big.ack(number)
    assert explored(big, DOCUMENT) == {("M1", "empty"), ("M1", "torn")}


def test_only_the_invariants_asked_for_are_judged() -> None:
    files = {"log.jsonl": b"rubbish", "extra": b""}
    for name in ("B1", "B2", "B6", "W3"):
        assert {v.invariant for v in judge(log_run(), LOG, files, 1, invariants=name)} <= {name}
    assert {v.invariant for v in judge(log_run(), LOG, files, 1)} >= {"B1", "B2", "B5", "W3"}
    assert judge(log_run(), LOG, files, 1, invariants=()) == judge(log_run(), LOG, files, 1)


def test_an_unknown_invariant_is_refused_with_the_valid_ids() -> None:
    with pytest.raises(UnknownInvariantError, match="unknown invariant B99; valid: B1, B2"):
        judge(log_run(), LOG, {}, invariants="B99")


@pytest.mark.parametrize("fault_class", ["none", *FAULT_CLASSES])
def test_an_invariant_is_judged_only_under_the_classes_of_its_row(fault_class: str) -> None:
    files = {"log.jsonl": b"\0{\xff\n" + record(3)[:5], "state.json": b"", "x": b"", "r/new.json": b""}
    script = log_run()
    found = judge(script, EVERYTHING, files, 2, fault_class=fault_class)  # type: ignore[arg-type]
    assert found
    assert all(INVARIANTS[v.invariant].judges(fault_class) for v in found)  # type: ignore[arg-type]


def test_every_row_has_a_title_a_source_and_a_check() -> None:
    assert set(INVARIANTS) == {
        *(f"G{number}" for number in range(1, 8)),
        *(f"T{number}" for number in range(1, 10)),
        *(f"B{n}" for n in range(1, 10)),
        *(f"M{n}" for n in range(1, 11)),
        *(f"W{n}" for n in range(1, 11)),
    }
    for name, row in INVARIANTS.items():
        assert row.id == name
        assert row.title
        assert row.source
        assert row.checks
        assert row.judges("none")


def test_directories_and_unbound_files_are_not_looked_into() -> None:
    script = Script()
    script.mkdir("log.jsonl")
    assert names(judge(script, LOG, {"log.jsonl/x": b"\0"}, invariants=("B1", "B2", "B3"))) == []


def test_without_bindings_nothing_but_names_is_judged() -> None:
    expectation = Expectation.from_trace(log_run().trace(), ())
    assert Judge((), expectation).judge(tree_of({"log.jsonl": b"torn"}), 3, "kill") == ()
    assert names(Judge((), expectation).judge(tree_of({"other": b""}), 3, "kill")) == [("W3", "extra")]


@pytest.mark.parametrize(
    ("invariant", "bindings", "reason"),
    [
        ("B2", (), "no file of records"),
        ("B2", (FileBinding("log.jsonl", "log", json=False),), "no record file holds JSON"),
        ("B5", (DOCUMENT,), "no file of records"),
        ("M1", (LOG,), "no document"),
        ("M1", (FileBinding("log.jsonl", "opaque"),), "1 opaque"),
        ("W2", (LOG,), "no file names a session"),
        ("B9", (LOG,), "no file of format transcript"),
        ("B3", (LOG,), "B3 is not defined under kill"),
        ("W1", (LOG,), "W1 is not defined under kill"),
        ("W6", (FileBinding("log.jsonl", "log", json=False),), "no file of JSON records"),
        ("M2", (LOG,), "no document was seen"),
        ("M3", (DOCUMENT,), "no file collects the ids"),
        ("M5", (REGISTRY,), "no registry entry names a transcript"),
        ("M6", (LOG,), "no sessions index was seen"),
        ("M7", (TRANSCRIPT,), "no transcript was given a title"),
        ("M9", (REGISTRY,), "no registry entry is pinned"),
        ("M10", (REGISTRY,), "no file of format transcript"),
        ("W5", (LOG,), "the run renames nothing"),
        ("W7", (LOG,), "only one actor writes"),
        ("W9", (LOG,), "W9 is not defined under kill"),
    ],
)
def test_what_is_not_measured_is_said(invariant: str, bindings: tuple[FileBinding, ...], reason: str) -> None:
    judged = Judge(bindings, Expectation.from_trace(log_run().trace(), bindings))
    classes = {"B9": "concurrency", "M2": "concurrency", "M3": "concurrency", "W7": "concurrency", "W5": "errno"}
    fault_class = classes.get(invariant, "kill")
    assert reason in judged.measured(invariant, fault_class)  # type: ignore[arg-type]


def test_what_is_measured_has_no_reason() -> None:
    judged = Judge((LOG,), Expectation.from_trace(log_run().trace(), (LOG,)))
    assert [judged.measured(name, "kill") for name in ("B1", "B2", "B5", "B6", "W3", "W6", "B7", "M8")] == [""] * 8


def test_scopes_that_were_not_judged_are_reasons() -> None:
    judged = Judge((LOG,), Expectation.from_trace(log_run().trace(), (LOG,)))
    assert "recovery" in judged.measured("B7", "kill", also=())
    assert "operations" in judged.measured("W6", "kill", also=())
    assert judged.measured("W6", "kill", also=("trace",)) == ""
    assert "refused operation" in judged.measured("W8", "errno", also=("trace",))
    assert "reads while the target writes" in judged.measured("M2", "concurrency", also=("trace",))
    assert "recovery" in judged.measured("W10", "kill", also=("trace", "listing"))
    assert judged.measured("W10", "kill") == judged.measured("W9", "signal") == ""


def test_without_acknowledgements_b5_is_not_measured() -> None:
    script = Script()
    script.write(script.open("log.jsonl", append=True), record(1))
    judged = Judge((LOG,), Expectation.from_trace(script.trace(), (LOG,)))
    assert judged.measured("B5", "kill") == "no acknowledgement was seen"
    assert judged.judge(EMPTY_TREE, 0, "kill") == ()


def test_a_file_the_engine_could_not_see_into_is_not_measured() -> None:
    trace = msgspec.structs.replace(log_run().trace(), unseen_paths=("log.jsonl",))
    judged = Judge((LOG,), Expectation.from_trace(trace, (LOG,)))
    assert "shared mapping" in judged.measured("B6", "kill")
