"""One fault at one place is told once, whatever it breaks and in whichever version."""

from __future__ import annotations

from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.verdict import Confirmation, Finding
from harness.report.causes import causes
from harness.report.sentence import cause_headline


def finding(invariant: str, *, version: str = "1.0", occurrence: int = 1, expected: bool = False) -> Finding:
    point = CrashPoint(operation="write", role="a.jsonl", occurrence=occurrence, phase="torn", bytes=4096)
    plan = FaultPlan(faults=(Kill(at=point),))
    return Finding(
        fingerprint=f"{invariant}{occurrence}",
        target="t",
        variant="v",
        version=version,
        invariant=invariant,
        fault_class="kill",
        operation="write",
        role="a.jsonl",
        phase="torn",
        damage="torn",
        message="m",
        crash_point=point,
        fault={"faults": [{"type": "kill", "at": {"operation": "write"}}]} if plan else None,
        expected=expected,
        confirmation=Confirmation(attempts=3, confirmed=3),
    )


def test_the_lead_says_most_and_the_others_are_named() -> None:
    (cause,) = causes([finding("B1"), finding("W2"), finding("B2")])
    assert cause.lead.invariant == "W2"
    assert [item.invariant for item in cause.others] == ["B2", "B1"]
    assert "(W2), also B2, B1." in cause_headline(cause, str)


def test_versions_are_said_with_it() -> None:
    (cause,) = causes([finding("W2"), finding("W2", version="2.0")])
    assert cause.versions == ("1.0", "2.0")
    assert cause_headline(cause, str).endswith("The same in 2.0.")


def test_unexpected_causes_come_first() -> None:
    first, second = causes([finding("W2", expected=True), finding("B1")])
    assert (first.lead.invariant, second.lead.invariant) == ("B1", "W2")


def test_no_finding_is_lost() -> None:
    given = [finding(name, version=version) for name in ("B1", "B2", "W2") for version in ("1.0", "2.0", "3.0")]
    told = [item for cause in causes(given) for item in (cause.lead, *cause.others, *cause.elsewhere)]
    assert sorted(told, key=repr) == sorted(given, key=repr)
