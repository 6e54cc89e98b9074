"""The message of a failed test: what it says of a check, of advice that is there or not, of hostile words."""

from __future__ import annotations

import msgspec
import pytest

from harness.core.advice import KILL, Advice, ReplaceInPlace, Step, Tally
from harness.core.event import CampaignStarted
from harness.core.fault import CrashPoint
from harness.core.verdict import Confirmation, Finding
from harness.report.failure import failure, not_measured, said, what_held
from harness.report.view import CaseView, ClassLine, RunView

POINT = CrashPoint(operation="write", role="s.json", occurrence=1, actor="p0", phase="torn", bytes=4096)
FINDING = Finding(
    fingerprint="f" * 32,
    target="probe",
    variant="save",
    invariant="check",
    fault_class="kill",
    operation="write",
    role="",
    phase="torn",
    damage="other",
    message="the check rejects this state (exit code 1)",
    crash_point=POINT,
    states=2,
    token="tw1.token",
    confirmation=Confirmation(attempts=1, confirmed=1, method="killed again at the same operation"),
    evidence={"said": '{"verdict":"violated","why":"ValueError: \\u001b[31m red"}'},
)
KILLED = ClassLine(fault_class="kill", verdict="violated", states=9, distinct=5, bad_states=2)
POWER = ClassLine(fault_class="power", profile="ext4", verdict="held", states=9, distinct=7)
XFS = ClassLine(fault_class="power", profile="xfs", verdict="held", states=9, distinct=3)


def view(*findings: Finding) -> RunView:
    case = CaseView(id="probe/save", target="probe", variant="save", classes=(KILLED, POWER, XFS))
    started = CampaignStarted(run_id="r", scenario="s", targets=(), seed=1, directory="", planned_trials=0)
    return RunView(started=started, cases=(case,), findings=findings)


def told(text: str) -> str:
    return " ".join(text.split())


def test_it_names_place_damage_counts_and_how_to_replay() -> None:
    text = failure(view(FINDING), "save", replays="pytest --tornwrite-replay {token} test_x.py")
    assert text.startswith("save does not survive a crash.\n")
    for expected in (
        "crash point killed 4,096 bytes into its 1st write to s.json",
        r"damage your check rejects the state: ValueError: \x1b[31m red",
        "seen in 2 of 5 distinct crash states. Confirmed in 1/1 real run",
        "in all 2 of 5 states under kill, 0 of 7 states under power on ext4, 0 of 3 on xfs",
        "replay pytest --tornwrite-replay tw1.token test_x.py",
    ):
        assert expected in told(text)
    assert max(map(len, text.splitlines())) <= 80


def test_a_class_of_states_and_runs_counts_both() -> None:
    short = ClassLine(fault_class="short", verdict="violated", distinct=60, runs=4, bad=1)
    case = msgspec.structs.replace(view().cases[0], classes=(short,))
    text = told(failure(msgspec.structs.replace(view(FINDING), cases=(case,)), "save"))
    assert "in all 0 of 60 states and 1 of 4 runs under short" in text


def test_advice_is_what_helps_or_what_is_usual() -> None:
    step = Step(
        kind="replace_in_place",
        edits=(ReplaceInPlace(at=0, until=2, ino=1, path="s.json", temporary="t", directory=0),),
        at=0,
        at_kind="open",
        path="s.json",
        without_states=3,
    )
    kill = (Tally(under=KILL, distinct=9, violated=0),)
    helps = Advice(outcome="repaired", profiles=(), before=kill, after=kill, steps=(step,))
    text = told(failure(view(FINDING), "save", advice=helps))
    assert "what to do Write s.json to a temporary file beside it, fsync that" in text
    assert "0 of 9 states under a kill are violated." in text
    usual = told(failure(view(FINDING), "save", advice=Advice(outcome="none", profiles=())))
    assert "what to do Usually: write the new content to a temporary file" in usual


def test_more_crash_points_are_named_and_counted() -> None:
    places = [
        CrashPoint(operation="open", role=f"{name}.json", occurrence=1, actor="p0", phase="after")
        for name in "abcd"
    ]

    more = [
        msgspec.structs.replace(FINDING, fingerprint=str(number), crash_point=place, operation="open")
        for number, place in enumerate(places)
    ]
    text = told(failure(view(FINDING, *more), "save"))
    assert "also killed after its 1st opening of" in text
    assert "and 2 more crash points" in text


@pytest.mark.parametrize("words", ["", "no JSON", "[]", '{"verdict": 1}', '{"why": 3}'])
def test_what_a_check_printed_may_be_anything(words: str) -> None:

    assert said(msgspec.structs.replace(FINDING, evidence={"said": words})) == ""


def test_not_measured_and_held_in_words() -> None:
    text = not_measured("save", ("the writer fails",), "/report.md")
    assert told(text) == (
        "nothing can be said about save: not measured is not held. why the writer fails report /report.md"
    )
    assert what_held(view()) == "held under kill, power: 15 distinct crash states"
