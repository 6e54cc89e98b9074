"""Edited traces can be replayed, end where the recorded run ends, and barriers only ever take states away."""

from __future__ import annotations

from itertools import chain

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.advice import (
    AnyEdit,
    DropSync,
    MergeWrites,
    MoveAck,
    ReplaceInPlace,
    RewriteInPlace,
    Serialise,
    SyncDirectory,
    SyncFile,
)
from harness.core.apply import replay
from harness.core.content import content_of
from harness.core.operation import Rename, Sync
from harness.core.trace import Trace
from harness.core.tree import File, tree_of
from harness.explore.power.candidates import Change, Places
from harness.explore.power.edits import EditError, apply_edits, temporaries_of
from harness.explore.script import Script
from harness.strategies import tangled_traces, traces
from tests.explore.edited_runs import PROFILES, states


def end(trace: Trace) -> dict[str, bytes]:
    tree = replay(trace.start, trace.operations)
    return {path: file.content.to_bytes() for path, file in tree.files()}


def kinds(trace: Trace) -> list[str]:
    return [op.kind for op in trace.operations]


def barriers(trace: Trace) -> list[Change]:
    places = Places(trace)
    return places.file_syncs() + places.directory_syncs()


def assert_numbered(trace: Trace) -> None:
    assert [op.seq for op in trace.operations] == list(range(len(trace.operations)))


@settings(max_examples=200)
@given(tangled_traces())
def test_whatever_two_processes_do_the_candidates_fit_and_end_in_the_same_files(trace: Trace) -> None:
    places = Places(trace)
    barriers = places.file_syncs() + places.directory_syncs()
    dearer = places.replacements(), places.moved_acks(), places.merges()
    for changes in (barriers, *dearer, [*barriers, *chain.from_iterable(dearer)]):
        edited = apply_edits(trace, [edit for change in changes for edit in change.edits])
        assert_numbered(edited)
        assert end(edited) == end(trace)
        assert [ack.id for ack in edited.acks] == [ack.id for ack in trace.acks]
    places.rivals()
    places.shared()


@given(traces(), st.data())
def test_inserted_and_dropped_syncs_leave_the_run_as_it_is(trace: Trace, data: st.DataObject) -> None:
    possible = [edit for change in barriers(trace) for edit in change.edits]
    possible += [DropSync(at=op.seq) for op in trace.operations if isinstance(op, Sync)]
    edits = data.draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    edited = apply_edits(trace, edits)
    assert_numbered(edited)
    assert replay(edited.start, edited.operations) == replay(trace.start, trace.operations)
    rest = [op for op in edited.operations if not isinstance(op, Sync)]
    assert [msgspec.structs.replace(op, seq=0) for op in rest] == [
        msgspec.structs.replace(op, seq=0) for op in trace.operations if not isinstance(op, Sync)
    ]


@given(traces())
def test_replaced_rewrites_and_renames_end_in_the_same_files(trace: Trace) -> None:
    places = Places(trace)
    replaced: list[AnyEdit] = [edit for change in places.replacements() for edit in change.edits]
    edited = apply_edits(trace, replaced)
    assert_numbered(edited)
    assert end(edited) == end(trace)
    renames = [op for op in trace.operations if isinstance(op, Rename) and op.path != op.to]
    rewritten = [RewriteInPlace(at=op.seq) for op in renames]
    edited = apply_edits(trace, rewritten)
    assert_numbered(edited)
    assert end(edited) == end(trace)
    assert kinds(edited).count("rename") == kinds(trace).count("rename") - len(renames)


@given(traces())
def test_all_candidates_together_fit(trace: Trace) -> None:
    places = Places(trace)
    changes = places.replacements() + places.moved_acks() + places.merges()
    edited = apply_edits(trace, [edit for change in changes for edit in change.edits])
    assert end(edited) == end(trace)
    assert [ack.id for ack in edited.acks] == [ack.id for ack in trace.acks]


@settings(max_examples=25)
@given(traces(steps=3), st.sampled_from(PROFILES), st.data())
def test_a_barrier_more_never_adds_a_state(trace: Trace, profile: object, data: st.DataObject) -> None:
    possible = [edit for change in barriers(trace) for edit in change.edits]
    if not possible:
        return
    edits = data.draw(st.lists(st.sampled_from(possible), unique=True, min_size=1, max_size=3))
    assert states(apply_edits(trace, edits), profile) <= states(trace, profile)  # type: ignore[arg-type]


@settings(max_examples=25)
@given(traces(steps=3), st.sampled_from(PROFILES), st.data())
def test_a_barrier_less_never_removes_a_state(trace: Trace, profile: object, data: st.DataObject) -> None:
    syncs = [DropSync(at=op.seq) for op in trace.operations if isinstance(op, Sync)]
    if not syncs:
        return
    edits = data.draw(st.lists(st.sampled_from(syncs), unique=True, min_size=1))
    assert states(apply_edits(trace, edits), profile) >= states(trace, profile)  # type: ignore[arg-type]


def test_rewriting_in_place_becomes_a_durable_replacement() -> None:
    script = Script(tree_of({"state.json": b"old"}))
    script.put("state.json", b"new")
    script.ack(1)
    script.put("state.json", b"newer")
    trace = script.trace()
    (change,) = Places(trace).replacements()
    edited = apply_edits(trace, change.edits)
    cycle = ["open", "write", "sync", "close", "rename", "sync"]
    assert kinds(edited) == [*cycle, "ack", *cycle]
    assert temporaries_of(change.edits) == {".state.json.tmp"}
    assert end(edited) == {"state.json": b"newer"}
    assert edited.operations[2].ino == edited.operations[0].ino  # type: ignore[union-attr]
    assert edited.operations[5].ino == 0  # type: ignore[union-attr]


def test_an_update_in_the_middle_of_a_file_goes_to_a_whole_copy() -> None:
    script = Script(tree_of({"table": b"0123456789"}))
    fd = script.open("table")
    script.write(fd, b"xx", at=4)
    script.fsync(fd)
    script.close(fd)
    trace = script.trace()
    (change,) = Places(trace).replacements()
    edited = apply_edits(trace, change.edits)
    assert kinds(edited) == ["open", "write", "sync", "close", "rename", "sync"]
    assert end(edited) == {"table": b"0123xx6789"}


def test_a_replacement_keeps_the_mode() -> None:
    tree = tree_of({"secret": b"old"})
    ino = tree.names["secret"]
    script = Script(tree.with_node(ino, File(content_of(b"old"), 0o600)))
    script.put("secret", b"new")
    trace = script.trace()
    (change,) = Places(trace).replacements()
    edited = apply_edits(trace, change.edits)
    node = replay(edited.start, edited.operations).node_at("secret")
    assert isinstance(node, File)
    assert node.mode == 0o600


def test_a_rename_rewritten_in_place_keeps_its_sync() -> None:
    for synced in (True, False):
        script = Script(tree_of({"x": b"old"}))
        script.replace("x", b"new")
        drop = [] if synced else [DropSync(at=2)]
        edited = apply_edits(script.trace(), [RewriteInPlace(at=4), *drop])
        assert kinds(edited).count("sync") == (2 if synced else 0)
        assert end(edited) == {"x": b"new"}


def test_acknowledgements_move_behind_the_write_that_carries_them() -> None:
    script = Script(tree_of({"log": b""}))
    for name in ("record-1", "record-2"):
        script.ack(name)
    fd = script.open("log", append=True)
    script.write(fd, b"record-1\nrecord-2\n")
    script.close(fd)
    trace = script.trace()
    (change,) = Places(trace).moved_acks()
    assert change.edits == (MoveAck(at=0, after=4), MoveAck(at=1, after=4))
    edited = apply_edits(trace, change.edits)
    assert kinds(edited) == ["open", "write", "close", "ack", "ack"]
    assert [ack.id for ack in edited.acks] == ["record-1", "record-2"]


def test_contiguous_writes_are_merged_at_the_last() -> None:
    script = Script()
    fd = script.open("x")
    for part in (b"a", b"b", b"c"):
        script.write(fd, part)
    script.close(fd)
    trace = script.trace()
    (change,) = Places(trace).merges()
    assert change.edits == (MergeWrites(at=1, others=(2, 3)),)
    edited = apply_edits(trace, change.edits)
    assert kinds(edited) == ["open", "write", "close"]
    assert end(edited) == {"x": b"abc"}


def test_edits_that_do_not_fit_are_refused() -> None:
    script = Script(tree_of({"x": b"old"}))
    script.ack(1)
    script.put("x", b"new")
    script.ack(2)
    trace = script.trace()
    wrong: list[AnyEdit] = [
        DropSync(at=0),
        DropSync(at=99),
        RewriteInPlace(at=1),
        MoveAck(at=1, after=3),
        MoveAck(at=4, after=0),
        MergeWrites(at=2, others=(3,)),
        ReplaceInPlace(at=2, until=3, ino=1, path="x", temporary="t", directory=0),
        Serialise(at=0, path="x", actors=("p0", "p1")),
    ]
    for edit in wrong:
        with pytest.raises(EditError):
            apply_edits(trace, [edit])
    with pytest.raises(EditError, match="order"):
        script.ack(3)
        apply_edits(script.trace(), [MoveAck(at=0, after=5)])


def test_a_barrier_inside_a_replacement_reaches_the_temporary() -> None:
    script = Script(tree_of({"x": b"old"}))
    script.put("x", b"new")
    trace = script.trace()
    (change,) = Places(trace).replacements()
    edited = apply_edits(
        trace, [*change.edits, SyncFile(at=1, ino=1, path="x"), SyncDirectory(at=2, ino=0, path=".")]
    )
    assert kinds(edited) == ["open", "write", "sync", "sync", "close", "rename", "sync", "sync"]
    assert end(edited) == {"x": b"new"}
