"""Plants a bug: a copy of the reference target with one patch applied, run through a campaign of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Scenario, Workload, select
from harness.core.verdict import Finding

PROJECT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).with_name("patches")
WORKLOAD = Workload(sessions=2, updates=4, record_bytes=(60, 9_000))
_HEADER = re.compile(r"^# (invariant|fault|story): *(.+)$", re.MULTILINE)


class Planted(NamedTuple):
    """A patch and what its header says of it."""

    path: Path
    invariant: str
    fault: str
    story: str


def planted_bugs() -> list[Planted]:
    """Return every patch, by name."""
    bugs = []
    for path in sorted(PATCHES.glob("*.patch")):
        header = dict(_HEADER.findall(path.read_text(encoding="utf-8").partition("\n--- ")[0]))
        bugs.append(Planted(path, header["invariant"], header["fault"], header["story"]))
    return bugs


def plant(bug: Planted, directory: Path) -> Path:
    """Return a copy of the reference target, below ``directory``, with the patch applied."""
    target = directory / "targets" / "reference"
    shutil.copytree(PROJECT / "targets" / "reference", target, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ["patch", "-s", "-p1", "-i", str(bug.path)], cwd=directory, check=True, timeout=30, capture_output=True
    )
    return target


def catch(target: Path, fault: str, directory: Path) -> list[Finding]:
    """Run a campaign over the durable writer in ``target`` and return what it found."""
    found: list[Finding] = []
    scenario = Scenario(
        name="planted", targets=(f"{target}",), faults=(fault,), workload=WORKLOAD, attempts=1, samples=40
    )
    chosen = [each for each in select([str(target)]) if each.variant.name == "durable"]
    options = Options(jobs=1)
    with RunStore.create(str(directory / "reports")) as store:
        run_campaign(
            lambda workspace: plan_scenario(scenario, options, workspace, chosen),
            store,
            options,
            lambda event: found.append(event.finding) if hasattr(event, "finding") else None,
            "planted",
        )
    return [finding for finding in found if not finding.control]
