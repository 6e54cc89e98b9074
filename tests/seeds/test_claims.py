"""The claims themselves, and the verdicts on them: every answer turns when what was measured turns."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from harness.catalog import select
from harness.checks import INVARIANTS
from harness.core.fault import FAULT_CLASSES
from harness.core.verdict import Confirmation, Finding
from harness.seeds.__main__ import load_claims
from harness.seeds.claim import Claim, Class, Measured, answer, problems
from harness.seeds.page import TITLES, page

CLAIMS = load_claims()
ASKED = [claim for claim in CLAIMS if not claim.is_open]


def finding(claim: Claim, runs: int = 0) -> Finding:
    target, _, variant = claim.variant.partition("/")
    return Finding(
        fingerprint="ab" * 16,
        target=target,
        variant=variant,
        invariant=claim.finds[0],
        fault_class=claim.fault,  # type: ignore[arg-type]
        operation="write",
        role="x",
        phase="torn",
        damage=claim.damage[0] if claim.damage else "torn",  # type: ignore[arg-type]
        message="m",
        runs=runs,
        states=0 if runs else 1,
        confirmation=Confirmation(attempts=3, confirmed=3),
    )


def measured(claim: Claim, *found: Finding) -> Measured:
    line = Class(verdict="violated" if found else "held", states=10, runs=60)
    return Measured(classes={claim.fault: line}, findings=found)


def test_there_are_enough_and_each_is_a_question_or_has_a_reason() -> None:
    assert len(CLAIMS) >= 40
    assert problems(CLAIMS) == []
    assert {claim.seed for claim in CLAIMS} == set(TITLES)


@pytest.mark.parametrize("claim", ASKED, ids=lambda claim: claim.id)
def test_what_is_asked_exists(claim: Claim) -> None:
    assert len(select([claim.variant])) == 1
    assert claim.fault in (*FAULT_CLASSES, "none")
    assert set(claim.finds) <= set(INVARIANTS)
    asked = [INVARIANTS[name] for name in claim.finds]
    assert any(row.judges(claim.fault) for row in asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("claim", ASKED, ids=lambda claim: claim.id)
def test_the_opposite_writer_turns_the_row(claim: Claim) -> None:
    common = finding(claim, runs=6)
    answers = {
        answer(claim, measured(claim, common)).answer,
        answer(claim, measured(claim)).answer,
    }
    assert answers == {"confirmed", "contradicted"}


def test_a_rate_is_confirmed_only_where_the_intervals_meet() -> None:
    claim = next(item for item in ASKED if isinstance(item.claimed, tuple))
    for runs, expected in ((6, "confirmed"), (0, "contradicted"), (40, "contradicted")):
        row = answer(claim, measured(claim, finding(claim, runs=runs)))
        assert (row.answer, row.shown != "") == (expected, True)


def test_other_damage_and_other_faults_are_no_evidence() -> None:
    claim = next(item for item in ASKED if item.damage and item.claimed is True)
    for changes in ({"damage": "litter"}, {"fault_class": "power"}, {"invariant": "W6"}):
        other = msgspec.structs.replace(finding(claim), **changes)
        assert answer(claim, measured(claim, other)).answer == "contradicted"


def test_what_was_not_measured_is_no_verdict() -> None:
    claim = ASKED[0]
    assert answer(claim, None).answer == "not measured"
    unmeasured = Measured(classes={claim.fault: Class(verdict="inconclusive")})
    assert answer(claim, unmeasured).answer == "not measured"


def test_the_page_has_a_row_for_each_with_a_command_or_a_reason() -> None:
    rows = [answer(claim, None if claim.is_open else measured(claim)) for claim in CLAIMS]
    text = page(rows, "Here.")
    lines = [line for line in text.splitlines() if line.startswith("| 0")]
    assert len(lines) == len(CLAIMS)
    assert all(row.command or row.claim.reason for row in rows)
    counted = Counter(row.answer for row in rows)
    assert f"{counted['not testable here']} not testable here" in text
