"""The claims themselves, how an answer is set against them, and the page. That real rows turn: test_opposites."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from harness import __version__
from harness.catalog import load_scenario, select
from harness.checks import INVARIANTS
from harness.core.fault import FAULT_CLASSES
from harness.core.verdict import Confirmation, Finding
from harness.seeds import drift
from harness.seeds.__main__ import load_claims, page_of
from harness.seeds.claim import Claim, Class, Evidence, Fact, Measured, Row, Unmeasured, agrees, answer, problems
from harness.seeds.measuring import LIVES, MEASUREMENTS
from harness.seeds.page import TITLES, Header, line_of, lines_in, page

CLAIMS = load_claims()
ASKED = [claim for claim in CLAIMS if not claim.is_open]
FOUND = [claim for claim in ASKED if claim.finds]
HEADER = Header(version=__version__, rate_runs=500, race_runs=24)


def page_of_rows(*rows: Row) -> str:
    return page(map(line_of, rows), HEADER)


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
    assert len(CLAIMS) >= 100
    assert problems(CLAIMS) == []
    assert {claim.seed for claim in CLAIMS} == set(TITLES)


@pytest.mark.parametrize("claim", FOUND, ids=lambda claim: claim.id)
def test_what_is_looked_for_exists(claim: Claim) -> None:
    assert len(select([claim.variant])) == 1
    assert claim.fault in (*FAULT_CLASSES, "none")
    if claim.setting == "dialogues":
        part = load_scenario(claim.of)
        assert (part.faults, part.targets) == ((claim.fault,), (claim.variant.partition("/")[0],))
        assert set(claim.finds) <= set(part.invariants)
        return
    assert set(claim.finds) <= set(INVARIANTS)
    asked = [INVARIANTS[name] for name in claim.finds]
    assert any(row.judges(claim.fault) for row in asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("claim", [each for each in ASKED if each.measure], ids=lambda claim: claim.id)
def test_what_is_measured_exists(claim: Claim) -> None:
    assert len(select([claim.variant])) == 1
    assert claim.measure in (drift.MEASUREMENTS if claim.setting == "lives" else MEASUREMENTS)
    if claim.setting == "lives" and claim.of:
        assert set(claim.of.split()) <= {life.exit for life in load_scenario(LIVES).life}


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ({}, "needs either a variant or a reason"),
        ({"variant": "a/b"}, "needs either a measurement or invariants"),
        ({"variant": "a/b", "measure": "m", "finds": ("B1",), "fault": "kill"}, "needs either a measurement or"),
        ({"variant": "a/b", "finds": ("B1",)}, "needs a fault class"),
        ({"variant": "a/b", "finds": ("B1",), "fault": "kill", "claimed": "text"}, "findings have no text"),
        ({"variant": "a/b", "reason": "r", "measure": "m"}, "needs either a variant or a reason"),
        ({"variant": "a/b", "measure": "m", "note_if": "confirmed"}, "has no note to tell"),
        (
            {"variant": "a/b", "finds": ("S1",), "fault": "kill", "setting": "dialogues"},
            "needs the scenario that holds the dialogues",
        ),
    ],
)
def test_a_claim_that_asks_nothing_or_too_much_is_refused(claim: dict[str, object], wrong: str) -> None:
    made = msgspec.convert({"id": "000.99", "kind": "claim", "says": "s", **claim}, Claim)
    assert any(wrong in problem for problem in problems([made]))


def test_a_rate_is_confirmed_only_inside_its_range() -> None:
    claim = next(item for item in FOUND if isinstance(item.claimed, tuple))
    for runs, expected in ((6, "confirmed"), (2, "contradicted"), (0, "contradicted"), (40, "contradicted")):
        row = answer(claim, measured(claim, finding(claim, runs=runs)))
        assert (row.answer, row.shown != "") == (expected, True)


def test_other_damage_other_faults_and_other_files_are_no_evidence() -> None:
    claim = next(item for item in FOUND if item.damage and item.claimed is True)
    assert answer(claim, measured(claim, finding(claim))).answer == "confirmed"
    for changes in ({"damage": "litter"}, {"fault_class": "power"}, {"invariant": "W6"}):
        other = msgspec.structs.replace(finding(claim), **changes)
        assert answer(claim, measured(claim, other)).answer == "contradicted"
    elsewhere = msgspec.structs.replace(claim, where="leases.json")
    assert answer(elsewhere, measured(claim, finding(claim))).answer == "contradicted"


@pytest.mark.parametrize(
    ("claimed", "value", "agreed"),
    [
        (True, 3, True),
        (True, 0, False),
        (False, 0, True),
        ((9, 9), 9, True),
        ((9, 9), 8, False),
        ((14, float("inf")), 21, True),
        ((0, 100), "30", False),
        ("a b", "a b", True),
        ("a b", "a", False),
        ("a", True, False),
    ],
)
def test_a_value_is_set_against_what_is_claimed(claimed: object, value: object, agreed: bool) -> None:
    assert agrees(claimed, value) is agreed  # type: ignore[arg-type]


def test_what_was_not_measured_is_no_verdict() -> None:
    claim = FOUND[0]
    unmeasured = Measured(classes={claim.fault: Class(verdict="inconclusive")})
    for evidence in (None, unmeasured, Unmeasured(reason="not there")):
        assert answer(claim, evidence).answer == "not measured"


@pytest.mark.parametrize(
    ("note_if", "value", "told"),
    [
        ("confirmed", True, True),
        ("confirmed", False, False),
        ("contradicted", False, True),
        ("contradicted", True, False),
        ("", True, True),
        ("", False, True),
    ],
)
def test_a_note_that_explains_an_answer_is_told_with_no_other(note_if: str, value: bool, told: bool) -> None:
    claim = msgspec.structs.replace(CLAIMS[0], note="It is why", note_if=note_if)
    assert ("It is why" in page_of_rows(answer(claim, Fact(value=value, shown="shown")))) is told
    explains = bool(note_if)
    assert ("It is why" in page_of_rows(answer(claim, Unmeasured(reason="not there")))) is not explains


@pytest.mark.parametrize("claim", [each for each in ASKED if each.note_if], ids=lambda claim: claim.id)
def test_no_explanation_is_printed_with_the_opposite_answer(claim: Claim) -> None:
    for verdict in ("confirmed", "contradicted", "not measured"):
        row = Row(claim=claim, answer=verdict, shown="shown")  # type: ignore[arg-type]
        assert (claim.note in page_of_rows(row)) is (verdict == claim.note_if)


def test_the_page_has_a_row_for_each_with_a_command_or_a_reason() -> None:
    def evidence(claim: Claim) -> Evidence:
        return Fact(value=1, shown="one") if claim.measure else measured(claim)

    rows = [answer(claim, None if claim.is_open else evidence(claim)) for claim in CLAIMS]
    text = page_of_rows(*rows)
    lines = [line for line in text.splitlines() if line.startswith("| 0")]
    assert len(lines) == len(CLAIMS)
    assert all(row.command or row.claim.reason for row in rows)
    counted = Counter(row.answer for row in rows)
    assert f"{counted['not testable here']} not testable here" in " ".join(text.split())
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("|"))


def test_rows_that_are_measured_anew_take_their_places_and_the_others_stay() -> None:
    rows = [answer(claim, Unmeasured(reason="a | b\n**c**", elsewhere=True)) for claim in CLAIMS]
    before = page_of_rows(*rows)
    kept = lines_in(before)
    assert list(kept) == [claim.id for claim in CLAIMS]
    assert {line.answer for line in kept.values()} == {"not available", "not testable here"}
    assert page_of(CLAIMS, [], kept) == page(
        kept.values(), Header(version=__version__, rate_runs=500, race_runs=24)
    )
    anew = answer(ASKED[3], Fact(value=True, shown="anew"))
    old, after = before.splitlines(), page_of(CLAIMS, [anew], kept).splitlines()
    assert [line for line in after if line.startswith("|") and line not in old] == [line_of(anew).text]
    assert sum(line.startswith("|") for line in after) == sum(line.startswith("|") for line in old)


def test_the_page_that_is_kept_has_a_row_of_every_claim() -> None:
    """A claim that nobody measured for the page would be missing from it in silence."""
    written = Path(__file__).parents[2].joinpath("reports", "SEEDS.md").read_text(encoding="utf-8")
    assert list(lines_in(written)) == [claim.id for claim in CLAIMS]
