"""Advice for writers made by hand: the cheapest kind of change that is enough, and what is said where none is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from harness.core.advice import KILL, Advice, Heal, SyncDirectory, SyncFile
from harness.core.fault import FaultClass
from harness.core.trace import Trace
from harness.core.tree import Tree, tree_of
from harness.core.verdict import Violation
from harness.explore.power.advice import advise
from harness.explore.power.measure import LimitReachedError, Meter
from harness.explore.script import Script
from harness.strategies import traces
from tests.explore.edited_runs import PROFILES, Versions

OLD = tree_of({"state.json": b"0" * 5000})


def kinds(advice: Advice) -> list[str]:
    return [step.kind for step in advice.steps]


def advice_for(script: Script) -> Advice:
    trace = script.trace()
    return advise(trace, PROFILES, Versions(trace))


def violated(tallies: Sequence[object]) -> dict[str, int]:
    return {tally.under: tally.violated for tally in tallies}  # type: ignore[attr-defined]


def replaced(script: Script, *, fsync: bool, directory: bool) -> None:
    for number in (1, 2):
        fd = script.open("state.json.tmp", truncate=True)
        script.write(fd, b"%d" % number * 5000)
        if fsync:
            script.fsync(fd)
        script.close(fd)
        script.rename("state.json.tmp", "state.json")
        if directory:
            script.sync_directory()
        script.ack(number)


def test_a_durable_writer_needs_nothing() -> None:
    script = Script(OLD)
    replaced(script, fsync=True, directory=True)
    advice = advice_for(script)
    assert (advice.outcome, advice.steps) == ("nothing", ())


def test_the_directory_is_synced_where_only_that_is_missing() -> None:
    script = Script(OLD)
    replaced(script, fsync=True, directory=False)
    advice = advice_for(script)
    assert advice.outcome == "repaired"
    (step,) = advice.steps
    assert step.kind == "fsync_directory"
    assert step.edits == (SyncDirectory(at=4, ino=0, path="."), SyncDirectory(at=10, ino=0, path="."))
    assert {cause.damage for cause in step.without} == {"stale"}
    assert step.without_states == sum(violated(advice.before).values()) > 0


def test_a_rename_without_any_sync_is_repaired_by_insertion_only() -> None:
    script = Script(OLD)
    replaced(script, fsync=False, directory=False)
    advice = advice_for(script)
    assert advice.outcome == "repaired"
    assert kinds(advice) == ["fsync_file", "fsync_directory"]
    assert advice.steps[0].edits[0] == SyncFile(at=1, ino=2, path="state.json.tmp")
    assert advice.steps[0].until_kind == "rename"
    assert set(violated(advice.after).values()) == {0}
    assert advice.barriers_leave == -1
    for step in advice.steps:
        assert step.without_states > 0


def test_rewriting_in_place_is_repaired_by_replacement_and_not_by_barriers() -> None:
    script = Script(OLD)
    for number in (1, 2):
        script.put("state.json", b"%d" % number * 5000)
        script.ack(number)
    advice = advice_for(script)
    assert advice.outcome == "repaired"
    assert kinds(advice) == ["replace_in_place"]
    assert len(advice.steps[0].edits) == 2
    assert advice.barriers_leave > 0
    assert advice.barriers_leave_kill > 0
    assert set(violated(advice.after).values()) == {0}


def test_what_barriers_repair_is_not_replaced() -> None:
    script = Script(tree_of({"torn.json": b"0" * 5000}))
    script.put("torn.json", b"1" * 5000)
    fd = script.open("other.tmp")
    script.write(fd, b"new")
    script.close(fd)
    script.rename("other.tmp", "other.json")
    script.ack(1)
    advice = advice_for(script)
    assert advice.outcome == "repaired"
    by_path = {step.path: step.kind for step in advice.steps}
    assert by_path["torn.json"] == "replace_in_place"
    assert by_path["other.tmp"] == "fsync_file"


class Log:
    """Every acknowledged record is in the log; what is more is a prefix of the records."""

    def __init__(self, healed: bool) -> None:
        self.healed = healed

    def __call__(self, tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        node = tree.node_at("log")
        data = node.content.to_bytes() if node is not None else b""  # type: ignore[union-attr]
        lines = data.split(b"\n")
        whole = [b"record-%d" % number for number in range(1, 9)]
        kept = next((n for n, line in enumerate(lines) if n >= len(whole) or line != whole[n]), len(lines))
        found = []
        if kept < acked:
            found.append(Violation(invariant="B5", path="log", damage="lost", message=""))
        if not self.healed and (kept < len(lines) - 1 or lines[-1]):
            found.append(Violation(invariant="B1", path="log", damage="torn", message=""))
        return found


def batched() -> Trace:
    script = Script(tree_of({"log": b""}))
    script.ack("record-1")
    script.ack("record-2")
    fd = script.open("log", append=True)
    script.write(fd, b"record-1\nrecord-2\n")
    script.close(fd)
    return script.trace()


def test_a_queue_is_repaired_by_moving_the_acknowledgement_plus_fsync_and_healing() -> None:
    heals = (Heal(role="log"),)
    advice = advise(batched(), PROFILES, Log(False), healing=Log(True), heals=heals)
    assert advice.outcome == "repaired"
    assert kinds(advice) == ["fsync_file", "move_ack"]
    assert advice.heals == heals
    assert advice.barriers_leave_kill > 0
    assert all(step.without_states for step in advice.steps)
    assert {cause.under for cause in advice.steps[1].without} >= {KILL}


def test_without_healing_the_rest_is_said() -> None:
    advice = advise(batched(), PROFILES, Log(False))
    assert advice.outcome == "partly"
    assert kinds(advice) == ["fsync_file", "move_ack"]
    assert {cause.invariant for cause in advice.remains} == {"B1"}


def racing() -> Script:
    script = Script(tree_of({"log": b""}), actors=2)
    one = script.open("log", truncate=True, actor=0)
    other = script.open("log", truncate=True, actor=1)
    script.write(one, b"record-1\n", actor=0)
    script.write(other, b"record-2\n", actor=1)
    script.close(one, actor=0)
    script.close(other, actor=1)
    script.ack("record-1", actor=0)
    script.ack("record-2", actor=1)
    return script


def test_writers_that_overwrite_each_other_are_told_to_take_turns_and_barriers_are_refused() -> None:
    advice = advise(racing().trace(), PROFILES, Log(False), healing=Log(True), heals=(Heal(role="log"),))
    assert advice.outcome == "serialise"
    assert advice.serialise is not None
    assert advice.serialise.path == "log"
    assert advice.serialise.actors == ("p0", "p1")
    assert advice.steps == ()
    assert advice.barriers_leave > 0
    assert advice.barriers_leave_kill > 0


def test_writers_that_lost_an_update_by_renames_are_told_to_take_turns() -> None:
    script = Script(tree_of({"log": b""}), actors=2)
    for actor, line in ((0, b"record-1\n"), (1, b"record-2\n")):
        script.replace("log", line, suffix=f".{actor}", actor=actor)
        script.sync_directory(actor=actor)
        script.ack(line, actor=actor)
    advice = advise(script.trace(), PROFILES, Log(False))
    assert advice.outcome == "serialise"


def test_taking_turns_is_only_mentioned_where_nothing_went_wrong() -> None:
    script = Script(OLD, actors=2)
    for actor in (0, 1):
        script.put("state.json", b"%d" % (actor + 1) * 5000, actor=actor)
        script.ack(actor, actor=actor)
    advice = advice_for(script)
    assert (advice.outcome, kinds(advice)) == ("repaired", ["replace_in_place"])
    assert advice.shared is not None
    assert advice.serialise is None


def test_what_leaves_nearly_everything_violated_is_no_advice() -> None:
    script = Script(OLD)
    replaced(script, fsync=False, directory=False)
    versions = Versions(script.trace())

    def spoilt(tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        always = Violation(invariant="B9", path="state.json", damage="other", message="")
        return [always, *versions(tree, acked, fault_class)]

    advice = advise(script.trace(), PROFILES, spoilt)
    assert (advice.outcome, advice.steps) == ("none", ())
    assert "ends violated" in advice.note


def test_damage_that_stays_in_few_states_is_told_beside_what_is_repaired() -> None:
    script = Script(OLD)
    replaced(script, fsync=False, directory=False)
    versions = Versions(script.trace())

    def partly(tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        found = list(versions(tree, acked, fault_class))
        if acked == 0 and "state.json.tmp" in tree.names:
            found.append(Violation(invariant="B9", path="state.json.tmp", damage="other", message=""))
        return found

    advice = advise(script.trace(), PROFILES, partly)
    assert advice.outcome == "partly"
    assert kinds(advice) == ["fsync_file", "fsync_directory"]
    assert {cause.invariant for cause in advice.remains} == {"B9"}


def test_files_that_are_whole_need_no_healing() -> None:
    heals = (Heal(role="log", closes_turns=True), Heal(role="other"))
    advice = advise(batched(), PROFILES, Log(False), healing=Log(True), heals=heals)
    assert advice.heals == (Heal(role="log"),)


def test_renames_that_cross_are_only_mentioned_where_nothing_went_wrong() -> None:
    script = Script(OLD, actors=2)
    files = [script.open(f"state.json.{actor}.tmp", actor=actor) for actor in (0, 1)]
    for actor, fd in enumerate(files):
        script.write(fd, b"%d" % (actor + 1) * 5000, actor=actor)
        script.close(fd, actor=actor)
    for actor in (0, 1):
        script.rename(f"state.json.{actor}.tmp", "state.json", actor=actor)
        script.ack(actor, actor=actor)
    advice = advice_for(script)
    assert (advice.outcome, kinds(advice)) == ("repaired", ["fsync_file", "fsync_directory"])
    assert advice.shared is not None


def test_nothing_helps_where_every_state_is_violated() -> None:
    script = Script(OLD)
    replaced(script, fsync=True, directory=True)

    def never(tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        return [Violation(invariant="M1", path="state.json", damage="other", message="")]

    advice = advise(script.trace(), PROFILES, never)
    assert advice.outcome == "none"
    assert advice.steps == ()
    assert advice.remains


def test_a_search_ends_at_its_limit_and_says_so() -> None:
    script = Script(OLD)
    replaced(script, fsync=False, directory=False)
    trace = script.trace()
    whole = advise(trace, PROFILES, Versions(trace))
    for limit in (0, 1, whole.judged // 2, whole.judged - 1):
        advice = advise(trace, PROFILES, Versions(trace), limit=limit)
        assert (advice.outcome, advice.judged) == ("unfinished", limit)
        assert "states" in advice.note
    assert advise(trace, PROFILES, Versions(trace), limit=whole.judged) == whole


def test_a_predicate_ends_a_search() -> None:
    def late(tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        raise LimitReachedError("the time is up")

    advice = advise(batched(), PROFILES, late)
    assert (advice.outcome, advice.note) == ("unfinished", "the time is up")


def test_the_advice_is_the_same_every_time() -> None:
    assert advise(batched(), PROFILES, Log(False)) == advise(batched(), PROFILES, Log(False))


@settings(max_examples=15)
@given(traces(steps=4))
def test_advice_keeps_what_it_promises(trace: Trace) -> None:
    predicate = Versions(trace)
    advice = advise(trace, PROFILES[:2], predicate)
    edits = [edit for step in advice.steps for edit in step.edits]
    if advice.outcome == "repaired":
        assert Meter(trace, PROFILES[:2]).measure(edits, predicate).violated == 0
        assert all(step.without_states for step in advice.steps)
    elif advice.outcome == "nothing":
        assert Meter(trace, PROFILES[:2]).measure((), predicate).violated == 0
    else:
        assert advice.remains


@pytest.mark.parametrize("fsync", [True, False])
def test_memory_of_the_run_is_not_changed_by_a_search(fsync: bool) -> None:
    script = Script(OLD)
    replaced(script, fsync=fsync, directory=False)
    trace = script.trace()
    before = trace.operations
    advise(trace, PROFILES[:1], Versions(trace))
    assert trace.operations == before


def test_the_order_of_causes_does_not_depend_on_the_process() -> None:
    advice = advise(racing().trace(), PROFILES, Log(False))
    for under in {cause.under for cause in advice.remains}:
        mine = [cause for cause in advice.remains if cause.under == under]
        assert mine == sorted(mine, key=lambda cause: (-cause.states, cause.invariant, cause.damage))
    assert len({cause.invariant for cause in advice.remains}) > 1
