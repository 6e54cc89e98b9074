"""Published packages on real file systems: what a power loss leaves of each was seen, and one holds.

``--evidence`` installs the packages and runs the shipped scenario, one file system at a time; run with ``-s`` for the
table.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.campaign.plan import Options, Plan, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import NotAvailableError, install, load_scenario, load_target
from harness.core.event import AnyEvent, FindingConfirmed
from harness.core.verdict import Finding
from harness.engines import engine
from harness.sandbox.workspace import Workspace
from tests.block.conftest import require

pytestmark = [
    pytest.mark.real,
    pytest.mark.download,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
FILE_SYSTEMS = ("ext4", "xfs", "btrfs")
VULNERABLE = (
    "fork_session/sdk@0.2.186",
    "fork_session/seed004_fix@0.1.72",
    "published/server_memory@2026.8.31",
    "published/strands_messages@1.62.0",
    "published/strands_new_session@1.62.0",
)
PACKAGES = (
    ("fork_session", "0.1.72"),
    ("fork_session", "0.2.186"),
    ("published", "2026.8.31"),
    ("published", "1.62.0"),
    ("correct", "1.4.1"),
)
HOLDS = "correct/atomicwrites@1.4.1"


@pytest.fixture
def installed() -> None:
    for target, version in PACKAGES:
        try:
            install(load_target(target), version)
        except NotAvailableError as error:
            pytest.skip(str(error))


def label(finding: Finding) -> str:
    return f"{finding.target}/{finding.variant}@{finding.version}"


def observed_on(finding: Finding) -> dict[str, list[int]]:
    """Return, by profile, in how many cuts of how many a finding was seen; nothing of one that is only predicted."""
    if not finding.confirmation.confirmed:
        return {}
    cuts: dict[str, list[int]] = finding.confirmation.evidence["cuts"]
    return {name: figures for name, figures in cuts.items() if figures[0]}


@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("filesystem", FILE_SYSTEMS)
def test_power_losses_of_published_packages_are_observed(tmp_path: Path, evidence: bool, filesystem: str) -> None:
    if not evidence:
        pytest.skip("a campaign of minutes: --evidence runs it")
    require(filesystem)
    scenario = msgspec.structs.replace(load_scenario("published_power"), profiles=(filesystem, "posix"))
    options, seen = Options(jobs=2), list[AnyEvent]()

    def make_plan(workspace: Workspace) -> Plan:
        return plan_scenario(scenario, options, workspace)

    with RunStore.create(str(tmp_path / "run")) as store:
        run_campaign(make_plan, store, options, seen.append, "published power")
        rows = store.rows()
    findings = [e.finding for e in seen if isinstance(e, FindingConfirmed) and not e.finding.control]
    lost = [finding for finding in findings if finding.fault_class == "power"]
    for finding in lost:
        print(label(finding), finding.invariant, finding.role, finding.confirmation.method)
    assert {label(finding) for finding in lost} == {*VULNERABLE}
    for name in VULNERABLE:
        assert any(filesystem in observed_on(finding) for finding in lost if label(finding) == name), name
    # Of the others a kill leaves what it should; only the power tells.
    killed = {label(finding) for finding in findings if finding.fault_class == "kill"}
    assert killed == {"fork_session/sdk@0.2.186", "published/strands_new_session@1.62.0"}
    held = [row for row in rows if row.trial_id.startswith(f"{HOLDS}/state/")]
    assert {row.profile for row in held if row.fault_class == "power"} == {*scenario.profiles}
    assert {row.verdict for row in held} == {"held"}
    assert all(finding.expected for finding in findings)
