"""Record once and cut, with the stand-in clients: real recordings, real kills at an operation, real resumes."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from harness.campaign.context import Case
from harness.campaign.cutting import bad_moments, chosen, judged, recording_order, resumed, resuming
from harness.campaign.dialogue_case import dialogue_case
from harness.campaign.dialogue_trials import judge, order_of
from harness.campaign.dialoguing import carry_out, record_life, resume_each
from harness.campaign.left_on_disk import of_files, without_acks
from harness.campaign.observe import plan_for
from harness.catalog import ManifestError, compile_subject, load_scenario, load_target
from harness.checks.dialogue_disk import what_matters
from harness.core.api_script import Turn
from harness.core.apply import replay
from harness.core.dialogue import DialogueLife, problem_of_cuts
from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.operation import Ack, AnyOperation, Open, Rename, Sync, Write
from harness.core.run import Recording, RunSpec
from harness.core.trace import Actor, Trace
from harness.core.tree import EMPTY_TREE
from harness.engines.ptrace.engine import PtraceEngine
from harness.explore.cutting import Cut, cuts_of
from harness.sandbox.workspace import Workspace
from tests.survivors import marked

traced = pytest.mark.skipif(
    sys.platform != "linux" or bool(PtraceEngine().available()), reason="needs the ptrace engine"
)


def case_of(variant: str, tmp_path: Path) -> Case:
    subject = compile_subject(load_target("stand_in_client"), variant, Workspace(str(tmp_path / "base")))
    part = load_scenario("resumed_cuts")
    return dialogue_case(part, subject, (), frozenset(part.invariants))


def cut_and_resumed(variant: str, tmp_path: Path, most: int) -> dict[str, set[str]]:
    """Return what each cut of a client violates, by its moment; at the first that does it is really killed, too."""
    case, base = case_of(variant, tmp_path), str(tmp_path / "base")
    order = order_of(1, case, 1)
    recorded = record_life(recording_order(order), base)
    assert (recorded.problem, recorded.recording.differences) == ("", ())
    assert len(recorded.effects_by) == len(recorded.trace.operations) == len(recorded.heard_by)
    assert list(recorded.effects_by) == sorted(recorded.effects_by) and recorded.effects_by[-1] == 6
    assert recorded.heard_by[-1] > recorded.heard_by[0]
    cuts = chosen(cuts_of(recorded.trace, what_matters), most)
    again = resuming(order, recorded)
    seen = resume_each(again, tuple(resumed(again, cut) for cut in cuts), base)
    assert not marked(str(tmp_path))
    said = [judged(case.invariants, order, recorded, cut, each) for cut, each in zip(cuts, seen, strict=True)]
    assert all(each.verdict != "inconclusive" for each in said)
    bad = [place for place, each in enumerate(said) if each.verdict == "violated"]
    for place in bad[:1]:
        assert bad_moments(case.invariants, order, recorded, cuts[place], seen[place]) >= 1
        _really_killed(case, cuts[place], base, {each.invariant for each in said[place].violations})
    return {str(cut.point): {v.invariant for v in each.violations} for cut, each in zip(cuts, said, strict=True)}


def _really_killed(case: Case, cut: Cut, base: str, rows: set[str]) -> None:
    assert cut.point is not None
    order = recording_order(order_of(1, case, 1), plan_for(cut.point, cut.fault_class))
    seen = carry_out(order, base)
    assert seen.problem == "" and seen.lives[0].clients[0].signal == 9
    assert rows <= {each.invariant for each in judge(case.invariants, order, seen).violations}


@traced
@pytest.mark.real
def test_a_careful_client_owes_nothing_wherever_it_is_cut(tmp_path: Path) -> None:
    found = cut_and_resumed("durable", tmp_path, 6)
    assert len(found) == 6 and set().union(*found.values()) == set(), found
    assert any("torn" in moment for moment in found)


@traced
@pytest.mark.real
def test_a_careless_client_is_caught_and_its_moment_really_shows_it(tmp_path: Path) -> None:
    found = cut_and_resumed("lossy", tmp_path, 4)
    assert set().union(*found.values()) >= {"S2", "S3"}, found


@traced
@pytest.mark.real
def test_a_moment_that_does_not_come_says_nothing(tmp_path: Path) -> None:
    never = FaultPlan(faults=(Kill(at=CrashPoint(operation="write", role="nothing", occurrence=9)),))
    order = recording_order(order_of(1, case_of("durable", tmp_path), 1), never)
    seen = carry_out(order, str(tmp_path / "base"))
    assert seen.problem == "life 1: the client ended before write #9 of nothing by p0, before"


def test_only_a_life_that_is_recorded_whole_and_then_resumed_can_be_cut() -> None:
    first, later = DialogueLife(prompt=("Go.",)), DialogueLife(prompt=("Well?",), session="resume")
    turn = Turn(prompt="Go.", text="Gone.")
    assert problem_of_cuts((first, later), (turn,)) == ""
    killed = msgspec.structs.replace(first, exit="sigkill", when="effect 1")
    for lives, turns, word in (
        ((first,), (turn,), "resume it"),
        ((first, msgspec.structs.replace(later, session="continue")), (turn,), "resume it"),
        ((first, msgspec.structs.replace(later, prompt=("a", "b"))), (turn,), "one prompt"),
        ((killed, later), (turn,), "recorded whole"),
        ((msgspec.structs.replace(first, mode="terminal"), later), (turn,), "a terminal is not"),
        ((first, later), (Turn(text="x"),), "needs a prompt"),
        ((first, later), (Turn(prompt="Well?", text="x"),), "closing"),
    ):
        assert word in problem_of_cuts(lives, turns)


def life_that_writes(*operations: AnyOperation) -> Recording:
    trace = Trace(root="/x", engine="ptrace", actors=(Actor(process=0),), operations=operations)
    spec = RunSpec(argv=("x",), root="/x", cwd="/", environment={})
    return Recording(
        spec=spec, engine="ptrace", final=replay(EMPTY_TREE, operations), ending="exited", trace=trace
    )


def test_a_printed_reply_promises_nothing_of_the_settings() -> None:
    name = ".claude.json"
    recording = life_that_writes(
        Open(seq=0, path=f"{name}.tmp", ino=1, created=True),
        Write(seq=1, ino=1, offset=0, data=b'{"a": 1}'),
        Sync(seq=2, ino=1, scope="file"),
        Rename(seq=3, path=f"{name}.tmp", to=name),
        Ack(seq=4, id="result"),
    )
    quiet = without_acks(recording)
    assert quiet.trace is not None and quiet.trace.acks == () and quiet.acks == ()
    assert [op.seq for op in quiet.trace.operations] == [0, 1, 2, 3, 4]
    assert replay(EMPTY_TREE, quiet.trace.operations).key == recording.final.key


def test_what_files_are_judged_by_is_not_what_a_resume_is(tmp_path: Path) -> None:
    case = msgspec.structs.replace(
        case_of("durable", tmp_path), invariants=frozenset({"S1", "M1", "B3", "T1", "G2"})
    )
    assert of_files(case).invariants == {"M1", "B3"}


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("cuts = 40", "cuts = 40\ndialogues = 3", "not held 3 times"),
        ("cuts = 40", "cuts = -1", "between 0 and"),
        ("cuts = 40", 'cuts = 40\nfaults = ["signal"]', "faults"),
        ('session = "resume"', 'session = "continue"', "resume it"),
    ],
)
def test_a_scenario_that_cannot_be_cut_is_refused_in_one_line(
    before: str, after: str, word: str, tmp_path: Path
) -> None:
    shipped = Path(load_scenario("resumed_cuts").path).read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(shipped.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(ManifestError, match=word) as refused:
        load_scenario(str(mine))
    assert "\n" not in str(refused.value)
