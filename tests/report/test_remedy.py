"""What the user can do now: every invariant has a sentence, and it names the file and the ids that the evidence has."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from campaign_sample import HOSTILE, torn_finding

from harness.checks import INVARIANTS
from harness.checks.dialogue import DIALOGUE_ROWS
from harness.core.verdict import Confirmation, Damage, Finding
from harness.report.causes import _TELLING
from harness.report.escape import code, markdown, plain
from harness.report.remedy import _BY_DAMAGE, _OF_KIND, _SENTENCES, kind_of, remedy

ROLES = (
    "projects/<n>/<uuid>.jsonl",
    "claude-code-sessions/<uuid>/local_<uuid>.json",
    "claude-code-sessions/<uuid>/git-worktrees.json",
    "projects/<n>/sessions-index.json",
    "state.json",
)
TAKES_IDS = {
    *("B5", "B8", "B9", "G1", "G2", "G4", "G5", "G6", "G7", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T9"),
    *("M3", "M5", "M6", "M10", "W9"),
}
"""The invariants whose violations name records, calls or sessions."""


def finding(invariant: str, damage: str, role: str, ids: tuple[str, ...] = (), offset: int = -1) -> Finding:
    return msgspec.structs.replace(
        torn_finding(),
        invariant=invariant,
        damage=damage,
        role=role,
        evidence={"ids": list(ids), "offset": offset},
        confirmation=Confirmation(),
    )


@pytest.mark.parametrize("invariant", [*INVARIANTS, "check"])
def test_every_invariant_has_a_sentence(invariant: str) -> None:
    assert invariant in _SENTENCES, "a finding of it would tell its user what helps another one"
    for damage in get_args(Damage):
        for role in ROLES:
            text = remedy(finding(invariant, damage, role, ("id-1",), 7), str)
            assert role in text
            assert text[0].isupper()
            assert text.endswith(".")
            assert text.count(". ") == 0, "one sentence"
            assert "{" not in text
            assert len(text) < 400


@pytest.mark.parametrize("invariant", sorted(TAKES_IDS))
def test_it_names_what_the_evidence_names(invariant: str) -> None:
    text = remedy(finding(invariant, "lost", ROLES[0], ("id-1", "id-2", "id-3")), str)
    assert "id-1, id-2" in text
    assert "id-3" not in text
    without = remedy(finding(invariant, "lost", ROLES[0]), str)
    assert "id-1" not in without
    assert "  " not in without


def test_the_confirming_run_is_what_it_is_about() -> None:
    seen = finding("T1", "rejected", ROLES[0], ("toolu_of_the_exploration",))
    proven = msgspec.structs.replace(
        seen, confirmation=Confirmation(attempts=3, confirmed=3, evidence={"ids": ["toolu_1"], "offset": 5})
    )
    assert "tool use toolu_1 in" in remedy(proven, str)
    assert "toolu_of_the_exploration" in remedy(seen, str)


def test_what_is_lost_is_said_to_be_lost() -> None:
    for key in ("B5", "M3", "W9", "T1", "B2", "M1", "M9"):
        assert "lost" in remedy(finding(key, "torn", "a.jsonl", ("x",)), str)
    registry = remedy(finding("M1", "empty", ROLES[1]), str)
    assert "the transcript" in registry
    assert "pin and number of turns are lost" in registry
    assert "the pin" not in remedy(finding("M1", "empty", "state.json"), str)


def test_the_table_holds_only_what_can_be_found() -> None:
    known = {*INVARIANTS, *DIALOGUE_ROWS, "check"}
    assert set(_SENTENCES) == known
    assert {key for key, _ in _BY_DAMAGE} <= known
    assert {damage for _, damage in _BY_DAMAGE} <= set(get_args(Damage))
    assert {key for key, _ in _OF_KIND} <= known
    assert set(_TELLING) >= known - {"B3", "B8", "B9"}


def test_a_damage_has_a_sentence_of_its_own_where_the_file_asks_for_another_step() -> None:
    assert remedy(finding("B5", "extra", "a.jsonl", ("x",)), str).startswith("Take the second copy of record x")
    assert remedy(finding("W2", "empty", "a.jsonl"), str) != remedy(finding("W2", "torn", "a.jsonl"), str)
    assert remedy(finding("M4", "silent", ROLES[0]), str) != remedy(finding("M4", "silent", ROLES[1]), str)


def test_kinds_are_told_by_their_names() -> None:
    assert [kind_of(role) for role in ROLES] == ["transcript", "registry", "lease", "index", "document"]
    assert kind_of("") == "document"


def test_a_finding_without_a_file() -> None:
    bare = msgspec.structs.replace(finding("check", "other", ""), path="")
    assert "the state directory" in remedy(bare, str)
    unknown = msgspec.structs.replace(finding("Z9", "other", "x.json"))
    assert "x.json" in remedy(unknown, str), "an invariant of a later version is told in general words"


def test_hostile_names_and_ids() -> None:
    hostile = finding("T1", "rejected", HOSTILE, (HOSTILE, "{file}", "3"))
    for show in (plain, markdown, code):
        text = remedy(hostile, show)
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert remedy(hostile, plain).count("{file}") == 1, "an id is never read as a placeholder"
