"""Starting on what something else has damaged: who says so and keeps a copy holds, who skips or resets is caught."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.campaign.executor import Executor
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.replay import replay
from harness.campaign.run import run_campaign
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import RunStore
from harness.campaign.token import decode
from harness.catalog import Scenario, Workload, compile_subject, load_target
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed
from harness.core.fault import CrashPoint, Damaged, FaultPlan, Kill
from harness.core.verdict import Finding, TrialRow

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux"),
]

KEEPER = """
import json, os, sys
command, root, how = sys.argv[1:4]

def put(path, data):
    file = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    while data:
        data = data[os.write(file, data):]
    os.fsync(file)
    os.close(file)
    os.replace(path + ".tmp", path)

def names():
    return sorted(name for name in os.listdir(root) if name.endswith(".json"))

def load(path):
    try:
        value = json.load(open(path, "rb"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

if command == "run":
    for name in ("a", "b"):
        for number in range(2):
            put(f"{root}/{name}.json", json.dumps({"id": name, "number": number, "text": "x" * 60}).encode())
            os.write(1, b"ACK %d\\n" % number)
elif command == "list":
    for name in names():
        if load(f"{root}/{name}") is not None:
            print(json.dumps({"id": name[:-5]}))
        elif how != "silent":
            print(json.dumps({"warning": "cannot be read", "name": name}))
else:
    for name in names():
        path = f"{root}/{name}"
        if load(path) is None:
            if how != "reset" and open(path, "rb").read() and not os.path.exists(path + ".bak"):
                put(path + ".bak", open(path, "rb").read())
            put(path, json.dumps({"id": name[:-5], "number": 0}).encode())
    print("ACK recovered")
"""

TARGET = """
[target]
name = "keeper"
[[file]]
glob = "*.tmp"
litter = true
[[file]]
glob = "*.bak"
[[file]]
glob = "*.json"
format = "registry"
"""
VARIANT = """
[[variant]]
name = "{how}"
run = ["{{python}}", "-BEsS", "{{target}}/keeper.py", "run", "{{dir}}", "{how}"]
list = ["{{python}}", "-BEsS", "{{target}}/keeper.py", "list", "{{dir}}", "{how}"]
recover = ["{{python}}", "-BEsS", "{{target}}/keeper.py", "recover", "{{dir}}", "{how}"]
expect = {{ damage = "{verdict}" }}
"""
EXPECTED = {"good": "held", "silent": "violated", "reset": "violated"}


@pytest.fixture
def target(tmp_path: Path) -> str:
    place = tmp_path / "keeper"
    place.mkdir()
    variants = "".join(VARIANT.format(how=how, verdict=verdict) for how, verdict in EXPECTED.items())
    (place / "target.toml").write_text(TARGET + variants)
    (place / "keeper.py").write_text(KEEPER)
    return str(place)


def conduct(base: Path, target: str) -> tuple[CampaignFinished, list[Finding], list[TrialRow]]:
    findings: list[Finding] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed):
            findings.append(event.finding)

    invariants = ("M4", "M8", "W10")
    scenario = Scenario(
        name="s", targets=(target,), faults=("damage",), invariants=invariants, workload=Workload(updates=1)
    )
    options = Options(jobs=2)
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(lambda space: plan_scenario(scenario, options, space), store, options, emit, "-")
        return finished, findings, list(store.rows())


def damage_line(finished: CampaignFinished, variant: str, *, control: bool = False) -> dict[str, Any]:
    (case,) = (
        item
        for item in finished.summary["cases"]
        if item["variant"] == variant and bool(item["control"]) == control
    )
    (line,) = (line for line in case["classes"] if line["fault_class"] == "damage")
    return line


def test_programs_are_started_on_damaged_documents_and_judged(tmp_path: Path, target: str) -> None:
    finished, findings, rows = conduct(tmp_path, target)
    assert finished.exit_code == 0, finished.summary
    assert {how: damage_line(finished, how)["verdict"] for how in EXPECTED} == EXPECTED
    assert damage_line(finished, "durable", control=True)["verdict"] == "held"
    seen = {(item.variant, item.invariant, item.damage) for item in findings}
    assert ("silent", "M4", "silent") in seen
    assert ("reset", "M8", "reset") in seen
    cut = next(item for item in findings if (item.variant, item.invariant) == ("reset", "W10"))
    assert cut.crash_point is not None  # its recovery was killed there
    for item in findings:
        assert (item.fault_class, item.is_confirmed) == ("damage", True), item
        assert item.confirmation.confirmed == item.confirmation.attempts == 3
    kinds = {row.fault["faults"][0]["damage"] for row in rows if row.kind == "damage" and row.fault}
    assert kinds == {"torn", "holed", "nul", "empty"}  # no index, so nothing that is only old

    silent = next(item for item in findings if item.variant == "silent")
    with scratch_workspace() as workspace:
        for variant, answer in (("silent", "REPRODUCED"), ("good", "FIXED")):
            subject = compile_subject(load_target(target), variant, workspace, Workload(updates=1))
            with Executor(1, workspace.base) as executor:
                shown = replay(executor, subject, decode(silent.token), 2)
            assert shown.answer == answer, shown.text


def test_a_plan_of_damage_is_of_its_class() -> None:
    damage = Damaged(path="a.json", damage="nul")
    kill = Kill(at=CrashPoint(operation="write", role="a.json", occurrence=1))
    assert FaultPlan(faults=(damage,)).fault_class == "damage"
    assert FaultPlan(faults=(damage, kill)).fault_class == "damage"
    assert FaultPlan(faults=(kill,)).fault_class == "kill"
