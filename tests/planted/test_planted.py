"""Every planted bug is caught by the invariant its header names, confirmed by a run of the patched writer."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from harness.core.fault import FaultClass
from harness.core.verdict import Finding
from tests.planted.planting import PROJECT, Planted, catch, plant, planted_bugs

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("patch") is None, reason="needs the patch program"),
]
BUGS = planted_bugs()
ALWAYS = {
    "01_heal_only_in_run",
    "02_heal_splitlines",
    "05_fixed_temporary",
    "15_lister_stops",
    "transcript_08_lister_stops",
}
"""Of the bugs, which take minutes together, those that every run of the suite plants."""
EVIDENCE = bool(os.environ.get("TORNWRITE_EVIDENCE"))


def _marks(name: str) -> list[pytest.MarkDecorator]:
    slow = name not in ALWAYS
    return [pytest.mark.skipif(slow and not EVIDENCE, reason="one more planted bug: needs --evidence")]


def _cases() -> list[object]:
    return [pytest.param(bug, id=bug.path.stem, marks=_marks(bug.path.stem)) for bug in BUGS]


@pytest.mark.parametrize("bug", _cases())
def test_the_planted_bug_is_caught(bug: Planted, tmp_path: Path) -> None:
    findings = catch(plant(bug, tmp_path), bug.fault, tmp_path)
    caught = [finding for finding in findings if finding.invariant == bug.invariant and _is_proven(finding)]
    assert caught, f"{bug.story}: found only {sorted({f'{f.invariant}/{f.fault_class}' for f in findings})}"


def _is_proven(finding: Finding) -> bool:
    """Whether real runs showed it; a power loss takes a real disk for that, which is not everywhere."""
    return finding.is_confirmed or finding.fault_class == "power"


@pytest.mark.skipif(not EVIDENCE, reason="every fault class of every family: needs --evidence")
@pytest.mark.parametrize(("target", "fault"), sorted({(bug.target, bug.fault) for bug in BUGS}))
def test_without_a_bug_there_is_nothing_to_catch(target: str, fault: FaultClass, tmp_path: Path) -> None:
    named = {bug.invariant for bug in BUGS if (bug.target, bug.fault) == (target, fault)}
    found = catch(PROJECT / "targets" / target, fault, tmp_path)
    assert [finding for finding in found if finding.invariant in named] == []


def test_the_bugs_cover_many_invariants() -> None:
    assert len(BUGS) >= 10
    assert len({bug.invariant for bug in BUGS}) >= 8


def test_what_is_always_planted_is_there() -> None:
    assert {bug.path.stem for bug in BUGS} >= ALWAYS


def test_each_family_has_bugs_of_its_own() -> None:
    families = Counter(bug.target for bug in BUGS)
    assert {name: families[name] for name in ("transcript", "registry", "sessions_index")} == dict.fromkeys(
        ("transcript", "registry", "sessions_index"), 12
    )
