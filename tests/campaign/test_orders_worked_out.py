"""What is worked out from the trace of an order alone: its crash states, and where a reader would see no version."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign.context import Case, Measured
from harness.campaign.crossing import Cause, explore_order
from harness.campaign.readers import gone_orders, telling_orders, torn_orders
from harness.campaign.work import Explored, Judged
from harness.catalog import Subject
from harness.checks import FileBinding
from harness.core.apply import replay
from harness.core.run import Recording, RunSpec
from harness.core.schedule import Prefix, Scheduled, schedule_of
from harness.explore import explore
from harness.explore.script import Script

LOG = FileBinding("log.jsonl", "log", id_key="id")
NOTES = FileBinding("notes.json", "document", id_key="$")
LITTER = FileBinding("*.tmp", "document", litter=True)
SPEC = RunSpec(argv=("w",), root="/s", cwd="/c", environment={}, readers=1)


def recording_of(script: Script, decisions: tuple[str, ...] = (), done: tuple[int, ...] = ()) -> Recording:
    trace = script.trace()
    scheduled = Scheduled(schedule=schedule_of(decisions), offered=tuple((each,) for each in decisions), done=done)
    return Recording(
        spec=SPEC,
        engine="ptrace",
        final=replay(trace.start, trace.operations),
        ending="exited",
        trace=trace,
        acks=tuple(op.id for op in trace.acks),
        scheduled=scheduled,
    )


def judged(*invariants: str, in_order: bool = True) -> Judged:
    return Judged(
        bindings=(LOG, NOTES, LITTER),
        inferred=False,
        masked=False,
        invariants=frozenset(invariants),
        in_order=in_order,
    )


def causes(script: Script, *invariants: str, in_order: bool = True) -> set[Cause]:
    crossed = explore_order(recording_of(script), judged(*invariants, in_order=in_order), ("kill",))
    return {cause for each in crossed.states["kill"].values() for cause in each}


def line(name: str) -> bytes:
    return json.dumps({"id": name}).encode() + b"\n"


def notes(*names: str) -> bytes:
    return json.dumps(dict.fromkeys(names, 1)).encode()


def overwritten(path: str, both: bytes, first: bytes, second: bytes, heals: bool) -> Script:
    """The second has read before the first renamed; it makes good what it dropped, or does not."""
    script = Script(actors=2)
    script.replace(path, first, suffix=".0.tmp", actor=0)
    script.ack("a", actor=0)
    script.replace(path, second, suffix=".1.tmp", actor=1)
    script.ack("b", actor=1)
    if heals:
        script.replace(path, both, suffix=".1.tmp", actor=1)
    return script


def test_what_is_made_good_is_lost_in_between() -> None:
    records = ("log.jsonl", line("b") + line("a"), line("a"), line("b"))
    assert causes(overwritten(*records, heals=True), "B5") == {("B5", "log.jsonl", "lost")}
    collected = ("notes.json", notes("a", "b"), notes("a"), notes("b"))
    assert causes(overwritten(*collected, heals=True), "M3") == {("M3", "notes.json", "lost")}


def test_what_the_order_loses_without_a_crash_is_no_news_of_a_crash() -> None:
    assert causes(overwritten("log.jsonl", b"", line("a"), line("b"), heals=False), "B5") == set()
    assert causes(overwritten("notes.json", b"", notes("a"), notes("b"), heals=False), "M3") == set()


def test_an_update_is_not_asked_for_after_a_crash_where_nobody_decided_the_order() -> None:
    collected = ("notes.json", notes("a", "b"), notes("a"), notes("b"))
    assert causes(overwritten(*collected, heals=True), "M3", in_order=False) == set()


@given(st.lists(st.sampled_from(["append", "replace", "ack"]), max_size=8))
def test_of_one_actor_an_order_is_a_recording(steps: list[str]) -> None:
    """Its crash states are those of any trace, and judged alike."""
    script, held = Script(), b""
    for number, step in enumerate(steps):
        held += line(f"u{number}") if step != "ack" else b""
        if step == "replace":
            script.replace("log.jsonl", held)
        elif step == "append":
            fd = script.open("log.jsonl", append=True)
            script.write(fd, line(f"u{number}"))
            script.close(fd)
        elif number:
            script.ack(f"u{number - 1}")
    how, recording = judged("B1", "B5", "B6", in_order=False), recording_of(script)
    crossed = explore_order(recording, how, ("kill",))
    expected = explore(script.trace(), "kill", lambda *_: ())
    assert len(crossed.states["kill"]) == expected.distinct
    assert crossed.explored.explorations["kill"].enumerated == expected.enumerated
    assert not any(crossed.states["kill"].values())


def measured_of(recording: Recording) -> Measured:
    subject = Subject(target="t", variant="v", version="", spec=SPEC)
    case = Case(subject=subject, faults=("concurrency",), invariants=frozenset({"M2"}))
    return Measured(case, Explored(recording=recording, judged=judged("M2")))


def test_a_reader_is_put_after_the_operation_that_leaves_no_version() -> None:
    """The writer is p2, whose decisions are open, write, close, say, for each version. The reader came first."""
    script = Script()
    for number in range(2):
        fd = script.open("notes.json", truncate=True)
        script.write(fd, notes(str(number)))
        script.close(fd)
        script.ack(str(number))
    decisions = ("p1", "p1", *["p2"] * 8)
    recording = recording_of(script, decisions, done=(0, 0, *range(8)))
    (order,) = telling_orders(measured_of(recording), recording)
    assert order == Prefix(begin=schedule_of(("p2", "p1")))


def test_no_order_is_told_of_a_document_that_is_replaced() -> None:
    script = Script()
    for number in range(2):
        script.replace("notes.json", notes(str(number)))
        script.ack(str(number))
    recording = recording_of(script, ("p2",) * 4, done=(0, 4, 5, 9))
    assert list(telling_orders(measured_of(recording), recording)) == []


@pytest.mark.parametrize(("size", "renamed", "orders"), [(6000, False, 12), (6000, True, 0), (100, False, 0)])
def test_a_reader_of_pieces_is_interrupted_by_a_write_over_them(size: int, renamed: bool, orders: int) -> None:
    """Each moment shows a version; who has read the first 4,096 bytes before the write gets none."""
    script = Script()
    script.replace("notes.json", notes("a" * size, "z"))
    script.ack("a" * size)
    if renamed:
        script.replace("notes.json", notes("b" * size, "z"))
    else:
        fd = script.open("notes.json")
        script.write(fd, notes("b" * size, "z"), at=0)
        script.close(fd)
    script.ack("b" * size)
    operations = len(script.trace().operations)
    recording = recording_of(script, ("p2",) * operations, done=tuple(range(operations)))
    measured = measured_of(recording)
    assert list(telling_orders(measured, recording)) == []
    found = list(torn_orders(measured, recording))
    assert len(found) == orders
    if found:
        write = max(op.seq for op in script.trace().operations if op.kind == "write")
        assert found[2] == Prefix(begin=schedule_of(["p2"] * write + ["p1"] * 3 + ["p2", "p1"]))


@pytest.mark.parametrize(("removed", "orders"), [(True, 12), (False, 0)])
def test_a_reader_that_had_a_document_is_put_where_it_is_gone(removed: bool, orders: int) -> None:
    script = Script()
    script.replace("notes.json", notes("a"))
    script.ack("a")
    first = max(op.seq for op in script.trace().operations if op.kind == "rename")
    fd = script.open("notes.json.tmp", truncate=True)
    script.write(fd, notes("b"))
    script.close(fd)
    if removed:
        script.unlink("notes.json")
    at = len(script.trace().operations)
    script.rename("notes.json.tmp", "notes.json")
    script.ack("b")
    operations = len(script.trace().operations)
    recording = recording_of(script, ("p2",) * operations, done=tuple(range(operations)))
    found = list(gone_orders(measured_of(recording), recording))
    assert len(found) == orders
    if found:
        others = ["p2"] * (at - first - 1)
        assert found[2] == Prefix(begin=schedule_of(["p2"] * (first + 1) + ["p1"] * 3 + [*others, "p1"]))
