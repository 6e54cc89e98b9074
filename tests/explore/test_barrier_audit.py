"""The audit of barriers: what each sync and rename of a writer holds up, and where one is redundant."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings

from harness.catalog.profiles import load_profile
from harness.core.advice import KILL, Audit, Barrier
from harness.core.trace import Trace
from harness.core.tree import tree_of
from harness.explore.power.audit import SINGLES, audit
from harness.explore.script import Script
from harness.strategies import traces
from tests.explore.edited_runs import PROFILES, Versions

OLD = tree_of({"state.json": b"0" * 5000})


def audited(script: Script, *names: str) -> Audit:
    trace = script.trace()
    profiles = [load_profile(name) for name in names] or PROFILES
    return audit(trace, profiles, Versions(trace))


def durable(script: Script, updates: int, *, twice: bool = False) -> None:
    for number in range(1, updates + 1):
        script.replace("state.json", b"%d" % number * 5000)
        script.sync_directory()
        if twice:
            script.sync_directory()
        script.ack(number)


def by_kind(result: Audit) -> dict[str, Barrier]:
    return {barrier.kind: barrier for barrier in result.barriers}


def test_every_barrier_of_a_durable_writer_is_load_bearing_somewhere() -> None:
    script = Script(OLD)
    durable(script, 3)
    result = audited(script)
    assert [tally.violated for tally in result.before] == [0] * 5
    barriers = by_kind(result)
    assert list(barriers) == ["fsync", "rename", "fsync of the directory"]
    assert barriers["fsync"].operations == (2, 9, 16)
    assert barriers["fsync"].position == "before its rename"
    assert barriers["fsync of the directory"].position == "after the rename to state.json"
    assert barriers["rename"].position == "over what is there"
    assert all(barrier.load_bearing for barrier in barriers.values())
    assert all(barrier.tried == 3 for barrier in barriers.values())


def test_the_fsync_before_a_rename_is_redundant_only_where_write_allocates() -> None:
    script = Script(OLD)
    durable(script, 2)
    fsync = by_kind(audited(script, "posix", "ext4", "ext4-nodelalloc", "xfs", "btrfs"))["fsync"]
    assert set(fsync.load_bearing) == {"posix", "ext4", "xfs", "btrfs"}


def test_a_rename_holds_up_what_a_kill_would_tear() -> None:
    script = Script(OLD)
    durable(script, 1)
    rename = by_kind(audited(script))["rename"]
    assert KILL in rename.load_bearing
    assert set(rename.load_bearing) >= {profile.name for profile in PROFILES}


def test_the_second_of_two_syncs_is_redundant_one_by_one() -> None:
    script = Script(OLD)
    durable(script, 2, twice=True)
    directory = by_kind(audited(script))["fsync of the directory"]
    assert len(directory.operations) == 4
    assert all(removal.states for removal in directory.removals)
    assert all(removal.singles == 0 for removal in directory.removals)


@pytest.mark.parametrize(("flags", "kind"), [(0o10000, "O_DSYNC"), (0o4010000, "O_SYNC")])
def test_a_file_opened_for_synchronous_writes_is_a_barrier(flags: int, kind: str) -> None:
    script = Script(OLD)
    fd = script.open("new.tmp")
    script.write(fd, b"1" * 5000)
    script.close(fd)
    script.rename("new.tmp", "state.json")
    script.sync_directory()
    script.ack(1)
    trace = script.trace()
    opened = msgspec.structs.replace(trace.operations[0], flags=flags)
    trace = msgspec.structs.replace(trace, operations=(opened, *trace.operations[1:]))
    result = audit(trace, PROFILES, Versions(trace))
    assert [tally.violated for tally in result.before] == [0] * 5
    assert result.barriers[0].kind == kind
    assert set(result.barriers[0].load_bearing) >= {"posix", "xfs"}


def test_a_sync_of_nothing_is_redundant() -> None:
    script = Script(OLD)
    durable(script, 1)
    fd = script.open("state.json", append=True)
    script.fsync(fd)
    script.close(fd)
    barriers = [barrier for barrier in audited(script).barriers if barrier.kind == "fsync"]
    assert [bool(barrier.load_bearing) for barrier in barriers] == [True, False]
    assert barriers[1].position == "at the end"
    assert all(not removal.states and not removal.causes for removal in barriers[1].removals)


def test_a_long_run_is_tried_one_by_one_at_some_places() -> None:
    script = Script(OLD)
    durable(script, SINGLES + 5)
    for barrier in audited(script, "ext4").barriers:
        assert (len(barrier.operations), barrier.tried) == (SINGLES + 5, SINGLES)


def test_what_was_violated_before_is_not_held_against_a_barrier() -> None:
    script = Script(OLD)
    script.put("other.json", b"1" * 5000)
    durable(script, 1)
    result = audited(script)
    assert all(tally.violated for tally in result.before)
    causes = [cause for barrier in result.barriers for item in barrier.removals for cause in item.causes]
    assert {cause.damage for cause in causes if cause.role == "other.json"} <= {"missing", "stale"}
    assert any(cause.role == "state.json" for cause in causes)


def test_an_audit_that_may_judge_no_more_says_so() -> None:
    script = Script(OLD)
    durable(script, 2)
    trace = script.trace()
    result = audit(trace, PROFILES, Versions(trace), limit=100)
    assert "100 states" in result.note
    assert len(result.barriers) == 3
    assert result.barriers[-1].removals == ()


@settings(max_examples=15)
@given(traces(steps=4))
def test_any_run_can_be_audited(trace: Trace) -> None:
    result = audit(trace, PROFILES[:2], Versions(trace))
    assert not result.note
    told = [number for barrier in result.barriers for number in barrier.operations]
    assert len(told) == len(set(told))
    assert len(told) >= sum(op.kind == "sync" for op in trace.operations)
