"""Verdicts and exit codes from constructed rows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.campaign.aggregate import (
    CONTENT,
    CaseResult,
    case_result,
    control_problem,
    join_timed,
    never_measured,
    summary,
    verdict_of,
)
from harness.campaign.context import Case, Control
from harness.campaign.observe import UNATTRIBUTED
from harness.catalog import Subject
from harness.core.fault import FaultClass
from harness.core.run import RunSpec
from harness.core.verdict import Confirmation, Finding, TrialKind, TrialRow, Verdict

SPEC = RunSpec(argv=("x",), root="/w/state", cwd="/w/cwd", environment={})


def case_of(
    *faults: FaultClass, control: Control = "", expect: dict[str, Any] | None = None, variant: str = "v"
) -> Case:
    subject = Subject(target="t", variant=variant, version="", spec=SPEC, expect=expect or {})
    return Case(subject=subject, faults=faults or ("kill",), control=control)


def row_of(case: Case, tail: str, verdict: Verdict, fault_class: FaultClass = "none", **more: Any) -> TrialRow:
    kind: TrialKind = "null" if tail == "null" else "errno"
    return msgspec.structs.replace(case.row(kind, f"{case.id}/{tail}", verdict, fault_class), **more)


def result_of(case: Case, *rows: TrialRow, null: Verdict = "held", **more: Any) -> CaseResult:
    return case_result(case, [row_of(case, "null", null), *rows], **more)


def explored(case: Case, verdict: Verdict, fault_class: FaultClass = "kill") -> TrialRow:
    return row_of(case, f"state/{fault_class}", verdict, fault_class, states=30, distinct=20)


def held_and_caught(*faults: FaultClass) -> list[CaseResult]:
    durable, buggy = case_of(*faults, control="must_hold"), case_of(*faults, control="must_violate", variant="b")
    return [
        result_of(durable, *(explored(durable, "held", name) for name in faults)),
        result_of(buggy, *(explored(buggy, "violated", name) for name in faults)),
    ]


def test_a_control_that_became_empty_controls_nothing() -> None:
    durable = case_of("kill", control="must_hold")
    few = row_of(durable, "state/kill", "held", "kill", states=4, distinct=3)
    assert "only 3 states were judged" in control_problem([result_of(durable, few)])


def test_held_needs_something_that_judged_what_files_hold() -> None:
    case = case_of("kill")
    reasons = dict.fromkeys(CONTENT, "no document was seen")
    result = case_result(case, [row_of(case, "null", "held"), explored(case, "held")], {"kill": reasons})
    assert result.classes[0].verdict == "inconclusive"
    assert "nothing judged what the files hold" in result.classes[0].reason


def test_all_held_is_as_expected() -> None:
    case = case_of("kill")
    assert verdict_of([result_of(case, explored(case, "held")), *held_and_caught("kill")]) == ("held", 0)


def test_an_unexpected_violation_is_1_and_an_expected_one_is_0() -> None:
    case = case_of("kill")
    assert verdict_of([result_of(case, explored(case, "violated"))]) == ("violated", 1)
    known = case_of("kill", expect={"kill": "violated"})
    assert verdict_of([result_of(known, explored(known, "violated"))]) == ("violated", 0)


def test_an_expected_violation_that_did_not_occur_is_1() -> None:
    case = case_of("kill", expect={"kill": "violated"})
    assert verdict_of([result_of(case, explored(case, "held"))]) == ("held", 1)


@pytest.mark.parametrize(
    ("role", "found"), [("must_hold", "violated"), ("must_violate", "held"), ("must_violate", "inconclusive")]
)
def test_a_failing_control_breaks_the_campaign_whatever_else_was_found(role: Control, found: Verdict) -> None:
    case = case_of("kill", expect={"kill": "violated"})
    control = case_of("kill", control=role, variant="c")
    results = [result_of(case, explored(case, "violated")), result_of(control, explored(control, found))]
    assert verdict_of(results) == ("broken", 4)
    assert "control c under kill" in control_problem(results)


def test_a_control_that_was_not_run_breaks_the_campaign() -> None:
    case, control = case_of("kill"), case_of("kill", control="must_hold", variant="c")
    results = [result_of(case, explored(case, "held")), case_result(control, [])]
    assert verdict_of(results) == ("broken", 4)


def test_the_durable_control_may_not_violate_without_a_fault_either() -> None:
    control = case_of("kill", control="must_hold")
    assert "under none" in control_problem([result_of(control, explored(control, "held"), null="violated")])


def test_a_recording_that_does_not_verify_is_broken() -> None:
    case = case_of("kill", "errno")
    result = result_of(case, null="broken")
    assert {item.verdict for item in result.classes} == {"broken"}
    assert verdict_of([result, *held_and_caught("kill")]) == ("broken", 4)


def test_one_broken_run_breaks_its_class_and_is_named() -> None:
    case = case_of("errno")
    broken = row_of(case, "errno/3", "broken", "errno", note="the recording does not verify: x")
    result = result_of(case, row_of(case, "errno/0", "held", "errno"), broken)
    assert verdict_of([result]) == ("broken", 4)
    assert result.classes[0].reason == "t/v/errno/3: the recording does not verify: x"


def test_inconclusive_trials_are_counted_apart_and_are_no_verdict() -> None:
    case = case_of("errno")
    rows = [row_of(case, f"errno/{index}", "inconclusive", "errno") for index in range(3)]
    (errno,) = result_of(case, *rows, row_of(case, "errno/3", "held", "errno")).classes
    assert (errno.verdict, errno.runs, errno.bad, errno.inconclusive) == ("held", 1, 0, 3)


def test_a_class_of_which_nothing_was_measured_is_inconclusive_never_held() -> None:
    case = case_of("kill", "errno")
    result = result_of(case, explored(case, "held"), row_of(case, "errno/0", "inconclusive", "errno"))
    assert {item.fault_class: item.verdict for item in result.classes} == {"kill": "held", "errno": "inconclusive"}
    assert verdict_of([result]) == ("inconclusive", 3)


def test_a_null_run_that_cannot_be_built_upon_makes_all_classes_inconclusive() -> None:
    case = case_of("kill", "errno")
    result = result_of(case, null="inconclusive")
    assert verdict_of([result]) == ("inconclusive", 3)


def test_a_violation_goes_before_what_was_not_measured() -> None:
    good, bad = case_of("kill", "errno"), case_of("kill", variant="w")
    results = [result_of(good, null="inconclusive"), result_of(bad, explored(bad, "violated"))]
    assert verdict_of(results) == ("violated", 1)


def test_as_expected_is_not_claimed_for_what_was_not_measured() -> None:
    known = case_of("kill", "errno", expect={"kill": "violated", "errno": "violated"})
    assert verdict_of([result_of(known, explored(known, "violated"))]) == ("violated", 3)


def test_a_violation_without_a_fault_is_a_line_of_its_own() -> None:
    case = case_of("kill")
    result = case_result(case, [row_of(case, "null", "violated", findings=("f",)), explored(case, "held")])
    none, kill = result.classes
    assert (none.fault_class, none.verdict, none.findings) == ("none", "violated", ("f",))
    assert kill.verdict == "held"
    assert verdict_of([result]) == ("violated", 1)


def test_a_writer_known_to_break_is_expected_to_break_without_a_fault_too() -> None:
    case = case_of("kill", expect={"kill": "violated"})
    assert verdict_of([result_of(case, explored(case, "violated"), null="violated")]) == ("violated", 0)


def test_confirming_runs_are_not_counted_as_trials() -> None:
    case = case_of("kill")
    exact = row_of(case, "exact/abc/0", "violated", "kill")
    (kill,) = result_of(case, explored(case, "held"), exact).classes
    assert (kill.verdict, kill.runs, kill.bad) == ("held", 0, 0)


def test_states_that_programs_looked_at_again_are_not_counted_twice() -> None:
    case = case_of("kill")
    looked = [row_of(case, f"recover/{index}", "violated", "kill", states=1) for index in range(4)]
    (kill,) = result_of(case, explored(case, "held"), *looked).classes
    assert (kill.verdict, kill.states, kill.distinct, kill.runs) == ("violated", 30, 20, 0)


def test_findings_come_in_the_order_of_the_plan() -> None:
    case = case_of("errno")
    rows = [
        row_of(case, f"errno/{index}", "violated", "errno", findings=(f"f{index}",)) for index in (10, 2, 0, 1)
    ]
    (errno,) = result_of(case, *rows).classes
    assert errno.findings == ("f0", "f1", "f2", "f10")


def test_rows_of_a_variant_with_a_longer_name_are_not_counted() -> None:
    case, longer = case_of("kill"), case_of("kill", variant="v2")
    rows = [row_of(case, "null", "held"), explored(case, "held"), explored(longer, "violated")]
    assert case_result(case, rows).classes[0].verdict == "held"


def test_timed_runs_have_a_count_of_their_own() -> None:
    case = case_of("kill")
    verdicts: tuple[Verdict, ...] = ("held", "violated", "inconclusive", "held")
    timed = [row_of(case, f"timed/{index}", verdict, "kill") for index, verdict in enumerate(verdicts)]
    result = result_of(case, explored(case, "held"), *timed)
    assert (result.timed_runs, result.timed_bad, result.timed_inconclusive) == (3, 1, 1)
    assert result.classes[0].verdict == "violated"


def test_nothing_available_is_5() -> None:
    assert verdict_of([]) == ("inconclusive", 5)


def test_what_was_asked_for_and_never_measured_makes_a_campaign_inconclusive() -> None:
    case = case_of("kill")
    assert verdict_of([result_of(case, explored(case, "held"))], missing=True) == ("inconclusive", 3)
    assert verdict_of([result_of(case, explored(case, "violated"))], missing=True) == ("violated", 1)


def test_an_invariant_measured_for_one_variant_was_measured() -> None:
    one, other = case_of("kill", "errno"), case_of("kill", variant="w")
    reasons: dict[FaultClass, dict[str, str]] = {"kill": {"M1": "no document was seen"}}
    results = [
        result_of(one, explored(one, "held"), not_measured=reasons),
        result_of(other, explored(other, "held"), not_measured=reasons),
    ]
    assert never_measured(results, ("M1", "B1")) == {"M1": "under kill: no document was seen"}
    # errno measured nothing at all, so it does not count as having measured M1
    more = [*results, result_of(other, explored(other, "held"))]
    assert never_measured(more, ("M1", "B1")) == {}


def test_an_invariant_that_no_class_run_can_violate_was_never_measured() -> None:
    case = case_of("kill")
    results = [result_of(case, explored(case, "held"))]
    assert never_measured(results, ("W8",)) == {"W8": "no fault class that was run can violate it"}


def test_what_only_a_control_measured_was_not_measured() -> None:
    assert "B1" in never_measured(held_and_caught("kill"), ("B1",))


def finding_of(operation: str, damage: str = "torn", role: str = "a.json", **more: Any) -> Finding:
    return Finding(
        fingerprint=f"{operation}{damage}{role}",
        target="t",
        variant="v",
        invariant="M1",
        fault_class="kill",
        operation=operation,
        role=role,
        phase="",
        damage=damage,  # type: ignore[arg-type]
        message="",
        **more,
    )


def test_a_timed_finding_joins_the_first_exact_one_of_the_same_damage() -> None:
    findings = {
        "write": finding_of("write"),
        "rename": finding_of("rename"),
        "timed": finding_of(UNATTRIBUTED),
        "empty": finding_of(UNATTRIBUTED, "empty"),
        "elsewhere": finding_of(UNATTRIBUTED, role="b.json"),
    }
    assert join_timed(findings) == {"timed": "write"}
    assert join_timed(findings, {"rename": {"torn", "empty"}}) == {"timed": "write", "empty": "rename"}


def test_a_timed_finding_never_joins_one_of_another_version_or_of_a_control() -> None:
    findings = {
        "old": finding_of("write", version="1"),
        "control": finding_of("write", control=True),
        "timed": finding_of(UNATTRIBUTED, version="2"),
    }
    assert join_timed(findings) == {}


def test_the_summary_names_what_no_real_run_has_shown() -> None:
    proven = finding_of("write", confirmation=Confirmation(attempts=3, confirmed=1))
    seen = finding_of("rename", confirmation=Confirmation(attempts=3))
    assert summary([], [proven, seen])["not_confirmed"] == [seen.key]
