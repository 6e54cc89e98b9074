"""Every row turns when a writer of the opposite kind is measured in the place of the one that the document is about.

Both are measured by the same code, on real runs. What is a campaign of its own is run under ``--evidence``, but for one
family; facts of single programs are always measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from harness.catalog import find_installed, select
from harness.catalog.cache import NotAvailableError
from harness.seeds.__main__ import load_claims, measured_rows
from harness.seeds.claim import Claim
from harness.seeds.measuring import Group, group_of, measurement_of
from tests.seeds.opposite_writers import BREAKING_STEPS, OPPOSITES, SDK, among_bad_writers

pytestmark = pytest.mark.real
CLAIMS = {claim.id: claim for claim in load_claims()}
# The published application has no twin of the opposite kind; every campaign of dialogues has two clients as controls.
ASKED = [claim for claim in CLAIMS.values() if not claim.is_open and claim.setting != "dialogues"]
FACTS = [claim for claim in ASKED if measurement_of(claim)]
GROUPS: dict[Group, list[Claim]] = {}
for each in ASKED:
    if each not in FACTS:
        GROUPS.setdefault(group_of(each), []).append(each)
CHEAP = {Group("transcript", "alone", "kill")}
SLOW_FACTS = {"rebuild_ms", "intact_bytes"}
CUTS_SHOWN = {"002.34", "002.37", "003.43"}
"""Rows of real disks that are measured twice in every run of the tests; the others under ``--evidence``."""
TURNED = {"confirmed": "contradicted", "contradicted": "confirmed"}
EVIDENCE = bool(os.environ.get("TORNWRITE_EVIDENCE"))
long = pytest.mark.skipif(not EVIDENCE, reason="a whole campaign, twice: --evidence")


def is_slow(claim: Claim) -> bool:
    """Whether a fact is measured twice under ``--evidence`` alone."""
    of_disks = claim.setting == "cuts" or claim.measure == "nul_in_cuts"
    return claim.measure in SLOW_FACTS or (of_disks and claim.id not in CUTS_SHOWN)


def opposite(claim: Claim) -> Claim:
    """Return the claim about the writer of the opposite kind."""
    return msgspec.structs.replace(claim, variant=OPPOSITES[claim.id])


def require_package(claims: Iterable[Claim]) -> None:
    """Skip where the published package is not installed."""
    if any(claim.variant.startswith("fork_session/") for claim in claims):
        (chosen,) = select([SDK])
        assert chosen.variant.package is not None
        try:
            find_installed(chosen.variant.package)
        except NotAvailableError as error:
            pytest.skip(str(error))


def assert_turned(claims: list[Claim], tmp_path: Path) -> None:
    """Measure the claims, then those about the opposite writers, and compare the answers row by row."""
    require_package(claims)
    reports = str(tmp_path / "reports")
    rows = measured_rows(claims, reports)
    with among_bad_writers(tmp_path / "targets"):
        others = measured_rows(map(opposite, claims), reports)
    missing = [row.shown for row in (*rows, *others) if row.answer == "not available"]
    if missing:
        pytest.skip(missing[0])
    wrong = [
        f"{row.claim.id}: {row.claim.variant} {row.answer} ({row.shown}); {other.claim.variant} {other.answer} "
        f"({other.shown})"
        for row, other in zip(rows, others, strict=True)
        if other.answer != TURNED.get(row.answer)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_row_has_an_opposite() -> None:
    assert set(OPPOSITES) == {claim.id for claim in ASKED}


@pytest.mark.parametrize(
    "claim",
    [pytest.param(each, id=each.id, marks=[long] if is_slow(each) else []) for each in FACTS],
)
def test_the_opposite_writer_turns_a_fact(claim: Claim, tmp_path: Path) -> None:
    assert_turned([claim], tmp_path)


@pytest.mark.parametrize("name", BREAKING_STEPS)
def test_without_its_step_the_bad_writer_does_no_harm(name: str, tmp_path: Path) -> None:
    claim = opposite(CLAIMS[name])
    steps = tuple(step for step in claim.steps if step.do != BREAKING_STEPS[name])
    assert len(steps) == len(claim.steps) - 1
    with among_bad_writers(tmp_path / "targets"):
        without = msgspec.structs.replace(claim, id=f"{name} without", steps=steps)
        rows = measured_rows([claim, without], str(tmp_path / "reports"))
    assert [row.shown == "accepted" for row in rows] == [False, True], rows


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "group",
    [
        pytest.param(each, id="-".join(filter(None, each)), marks=[] if each in CHEAP else [long])
        for each in GROUPS
    ],
)
def test_the_opposite_writer_turns_the_rows_of_a_campaign(group: Group, tmp_path: Path) -> None:
    assert_turned(GROUPS[group], tmp_path)
