"""Confirmation proves findings by fresh runs: of the writer that is there, not of the one that was recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.core.event import AnyEvent, PhaseStarted
from tests.campaign.conducting import IN_PLACE, LOOKED_AT, REPLACED, Conducted, conduct_probe

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="confirming needs the ptrace engine of Linux"),
]


@pytest.fixture
def writer(tmp_path: Path) -> Path:
    script = tmp_path / "save.py"
    script.write_text(IN_PLACE)
    return script


def test_each_finding_is_confirmed_by_killing_the_real_writer(tmp_path: Path, writer: Path) -> None:
    done = conduct_probe(tmp_path, writer, ("kill",))
    assert done.findings
    for finding in done.findings:
        confirmation = finding.confirmation
        assert (confirmation.confirmed, confirmation.attempts) == (3, 3)
        assert confirmation.evidence["died_by"] == "signal 9"
        assert confirmation.evidence["pid"] > 0
        assert {"operation_seq", "size", "blake2b", "acknowledged"} <= set(confirmation.evidence)
    assert done.finished.summary["not_confirmed"] == []


def _replace_before_confirming(
    tmp_path: Path, writer: Path, faults: tuple[str, ...], fixed: str = REPLACED
) -> Conducted:
    def listen(event: AnyEvent) -> None:
        if isinstance(event, PhaseStarted) and event.phase == "confirm":
            writer.write_text(fixed)

    return conduct_probe(tmp_path, writer, faults, listen=listen)  # type: ignore[arg-type]


def test_a_writer_fixed_meanwhile_confirms_nothing(tmp_path: Path, writer: Path) -> None:
    done = _replace_before_confirming(tmp_path, writer, ("kill", "short"))
    assert done.findings
    for finding in done.findings:
        assert (finding.confirmation.confirmed, finding.confirmation.attempts) == (0, 3)
        assert not finding.is_confirmed
    assert set(done.finished.summary["not_confirmed"]) == {finding.key for finding in done.findings}
    assert sum(text.startswith("not confirmed: ") for text in done.notices) == len(done.findings)
    exact = [row for name, row in done.rows.items() if "/exact/" in name and row.kind == "exact"]
    assert exact
    assert {row.verdict for row in exact} <= {"held", "inconclusive"}


def test_a_fixed_writer_killed_at_the_same_operation_confirms_nothing(tmp_path: Path, writer: Path) -> None:
    done = _replace_before_confirming(tmp_path, writer, ("kill",), LOOKED_AT)
    assert all(finding.confirmation.confirmed == 0 for finding in done.findings)
    struck = [row for row in done.rows.values() if row.kind == "exact" and row.verdict == "held"]
    assert struck
    assert all(row.delivered and row.died_by == "signal 9" for row in struck)


def test_what_was_seen_and_not_confirmed_is_still_a_violation(tmp_path: Path, writer: Path) -> None:
    done = _replace_before_confirming(tmp_path, writer, ("kill",))
    assert done.finished.verdict == "violated"
    assert done.finished.exit_code == 1


def test_errors_are_confirmed_by_running_on_under_the_same_error(tmp_path: Path, writer: Path) -> None:
    done = conduct_probe(tmp_path, writer, ("errno", "short"))
    silent = [item for item in done.findings if item.invariant in ("W1", "W8") and item.damage == "silent"]
    assert silent
    for finding in silent:
        assert finding.is_confirmed
        assert finding.confirmation.method == "run again under the same fault"


_OUTLIVED = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    time.sleep(0.2)
    file = os.open(os.path.join(sys.argv[1], "state.json"), os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(file, b'{"n": 1}')
    os.close(file)
    os._exit(0)
"""
"""The first process is gone, with exit code 0, before the second writes: that one is killed."""


def test_a_kill_is_proven_by_the_death_of_the_process_it_struck(tmp_path: Path) -> None:
    script = tmp_path / "early.py"
    script.write_text(_OUTLIVED)
    done = conduct_probe(tmp_path, script, ("kill",))
    (finding,) = done.findings
    assert finding.crash_point is not None and finding.crash_point.actor == "p1"
    assert (finding.confirmation.confirmed, finding.confirmation.attempts) == (3, 3)
    assert finding.confirmation.evidence["died_by"] == "signal 9"
