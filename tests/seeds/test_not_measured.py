"""What could not be asked is no answer: neither a confirmation nor a contradiction."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.seeds import entries
from harness.seeds.__main__ import load_claims, measured_rows
from harness.seeds.claim import Claim, Row

pytestmark = pytest.mark.real
CLAIMS = {claim.id: claim for claim in load_claims()}
UNREADABLE = "transcript/seed000_example_moved"
"""Its transcripts are no JSONL: there is no conversation that the API could refuse."""


def measured(claim: Claim, tmp_path: Path) -> Row:
    rows = measured_rows([claim], str(tmp_path))
    return rows[0]


@pytest.mark.parametrize("name", ["000.14", "000.15", "000.17", "001.07", "001.10", "001.13", "001.14"])
def test_a_conversation_that_cannot_be_resumed_is_not_one_that_is_refused(name: str, tmp_path: Path) -> None:
    row = measured(msgspec.structs.replace(CLAIMS[name], variant=UNREADABLE), tmp_path)
    assert (row.answer, "nothing to resume" in row.shown) == ("not measured", True)


@pytest.mark.parametrize("of", ["effort", "isPinned effort"])
def test_settings_that_are_the_same_in_both_entries_show_nothing(of: str, tmp_path: Path) -> None:
    row = measured(msgspec.structs.replace(CLAIMS["002.26"], of=of), tmp_path)
    assert (row.answer, of.rpartition(" ")[2] in row.shown) == ("not measured", True)


def test_a_run_that_ended_before_its_kill_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_KILL_US", 120_000_000)
    row = measured(CLAIMS["002.15"], tmp_path)
    assert (row.answer, "ended before the kill" in row.shown) == ("not measured", True)
