"""Comparing two runs: fixed, unchanged, worse; never gone what was not measured; chance is not a difference."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from two_runs import WRITE, case, finding, line, run, started

from harness.core.event import CampaignFinished, CampaignStarted, Notice
from harness.core.fault import FaultPlan, Kill
from harness.core.schedule import Schedule
from harness.core.shard import Shard
from harness.core.verdict import Confirmation
from harness.report.compare import EXIT_CODES, Comparison, compare
from harness.report.compare_text import markdown, print_comparison
from harness.report.terminal import console_for
from harness.report.view import RunView

TORN = finding(expected=True)
BAD = run(case(line(bad_states=4)), findings=(TORN,))
GOOD = run(case(line()))


def statuses(comparison: Comparison) -> list[str]:
    return [item.status for item in comparison.findings]


def test_of_the_same_nothing_has_changed() -> None:
    for view in (BAD, GOOD):
        same = compare(view, view)
        assert same.answer == "unchanged"
        assert EXIT_CODES[same.answer] == 0
    assert statuses(compare(BAD, BAD)) == ["unchanged"]
    assert compare(GOOD, GOOD).sentence == "Unchanged: no findings in either."


def test_fixed_and_worse() -> None:
    fixed, worse = compare(BAD, GOOD), compare(GOOD, BAD)
    assert (fixed.answer, statuses(fixed)) == ("fixed", ["gone"])
    assert fixed.sentence == "Fixed: the one finding of A is gone in B, which measured what A measured."
    assert (worse.answer, statuses(worse), EXIT_CODES[worse.answer]) == ("worse", ["new"], 1)


def test_a_crash_within_an_order_is_not_gone_where_no_search_met_the_order() -> None:
    order = Schedule(actors=("p0", "p1"), turns=(0, 1, 1, 1))
    plan = FaultPlan(faults=(Kill(at=WRITE),), schedule=order)
    crossed = run(case(line(bad_states=1)), findings=(finding(fault=msgspec.to_builtins(plan)),))
    comparison = compare(crossed, GOOD)
    assert (comparison.answer, statuses(comparison)) == ("undecided", ["not measured in B"])
    assert "replay its token" in comparison.findings[0].note


def test_part_of_it_gone_is_better_and_not_fixed() -> None:
    more = run(case(line(bad_states=9)), findings=(TORN, finding("M4")))
    assert compare(more, BAD).answer == "better"
    assert sorted(statuses(compare(more, BAD))) == ["gone", "unchanged"]


NOT_MEASURED: dict[str, RunView] = {
    "another class": run(case(line("errno", runs=3))),
    "inconclusive": run(case(line(verdict="inconclusive", reason="x"))),
    "cut by the budget": run(case(line(cut=3))),
    "an older run that says so": run(
        case(line(cut=None)), notices=(Notice(text="the budget is used up", target="t/v"),)
    ),
    "invariant not measured": run(case(line(not_measured={"M1": "no document"}))),
    "invariant not asked for": run(case(line(), invariants=("B1",))),
    "no such writer": run(
        msgspec.structs.replace(case(line()), target="other", id="other/v"),
    ),
    "interrupted": run(case(line()), finished=None),
    "one shard": run(case(line()), started=started(shard=Shard(1, 2))),
    "broken": run(case(line()), control_problem="control durable"),
}


@pytest.mark.parametrize("name", NOT_MEASURED)
def test_what_was_not_measured_is_never_gone(name: str) -> None:
    comparison = compare(BAD, NOT_MEASURED[name])
    assert statuses(comparison) == ["not measured in B"]
    assert comparison.answer == "undecided"
    assert EXIT_CODES[comparison.answer] == 3
    assert comparison.findings[0].note
    assert "gone" not in comparison.sentence
    # And the other way round: what A did not look for is not new.
    assert statuses(compare(NOT_MEASURED[name], BAD)) == ["not measured in A"]
    assert compare(NOT_MEASURED[name], BAD).answer == "undecided"


@pytest.mark.parametrize("other", [started(engine="shim"), msgspec.structs.replace(started(), seed=9)])
def test_under_other_conditions_nothing_is_gone(other: CampaignStarted) -> None:
    comparison = compare(BAD, run(case(line()), started=other))
    assert (comparison.answer, statuses(comparison)) == ("undecided", ["not measured in B"])
    # What is there is there: it is new under whatever conditions.
    assert statuses(compare(run(case(line()), started=other), BAD)) == ["new"]


def test_a_class_that_held_and_was_not_measured_again_is_undecided() -> None:
    both = run(case(line(), line("errno", runs=9)))
    assert compare(both, GOOD).answer == "undecided"
    assert compare(both, GOOD).undecided == ("t/v under errno: not measured in B",)
    assert compare(GOOD, both).answer == "undecided"


def test_power_needs_every_profile_that_showed_it() -> None:
    lost = finding(fault_class="power", profiles=("ext4", "xfs"))
    ext4, xfs = (line("power", profile=name, bad_states=3) for name in ("ext4", "xfs"))
    a = run(case(ext4, xfs), findings=(lost,))
    held = [line("power", profile=name) for name in ("ext4", "xfs")]
    assert compare(a, run(case(*held))).answer == "fixed"
    assert statuses(compare(a, run(case(held[0])))) == ["not measured in B"]


def test_versions_and_variants_are_matched_where_each_run_has_one() -> None:
    old = run(case(line(bad_states=4), version="1"), findings=(finding(version="1"),))
    new = run(case(line(), version="2"))
    assert compare(old, new).answer == "fixed"
    assert compare(old, new).matched == ("t/v@1 with t/v@2",)
    durable = run(case(line(), variant="durable"))
    assert compare(BAD, durable).matched == ("t/v with t/durable",)
    assert compare(BAD, durable).answer == "fixed"
    both = run(case(line(), variant="durable"), case(line(), variant="other"))
    assert compare(BAD, both).answer == "undecided"
    assert not compare(BAD, both).matched


# -- chance --------------------------------------------------------------------------------------------------------


def chance(k: int, n: int, **more: Any) -> RunView:
    met = finding(fault_class="signal", operation="unattributed", runs=k, **more)
    return run(case(line("signal", bad=k, runs=n, distinct=0)), findings=(met,) if k else ())


def test_what_chance_explains_is_no_difference() -> None:
    for a, b in ((chance(1, 30), chance(0, 30)), (chance(0, 30), chance(2, 30)), (chance(9, 30), chance(12, 30))):
        comparison = compare(a, b)
        assert comparison.answer == "unchanged", comparison
        assert "gone" not in statuses(comparison)
        assert "new" not in statuses(comparison)


def test_what_chance_does_not_explain_is_one() -> None:
    assert compare(chance(20, 30), chance(0, 30)).answer == "fixed"
    assert compare(chance(0, 30), chance(20, 30)).answer == "worse"
    assert statuses(compare(chance(3, 60), chance(40, 60))) == ["worse"]
    assert statuses(compare(chance(40, 60), chance(3, 60))) == ["better"]
    assert compare(chance(40, 60), chance(3, 60)).answer == "better"


def test_many_tests_are_corrected_for() -> None:
    """A rate that would count alone does not among forty others."""

    def view(k: int, cases: int) -> RunView:
        quiet = [case(line("signal", runs=40, distinct=0), variant=f"q{number}") for number in range(cases)]
        met = finding(fault_class="signal", operation="unattributed", runs=k)
        return run(case(line("signal", bad=k, runs=40, distinct=0)), *quiet, findings=(met,))

    alone, among = compare(view(4, 0), view(15, 0)), compare(view(4, 40), view(15, 40))
    assert (alone.answer, alone.tests) == ("worse", 2)
    assert (among.answer, among.tests) == ("unchanged", 42)


def test_planned_runs_need_no_test() -> None:
    """What an error plan shows, and the same plan does not show any more, is gone, however few they are."""
    failing = finding("W8", "errno", states=0, runs=1)
    a = run(case(line("errno", bad=1, runs=40, distinct=0)), findings=(failing,))
    assert compare(a, run(case(line("errno", runs=40, distinct=0)))).answer == "fixed"


# -- what changed --------------------------------------------------------------------------------------------------


def test_a_finding_that_is_no_longer_expected_is_worse() -> None:
    surprising = run(case(line(bad_states=4)), findings=(finding(expected=False),))
    assert compare(BAD, surprising).answer == "worse"
    assert compare(surprising, BAD).answer == "changed"


def test_a_proof_that_comes_and_goes_is_told() -> None:
    predicted = run(case(line(bad_states=4)), findings=(finding(expected=True, confirmation=Confirmation()),))
    comparison = compare(BAD, predicted)
    assert statuses(comparison) == ["changed"]
    assert comparison.findings[0].note == "confirmed by real runs only in A"
    assert comparison.answer == "unchanged"
    empty = run(case(line(bad_states=4)), findings=(finding(expected=True, damage="empty"),))
    assert compare(BAD, empty).answer == "changed"


def test_what_needs_no_fault() -> None:
    quiet = finding(fault_class="none", operation="run", states=0, runs=1)
    a = run(case(line("none", bad=1, runs=1), line(), null_verdict="violated"), findings=(quiet,))
    assert compare(a, GOOD).answer == "fixed"
    failed = run(case(line(), null_verdict="inconclusive", null_note="it hangs"))
    assert statuses(compare(a, failed)) == ["not measured in B"]


# -- words ---------------------------------------------------------------------------------------------------------


def test_words_are_safe_and_fit() -> None:
    hostile = finding(message="\x1b[2J", expected=True)
    hostile = msgspec.structs.replace(hostile, role="\x1b[31m|\u202e`<b>", variant="v")
    a = run(case(line(bad=3, runs=40, bad_states=4)), findings=(hostile,))
    b = run(case(line(runs=40)), finished=CampaignFinished(verdict="held", exit_code=0))
    comparison = compare(a, b)
    stream = io.StringIO()
    print_comparison(console_for(stream, width=80), comparison)
    text, pasted = stream.getvalue(), markdown(comparison)
    for out in (text, pasted):
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "Fixed" in out
        assert "Holm" in out
    assert "| under | A | B | difference |" in pasted
    assert "<b>" not in pasted
    table = [row for row in text.splitlines() if row.startswith(("under", "kill"))]
    assert table
    assert all(len(row) <= 80 for row in table)


def test_what_only_a_sample_says_is_said_to() -> None:
    lost = finding(fault_class="power", profiles=("ext4",))
    a = run(case(line("power", profile="ext4", bad_states=3)), findings=(lost,))
    b = run(case(line("power", profile="ext4", coverage="sampled: 3 of 900 pairs")))
    comparison = compare(a, b)
    assert comparison.findings[0].note == "B explored a sample of the states under power on ext4"
    assert comparison.sentence.endswith("which measured what A measured, 1 of them by a sample of the states.")
    seen = finding("M10", evidence={"trial": "t/v/recover/3"})
    note = compare(run(case(line(bad_states=1)), findings=(seen,)), GOOD).findings[0].note
    assert note == "in B too, its programs looked at a sample of the states"
