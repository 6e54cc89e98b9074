"""Adding up shards that were written by hand: what counts once, what joins, what no sum may hide."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.campaign.merging import MergeError, merge_shards
from harness.campaign.sharding import ELSEWHERE
from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted, FindingConfirmed, TrialFinished
from harness.core.shard import Shard
from harness.core.verdict import Finding, TrialRow
from harness.report.view import ClassLine, RunView, collect
from tests.report.two_runs import case, finding, line, started

EXACT = finding(evidence={"trial": "t/v/state/kill"}, states=4)
NULL = TrialRow(trial_id="t/v/null", kind="null", target="t", variant="v", seed=1, verdict="held")


def row(name: str, fault_class: Any = "kill", **more: Any) -> TrialRow:
    values: dict[str, Any] = {"kind": "timed", "verdict": "held", "expected": "", **more}
    return TrialRow(trial_id=f"t/v/{name}", target="t", variant="v", seed=1, fault_class=fault_class, **values)


def shard(
    number: int,
    *lines: ClassLine,
    findings: tuple[Finding, ...] = (),
    rows: tuple[TrialRow, ...] = (NULL,),
    faults: tuple[str, ...] = ("kill",),
    **summary: Any,
) -> list[AnyEvent]:
    told = msgspec.to_builtins(case(*lines, faults=faults))
    begun: CampaignStarted = msgspec.structs.replace(started(f"run{number}", Shard(number, 2)), plan="p")
    return [
        begun,
        *(TrialFinished(row=item) for item in rows),
        *(FindingConfirmed(finding=item) for item in findings),
        CampaignFinished(verdict="held", exit_code=0, summary={"cases": [told], **summary}),
    ]


def merged(*shards: list[AnyEvent]) -> RunView:
    return collect(merge_shards(shards))


def test_a_random_kill_joins_what_another_shard_explored() -> None:
    """Also by a damage that is not the one which the exact finding was first seen with."""
    met = finding(operation="unattributed", damage="empty", runs=2, evidence={"trial": "t/v/timed/1"})
    home = shard(1, line(bad_states=4, runs=3), findings=(EXACT,), damages={EXACT.key: ["empty", "torn"]})
    view = merged(home, shard(2, line(bad=2, runs=3, distinct=0), findings=(met,)))
    (joined,) = view.findings
    assert (joined.key, joined.states, joined.runs) == (EXACT.key, 4, 2)
    (kill,) = view.cases[0].classes
    assert (kill.runs, kill.bad, kill.distinct, kill.bad_states) == (6, 2, 20, 4)
    alone = merged(shard(1, line(bad_states=4), findings=(EXACT,)), shard(2, line(bad=2, runs=3), findings=(met,)))
    assert len(alone.findings) == 2, "nothing of that damage was explored"


def test_a_finding_is_as_its_first_trial_in_the_plan_showed_it() -> None:
    first, later = (
        finding("W8", "errno", message=f"trial {n}", states=0, runs=1, evidence={"trial": f"t/v/errno/{n}"})
        for n in (9, 10)
    )
    for pair in ((first, later), (later, first)):
        lines = [line("errno", bad=1, runs=5, distinct=0) for _ in pair]
        view = merged(
            *(
                shard(number, lines[number - 1], findings=(found,), faults=("errno",))
                for number, found in enumerate(pair, 1)
            )
        )
        (one,) = view.findings
        assert (one.message, one.runs) == ("trial 9", 2)


def test_what_each_shard_does_for_itself_counts_once() -> None:
    elsewhere = msgspec.structs.replace(NULL, note=ELSEWHERE)
    bad = msgspec.structs.replace(NULL, verdict="violated")
    quiet = line("none", bad=1, runs=1, distinct=0)
    view = merged(shard(1, line(), rows=(elsewhere,)), shard(2, quiet, rows=(bad,)))
    assert view.cases[0].null_verdict == "violated"
    assert [(each.fault_class, each.runs) for each in view.cases[0].classes] == [("none", 1), ("kill", 0)]
    assert [each.trial_id for each in view.rows] == ["t/v/null"]


def test_what_a_part_could_not_judge_is_not_held() -> None:
    left = line(verdict="inconclusive", reason="the budget is used up", distinct=0)
    assert merged(shard(1, line()), shard(2, left)).cases[0].classes[0].verdict == "inconclusive"
    assert merged(shard(1, line()), shard(2, left)).verdict == "inconclusive"
    few = line(verdict="inconclusive", reason="not measured", inconclusive=2, distinct=0)
    kill = merged(shard(1, line()), shard(2, few)).cases[0].classes[0]
    assert (kill.verdict, kill.inconclusive) == ("held", 2)


def test_a_class_that_no_shard_measured_is_there_all_the_same() -> None:
    view = merged(*(shard(number, line(), faults=("kill", "errno")) for number in (1, 2)))
    assert [(each.fault_class, each.verdict) for each in view.cases[0].classes] == [
        ("kill", "held"),
        ("errno", "inconclusive"),
    ]
    assert view.finished is not None
    assert view.finished.exit_code == 3


def test_an_expected_violation_is_known_to_be_missing_only_of_the_whole() -> None:
    rows = (NULL, row("timed/0", expected="violated"))
    view = merged(shard(1, line(), rows=rows), shard(2, line(expected="violated", distinct=0, runs=1)))
    assert view.finished is not None
    assert view.finished.exit_code == 1
    seen = shard(2, line(expected="violated", bad=1, runs=1), findings=(finding(expected=True),))
    ended = merged(shard(1, line(), rows=rows), seen).finished
    assert ended is not None
    assert ended.exit_code == 0


def test_a_control_that_failed_anywhere_breaks_the_whole() -> None:
    view = merged(shard(1, line()), shard(2, line(), control_problem="durable under kill"))
    assert view.verdict == "broken"
    assert view.control_problem == "shard 2/2: durable under kill"


def test_one_trial_in_two_shards_is_refused() -> None:
    with pytest.raises(MergeError, match="'t/v/timed/0' is in two shards"):
        merged(*(shard(number, line(), rows=(row("timed/0"),)) for number in (1, 2)))
