"""Tokens of power losses: REPRODUCED, at another point, FIXED, CHANGED; and the profile that a token names."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from harness.campaign import power_replay
from harness.campaign.executor import Executor
from harness.campaign.power_replay import loss_point, profile_for
from harness.campaign.probe import probe_subject
from harness.campaign.replay import Replay, replay
from harness.campaign.token import ReplayRecord, decode
from harness.catalog import ManifestError
from harness.catalog.profiles import load_profile
from harness.core.fault import NO_FAULTS, CrashPoint, Errno, FaultPlan, Loss, PowerLoss
from harness.core.profile import Profile
from harness.core.verdict import Finding
from harness.sandbox.workspace import Workspace
from tests.campaign.conducting import DURABLE, IN_PLACE, REPLACED, conduct_probe, probe_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="replaying needs the ptrace engine of Linux"),
]
OWN = Profile(name="mine", title="t", source="s")
SWALLOWED = DURABLE.replace(
    "    os.fsync(file)", "    try:\n        os.fsync(file)\n    except OSError:\n        pass"
)


def found(base: Path, text: str, **more: object) -> list[Finding]:
    script = base / "save.py"
    script.write_text(text)
    more = {"profiles": ("ext4",), **more}
    done = conduct_probe(base, script, ("power",), confirm_power=False, **more)
    return [item for item in done.findings if item.fault_class == "power"]


def again(base: Path, text: str, token: str | ReplayRecord, profile: Profile | None = None) -> Replay:
    script = base / "save.py"
    script.write_text(text)
    record = decode(token) if isinstance(token, str) else token
    workspace = Workspace(str(base / "work"))
    with Executor(2, workspace.base) as executor:
        return replay(executor, probe_subject(probe_of(script), workspace), record, 3, profile=profile)


@pytest.fixture(scope="module")
def lost_rename(tmp_path_factory: pytest.TempPathFactory) -> Finding:
    """What is lost where a renamed document has no fsync of its directory."""
    findings = found(tmp_path_factory.mktemp("lost"), REPLACED)
    return next(item for item in findings if item.operation == "rename" and item.invariant == "M1")


def test_the_same_writer_loses_it_again(lost_rename: Finding, tmp_path: Path) -> None:
    result = again(tmp_path, REPLACED, lost_rename.token)
    assert (result.answer, result.times, result.reproduced) == ("REPRODUCED", 1, 1)
    assert result.text.startswith("REPRODUCED 1/1: ")
    assert result.text.endswith(" states under ext4")


def test_a_directory_fsync_fixes_it(lost_rename: Finding, tmp_path: Path) -> None:
    result = again(tmp_path, DURABLE, lost_rename.token)
    assert (result.answer, result.reproduced) == ("FIXED", 0)
    assert "states under ext4 explored" in result.text
    assert result.text.endswith("none violates M1")


def test_another_way_to_lose_the_same_is_another_point(lost_rename: Finding, tmp_path: Path) -> None:
    result = again(tmp_path, IN_PLACE, lost_rename.token)
    assert result.answer == "REPRODUCED"
    assert result.text.startswith("REPRODUCED at another point: ")


def test_a_writer_without_such_a_file_proves_nothing(lost_rename: Finding, tmp_path: Path) -> None:
    result = again(tmp_path, DURABLE.replace("state.json", "other.txt"), lost_rename.token)
    assert result.answer == "CHANGED"


def test_an_exploration_that_was_stopped_proves_nothing(
    lost_rename: Finding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power_replay, "_SECONDS", 0.0)
    result = again(tmp_path, DURABLE, lost_rename.token)
    assert result.answer == "CHANGED"
    assert "its time used up" in result.text


def test_a_token_of_a_failed_fsync_fails_it_again(tmp_path: Path) -> None:
    finding = found(tmp_path, SWALLOWED)[0]
    assert again(tmp_path, SWALLOWED, finding.token).answer == "REPRODUCED"
    assert again(tmp_path, DURABLE, finding.token).answer == "FIXED"


def test_a_token_of_ones_own_profile_needs_its_file(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('extends = "ext4"\ntitle = "mine"\nsource = "me"\n')
    finding = next(item for item in found(tmp_path, REPLACED, profiles=(str(own),)) if item.operation == "rename")
    with pytest.raises(ManifestError, match="give its file with --profile"):
        again(tmp_path, REPLACED, finding.token)
    assert again(tmp_path, REPLACED, finding.token, load_profile(str(own))).answer == "REPRODUCED"


def test_a_profile_that_is_not_the_tokens_is_refused() -> None:
    lost = FaultPlan(faults=(PowerLoss(at=None, profile="ext4"),))
    assert profile_for(lost) == load_profile("ext4")
    with pytest.raises(ManifestError, match="is of 'ext4', and not of 'mine'"):
        profile_for(lost, OWN)
    assert profile_for(NO_FAULTS) is None
    with pytest.raises(ManifestError, match="not of a power loss"):
        profile_for(NO_FAULTS, OWN)
    with pytest.raises(ManifestError, match="which is not shipped"):
        profile_for(FaultPlan(faults=(PowerLoss(at=None, profile="\x1b[2J"),)))


def test_a_power_loss_is_named_after_what_is_lost_first() -> None:
    cut, lost, failed = (CrashPoint(operation=name, role="r", occurrence=1) for name in ("open", "write", "sync"))
    loss = PowerLoss(at=cut, profile="ext4", losses=(Loss(at=lost, part="data"),))
    after = {"phase": "after"}
    assert loss_point(FaultPlan(faults=(loss,))) == msgspec.structs.replace(lost, **after)
    assert loss_point(FaultPlan(faults=(PowerLoss(at=cut, profile="x"),))) == msgspec.structs.replace(cut, **after)
    both = FaultPlan(faults=(Errno(at=failed, errno=5), loss))
    assert (both.fault_class, loss_point(both)) == ("power", msgspec.structs.replace(failed, **after))
    assert loss_point(NO_FAULTS) is None
