"""tornwrite killed at random moments: nothing is left running, and ``--resume`` tells what a whole run tells.

``--evidence`` takes 50 moments.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

from harness.campaign.store import RunStore
from tests.campaign.killing import DAEMON, SHORT, SMALL, Campaign, Told, daemon_target, told_by
from tests.survivors import survivors

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux"),
]

KILLS = 50 if os.environ.get("TORNWRITE_EVIDENCE") else 2
_CHANCE = random.Random(5)
_FRACTIONS = [_CHANCE.random() for _ in range(KILLS)]
_DAEMON_KILLS = max(1, KILLS // 5)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, float]:
    """What a whole run of the small scenario tells, and how long it took."""
    campaign = Campaign(tmp_path_factory.mktemp("undisturbed"), SMALL)
    begun = time.monotonic()
    campaign.whole()
    took = time.monotonic() - begun
    assert campaign.left_over() == []
    return told_by(campaign.directory), took


def agree(told: Told, whole: Told) -> None:
    assert told.verdict == whole.verdict
    assert set(told.rows) == set(whole.rows)
    for name, row in whole.rows.items():
        assert told.rows[name] == row
    assert set(told.findings) == set(whole.findings)
    for key, finding in whole.findings.items():
        assert told.findings[key] == finding
    assert told.classes == whole.classes
    assert set(told.moments) == set(whole.moments)
    for name, fraction in whole.moments.items():
        assert told.moments[name] == pytest.approx(fraction, abs=0.01)


@pytest.mark.parametrize("fraction", _FRACTIONS)
def test_a_killed_campaign_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, undisturbed: tuple[Told, float], fraction: float
) -> None:
    whole, took = undisturbed
    campaign = Campaign(tmp_path, SMALL)
    campaign.kill_after(fraction * took)
    if not campaign.can_be_resumed():
        campaign.whole()
        agree(told_by(campaign.directory), whole)
        return
    killed = RunStore.open(campaign.directory, writable=False)
    before = {row.trial_id: row for row in killed.rows()}
    killed.findings()
    campaign.whole("--resume")
    after = RunStore.open(campaign.directory, writable=False)
    assert {name: after.row(name) for name in before} == before  # planned moments among them
    agree(told_by(campaign.directory), whole)
    assert campaign.left_over() == []


@pytest.mark.parametrize("fraction", [random.Random(index).random() for index in range(_DAEMON_KILLS)])
def test_daemons_of_targets_die_with_the_campaign(tmp_path: Path, fraction: float) -> None:
    campaign = Campaign(tmp_path, DAEMON.format(target=daemon_target(tmp_path / "target")))
    campaign.kill_after(1.0 + 7 * fraction)
    if campaign.can_be_resumed():
        campaign.whole("--resume")
        assert told_by(campaign.directory).verdict[0] in ("held", "violated")
    assert survivors(campaign.mark, 0) == set()


def test_a_run_removes_what_killed_runs_left(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, SHORT)
    campaign.kill_at_work()
    left = campaign.left_over()
    assert any(name.startswith("tornwrite-") for name in left)
    campaign.whole()
    assert campaign.left_over() == []
