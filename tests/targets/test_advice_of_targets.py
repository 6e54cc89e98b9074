"""Advice and audit for the writers of the shipped targets, from recordings of real runs.

What the advice must be stands in the story of each writer: insertion where a barrier is missing, replacement where a
file is rewritten in place, a later acknowledgement where one comes too early, turns where two writers overwrite each
other. Of a durable writer each barrier is load-bearing somewhere, or called redundant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from harness.campaign.advising import advice_for, audit_for
from harness.campaign.work import Judged, run_once
from harness.catalog.profiles import ALL, DEFAULT_PROFILES, load_profiles
from harness.catalog.steps import Tools
from harness.core.advice import KILL, Advice, Audit, SyncDirectory
from harness.core.trace import Trace
from harness.engines import engine
from harness.explore.power.candidates import Places
from harness.report.advice import advice_sentences, audit_sentences
from harness.report.escape import plain
from tests.targets.plain_run import Bench

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
Make = Callable[..., Bench]
PROFILES = load_profiles(DEFAULT_PROFILES)
EVERY = load_profiles([ALL])
DOCUMENTS: dict[str, Any] = {"sessions": 2, "updates": 2, "record_bytes": (60, 900)}
RECORDINGS = 10
"""Runs of a racing writer, one of which two of its threads will meet in."""


def talk(parallel: int, updates: int = 2) -> dict[str, Any]:
    tools = Tools(parallel=parallel, duration_ms=(1, 6), result_bytes=(20, 600))
    return {"sessions": 1, "updates": updates, "record_bytes": (20, 600), "tools": tools}


class Recorded(NamedTuple):
    trace: Trace
    judged: Judged

    def advice(self) -> Advice:
        return advice_for(self.trace, self.judged, EVERY)

    def audit(self) -> Audit:
        return audit_for(self.trace, self.judged, PROFILES)


def recorded(bench: Bench) -> Recorded:
    recording = run_once("ptrace", bench.subject.spec)
    assert recording.ending == "exited"
    assert not recording.differences
    assert recording.trace is not None
    bindings = tuple(bench.subject.bindings)
    return Recorded(
        recording.trace, Judged(bindings=bindings, inferred=False, masked=False, invariants=frozenset())
    )


def kinds(advice: Advice) -> list[str]:
    return [step.kind for step in advice.steps]


def assert_repaired(advice: Advice) -> None:
    assert advice.outcome == "repaired"
    assert [tally.under for tally in advice.before] == [*(profile.name for profile in EVERY), KILL]
    assert all(tally.violated for tally in advice.before if tally.under != KILL)
    assert [tally.violated for tally in advice.after] == [0] * (len(EVERY) + 1)
    assert all(step.without_states for step in advice.steps)
    assert not advice.remains


def test_the_directory_fsync_that_a_writer_skips(bench: Make) -> None:
    advice = recorded(bench("reference/no_dir_fsync", **DOCUMENTS)).advice()
    assert_repaired(advice)
    assert set(kinds(advice)) == {"fsync_directory"}
    assert {step.path for step in advice.steps} == {"sessions/s1.json", "state.json"}
    directories = {edit.path for step in advice.steps for edit in step.edits if isinstance(edit, SyncDirectory)}
    assert directories == {"sessions", "."}
    assert "lose an acknowledged update" in advice_sentences(advice, plain)[0]


def test_the_fix_of_seed_002_is_repaired_by_insertion_only(bench: Make) -> None:
    advice = recorded(bench("registry/seed002_fix", **DOCUMENTS)).advice()
    assert_repaired(advice)
    assert kinds(advice) == ["fsync_file", "fsync_directory"]
    assert advice.steps[0].path.endswith(".json.tmp")
    assert advice.steps[0].until_kind == "rename"
    assert advice.steps[1].at == advice.steps[0].until
    assert advice.barriers_leave == -1
    assert "before the rename at operation" in advice_sentences(advice, plain)[0]


def test_a_registry_rewritten_in_place_is_repaired_by_replacement(bench: Make) -> None:
    advice = recorded(bench("registry/in_place", **DOCUMENTS)).advice()
    assert_repaired(advice)
    assert kinds(advice) == ["replace_in_place"]
    assert advice.barriers_leave > 0
    assert advice.barriers_leave_kill > 0


def test_a_queue_is_repaired_by_moving_the_acknowledgement_plus_fsync(bench: Make) -> None:
    advice = recorded(bench("transcript/batched", **talk(2))).advice()
    assert_repaired(advice)
    assert kinds(advice) == ["fsync_file", "move_ack"]
    assert advice.barriers_leave_kill > 0
    (heal,) = advice.heals
    assert heal.closes_turns
    assert {cause.damage for cause in advice.steps[1].without} >= {"lost"}


def test_tools_that_overwrite_each_other_have_to_take_turns_and_barriers_alone_are_refused(bench: Make) -> None:
    for number in range(RECORDINGS):
        run = recorded(bench("transcript/read_modify_write", seed=number + 1, **talk(3, updates=1)))
        if Places(run.trace).rivals() is not None:
            break
    else:
        pytest.fail(f"no two threads met in {RECORDINGS} runs")
    advice = run.advice()
    assert advice.outcome == "serialise"
    assert advice.steps == ()
    assert advice.serialise is not None
    assert len(advice.serialise.actors) > 1
    assert advice.barriers_leave > 0
    assert advice.barriers_leave_kill > 0
    first, second, *_ = advice_sentences(advice, plain)
    assert first.startswith("Serialise the writers of projects/")
    assert second.startswith("Barriers alone are not enough")


DURABLE = {
    "reference/durable": DOCUMENTS,
    "registry/durable": DOCUMENTS,
    "sessions_index/durable": {"sessions": 2, "updates": 6, "record_bytes": (60, 900)},
    "transcript/durable": talk(2),
    "transcript/checkpointed": talk(2),
    "correct/append_log": DOCUMENTS,
    "correct/node_document": DOCUMENTS,
}


@pytest.mark.parametrize("selector", DURABLE)
def test_a_durable_writer_needs_nothing_and_each_of_its_barriers_is_told(bench: Make, selector: str) -> None:
    run = recorded(bench(selector, **DURABLE[selector]))
    advice = run.advice()
    assert (advice.outcome, advice.steps) == ("nothing", ())
    audit = run.audit()
    assert not audit.note
    syncs = sum(op.kind == "sync" and not op.error for op in run.trace.operations)
    told = [number for barrier in audit.barriers if barrier.kind != "rename" for number in barrier.operations]
    assert len(told) == syncs
    assert any(barrier.load_bearing for barrier in audit.barriers)
    for barrier, sentence in zip(audit.barriers, audit_sentences(audit, plain), strict=False):
        assert len(barrier.removals) >= len(PROFILES)
        assert bool(barrier.load_bearing) == ("load-bearing" in sentence)
        assert bool(barrier.load_bearing) != sentence.endswith("redundant under every profile tried.")
