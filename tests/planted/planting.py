"""Plants a bug: a copy of a target with one patch applied to its durable writer, run through a campaign of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from harness.campaign import examine
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Scenario, Workload, select
from harness.catalog.lives import Life
from harness.catalog.steps import Tools
from harness.core.fault import FaultClass
from harness.core.verdict import Finding

PROJECT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).with_name("patches")
WORKLOADS = {
    "reference": Workload(sessions=2, updates=4, record_bytes=(60, 9_000)),
    "transcript": Workload(sessions=2, updates=2, record_bytes=(200, 9_000), tools=Tools(parallel=3)),
    "registry": Workload(sessions=3, updates=4, record_bytes=(60, 3_000)),
    "sessions_index": Workload(sessions=3, updates=9, record_bytes=(60, 1_500)),
}
MEETING = Workload(
    sessions=2,
    updates=6,
    record_bytes=(60, 900),
    tools=Tools(parallel=4, duration_ms=(0, 3), result_bytes=(20, 900)),
)
"""Conversations that leave two instances no time: each appends all the while."""
_TOGETHER = (Life(instances=2, advance="1d"),) * 3
"""What several writers at once do to each other takes several writers at once."""
_TARGET = re.compile(r"^--- a/targets/(\w+)/", re.MULTILINE)
_HEADER = re.compile(r"^# (invariant|fault|story): *(.+)$", re.MULTILINE)


class Planted(NamedTuple):
    """A patch and what its header says of it."""

    path: Path
    target: str
    invariant: str
    fault: FaultClass
    story: str


def planted_bugs() -> list[Planted]:
    """Return every patch, by name."""
    bugs = []
    for path in sorted(PATCHES.glob("*.patch")):
        text = path.read_text(encoding="utf-8")
        header = dict(_HEADER.findall(text.partition("\n--- ")[0]))
        (target,) = set(_TARGET.findall(text))
        bugs.append(Planted(path, target, header["invariant"], header["fault"], header["story"]))
    return bugs


def plant(bug: Planted, directory: Path) -> Path:
    """Return a copy of the bug's target, below ``directory``, with the patch applied."""
    target = directory / "targets" / bug.target
    shutil.copytree(PROJECT / "targets" / bug.target, target, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ["patch", "-s", "-p1", "-i", str(bug.path)], cwd=directory, check=True, timeout=30, capture_output=True
    )
    return target


def catch(target: Path, fault: FaultClass, directory: Path) -> list[Finding]:
    """Run a campaign over the durable writer in ``target`` and return what it found."""
    found: list[Finding] = []
    scenario = Scenario(
        name="planted",
        targets=(f"{target}",),
        faults=(fault,),
        workload=MEETING if (target.name, fault) == ("transcript", "concurrency") else WORKLOADS[target.name],
        attempts=8 if fault == "concurrency" else 1,  # there chance decides, and one run is enough
        samples=40,
        timed=24 if fault == "signal" else 0,
        runs=24,
        life=_TOGETHER if fault == "concurrency" else (),
    )
    chosen = [each for each in select([str(target)]) if each.variant.name == "durable"]
    options = Options(jobs=1)
    # A busy machine must not decide how many states recovery sees.
    patience = mock.patch.object(examine, "RECOVERY_SECONDS", 300.0)
    with patience, RunStore.create(str(directory / "reports")) as store:
        run_campaign(
            lambda workspace: plan_scenario(scenario, options, workspace, chosen),
            store,
            options,
            lambda event: found.append(event.finding) if hasattr(event, "finding") else None,
            "planted",
        )
    return [finding for finding in found if not finding.control]
