"""Power losses in words: what is lost, when, under which profiles; and kill and power loss side by side."""

from __future__ import annotations

import json

import pytest

from harness.core.event import CampaignStarted
from harness.core.fault import CrashPoint, Errno, FaultPlan, Loss, PowerLoss
from harness.core.json_record import encode_record
from harness.core.verdict import Confirmation, Finding
from harness.report.answer import groups, side_by_side
from harness.report.power import losses_in_words, power_word, profiles_in_words
from harness.report.sentence import circumstance, how_confirmed, place, state_in_words
from harness.report.view import CaseView, ClassLine, RunView

WRITE = CrashPoint(operation="write", role="s.json.tmp", occurrence=1, phase="after")
RENAME = CrashPoint(operation="rename", role="s.json", occurrence=2, phase="after")
STARTED = CampaignStarted(run_id="r", scenario="s", targets=(), seed=1, directory="", planned_trials=0)


def finding(*faults: object, **more: object) -> Finding:
    plan = json.loads(encode_record(FaultPlan(faults=faults)))  # type: ignore[arg-type]
    values = {"profiles": ("posix", "ext4"), "damage": "nul", **more}
    return Finding(
        fingerprint="f",
        target="t",
        variant="v",
        invariant="M1",
        fault_class="power",
        operation="write",
        role="s.json",
        phase="after",
        message="m",
        fault=plan,
        **values,  # type: ignore[arg-type]
    )


def line(profile: str, verdict: str, **more: object) -> ClassLine:
    return ClassLine(fault_class="power", profile=profile, verdict=verdict, **more)  # type: ignore[arg-type]


def case(*lines: ClassLine) -> CaseView:
    return CaseView(id="t/v", target="t", variant="v", classes=lines, null_verdict="held")


def test_the_state_is_told_in_full() -> None:
    loss = PowerLoss(at=RENAME, profile="posix", losses=(Loss(at=WRITE, part="data", end=20_000),), acked=1)
    item = finding(loss, evidence={"operation_seq": 12}, held_under=("xfs",))
    assert state_in_words(item, str) == (
        "The power goes after operation 12 (its 2nd rename to s.json); lost: the data of its 1st write to s.json.tmp "
        "(bytes 0–20,000), its size is kept. Found under posix, ext4; the same writer holds under xfs."
    )
    assert circumstance(item, str) == (
        "when the power goes after its 2nd rename to s.json and the data of its 1st write to s.json.tmp "
        "(bytes 0–20,000) is lost"
    )


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("data", "the data of its 1st write to s.json.tmp (bytes 0–9)"),
        ("size", "the new size of its 1st write to s.json.tmp (up to 9 bytes)"),
        ("truncation", "the truncation to 9 bytes by its 1st write to s.json.tmp"),
        ("names", "its 1st write to s.json.tmp"),
    ],
)
def test_each_kind_of_loss_has_words(part: str, words: str) -> None:
    loss = PowerLoss(at=None, profile="posix", losses=(Loss(at=WRITE, part=part, end=9),))  # type: ignore[arg-type]
    assert losses_in_words(loss, str, place) == words


def test_many_losses_are_counted_and_none_is_said() -> None:
    many = PowerLoss(
        at=None, profile="p", losses=tuple(Loss(at=WRITE, part="names") for _ in range(9)), stale=True
    )
    assert losses_in_words(many, str, place).endswith(
        " and 6 more; blocks without data show what the disk held there before"
    )
    nothing = finding(PowerLoss(at=None, profile="p"), damage="lost")
    assert "The power goes at the end of the run; lost: nothing" in state_in_words(nothing, str)
    assert circumstance(nothing, str) == "when the power goes at the end of the run"


def test_a_failed_sync_comes_before_the_power_loss() -> None:
    sync = CrashPoint(operation="sync", role="log", occurrence=3)
    item = finding(Errno(at=sync, errno=5), PowerLoss(at=RENAME, profile="ext4"))
    assert circumstance(item, str) == "when its 3rd sync of log fails, and the power goes later"


def test_observed_and_predicted_are_told_apart() -> None:
    lost = PowerLoss(at=RENAME, profile="ext4")
    seen = Confirmation(attempts=400, confirmed=3, method="observed on ext4, Linux 6.18: 3 of 400 cuts")
    assert how_confirmed(finding(lost, confirmation=seen)) == "Observed on ext4, Linux 6.18: 3 of 400 cuts."
    guess = Confirmation(method="predicted only (ntfs: from documents, not from a running kernel)")
    item = finding(lost, confirmation=guess)
    assert how_confirmed(item) == "Predicted only (ntfs: from documents, not from a running kernel)."
    assert (item.is_confirmed, finding(lost, confirmation=seen).is_confirmed) == (False, True)


def test_profiles_are_named_while_they_are_few() -> None:
    assert profiles_in_words(["xfs"], 1) == "under xfs"
    assert profiles_in_words(["posix", "xfs"], 4) == "under posix, xfs of 4 profiles"
    assert profiles_in_words(["posix", "xfs"], 2) == "under all 2 profiles"
    assert profiles_in_words(list("abcdef"), 10).endswith("and 2 more of 10 profiles")


def test_kill_and_power_loss_stand_side_by_side() -> None:
    lines = (line("posix", "violated"), line("ext4", "violated"), line("xfs", "held"))
    killed = ClassLine(fault_class="kill", verdict="held")
    view = RunView(started=STARTED, cases=(case(killed, *lines),))
    assert side_by_side(view, str) == [("t/v", "held", "violated under posix, ext4; held under xfs")]
    assert power_word(case(killed)) == "-"
    assert side_by_side(RunView(started=STARTED, cases=(case(killed),)), str) == []


def test_the_table_has_one_line_for_all_profiles() -> None:
    lines = (
        line("posix", "violated", distinct=9, bad_states=4),
        line("ext4", "violated", distinct=99, bad_states=2),
    )
    (group,) = groups(RunView(started=STARTED, cases=(case(*lines, line("xfs", "held", distinct=7)),)), str)
    assert [(row.verdict, row.often) for row in group.rows] == [
        ("violated", "power under posix, ext4 of 3 profiles up to 4/9 states"),
        ("held", "power under xfs of 3 profiles 0/7 states"),
    ]
