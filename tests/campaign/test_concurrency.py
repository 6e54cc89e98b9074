"""Runs without any fault, judged under ``concurrency``: a writer that loses a record now and then, one that holds."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from conducting import target_of

from harness.campaign.executor import Executor
from harness.campaign.plan import DEFAULT_RUNS, Options, plan_scenario
from harness.campaign.replay import replay
from harness.campaign.run import run_campaign
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import RunStore
from harness.campaign.token import decode
from harness.campaign.trials import tells_without_comparison
from harness.catalog import Scenario, Workload, compile_subject, load_target
from harness.checks import Bindings, FileBinding
from harness.core.content import content_of
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed
from harness.core.fault import CONCURRENCY, NO_FAULTS, FaultPlan, Timed
from harness.core.json_record import encode_record
from harness.core.tree import File, build_tree
from harness.core.verdict import Confirmation, Finding, TrialRow, Violation
from harness.sandbox.workspace import Workspace
from tests.report.campaign_sample import torn_finding

LOSSY = """
import json, os, sys
path = os.path.join(sys.argv[1], "log.jsonl")
watched = "TracerPid:\\t0\\n" not in open("/proc/self/status").read()
for number in range(4):
    with open(path, "ab", 0) as file:
        file.write(json.dumps({"id": f"u{number}", "text": "x" * 50}).encode() + b"\\n")
    os.write(1, b"ACK u%d\\n" % number)
if not watched and sys.argv[2] == "lossy" and os.urandom(1)[0] < 128:
    lines = open(path, "rb").read().splitlines(True)
    with open(path, "wb", 0) as file:
        file.write(b"".join(lines[:2] + lines[3:]))
"""
"""Loses a record in every second run that nobody watches: what meets only by chance is not there in a recording."""

TARGET = """
[target]
name = "mine"
story = "s"
[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"
torn_tail = "healed"
[[variant]]
name = "lossy"
run = ["{python}", "-BEsS", "{target}/w.py", "{dir}", "lossy"]
expect = { concurrency = "violated" }
[[variant]]
name = "careful"
run = ["{python}", "-BEsS", "{target}/w.py", "{dir}", "careful"]
expect = { concurrency = "held" }
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    return target_of(tmp_path, TARGET, LOSSY)


def test_a_plan_can_be_of_the_class_without_a_fault() -> None:
    assert CONCURRENCY.fault_class == "concurrency"
    assert not CONCURRENCY.faults
    assert NO_FAULTS.fault_class == "none"
    plain = FaultPlan(faults=(Timed(delay_us=1),))
    assert plain.fault_class == "kill"
    assert "concurrency" not in encode_record(plain)  # plans of other classes are spelt as before
    assert msgspec.convert(msgspec.to_builtins(CONCURRENCY), FaultPlan) == CONCURRENCY


def test_of_what_chance_decides_one_confirming_run_is_enough() -> None:
    one_of_thirty = msgspec.structs.replace(torn_finding(), confirmation=Confirmation(attempts=30, confirmed=1))
    assert not one_of_thirty.is_confirmed
    assert msgspec.structs.replace(one_of_thirty, fault_class="concurrency").is_confirmed


def test_an_id_that_no_record_carries_is_lost_in_whatever_order_runs_write() -> None:
    binding = FileBinding(glob="*.jsonl", format="log", id_key="id")
    expectation: Any = SimpleNamespace(bindings=Bindings([binding]), histories={"a.jsonl": None, "b": None})
    tree = build_tree(
        {"a.jsonl": 1, "b": 2}, {1: File(content_of(b'{"id":"u1"}\n{"id')), 2: File(content_of(b"u2"))}
    )

    def tells(*ids: str, invariant: str = "B5", damage: Any = "lost") -> bool:
        lost = Violation(invariant=invariant, path="a.jsonl", damage=damage, message="", ids=ids)
        return tells_without_comparison(expectation, tree, lost)

    assert tells("u1", "u2")
    assert not tells("u1")  # it is there, with other bytes: another run's bytes prove nothing
    assert not tells("u2", damage="extra")
    assert not tells("u2", invariant="B6")


def test_of_a_collection_only_what_is_gone_from_everywhere_is_lost() -> None:
    binding = FileBinding(glob="*.json", format="document", id_key="$")
    expectation: Any = SimpleNamespace(bindings=Bindings([binding]), histories={"a.json": None})
    copy = File(content_of(b'{"kept": {"u2": 0}}'))
    tree = build_tree({"a.json": 1, "a.conflict.json": 2}, {1: File(content_of(b'{"u1": 7}')), 2: copy})

    def tells(*ids: str, damage: Any = "lost") -> bool:
        lost = Violation(invariant="M3", path="a.json", damage=damage, message="", ids=ids)
        return tells_without_comparison(expectation, tree, lost)

    assert tells("u3")
    assert not tells("u2")  # the program has put it aside, into a file that no undisturbed run makes
    assert not tells("u1", damage="stale")  # another run's values are another run's


def test_only_the_class_brings_the_runs(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "base"))
    scenario = Scenario(name="s", targets=("reference/durable",), faults=("concurrency",), runs=7)
    plan = plan_scenario(scenario, Options(), workspace)
    assert plan.cases[0].runs == 7
    durable, buggy = plan.controls
    assert durable.runs > 0 == buggy.runs
    assert (durable.faults, buggy.faults) == (("concurrency",), ("kill",))
    assert plan_scenario(scenario, Options(faults=("kill",)), workspace).cases[0].runs == 0
    assert plan_scenario(scenario, Options(timed=5), workspace).cases[0].runs == 5
    unsaid = msgspec.structs.replace(scenario, runs=0)
    assert plan_scenario(unsaid, Options(), workspace).cases[0].runs == DEFAULT_RUNS


def conduct(base: Path, scenario: Scenario) -> tuple[CampaignFinished, list[Finding], dict[str, TrialRow]]:
    findings: list[Finding] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed):
            findings.append(event.finding)

    options = Options(jobs=2)
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(lambda space: plan_scenario(scenario, options, space), store, options, emit, "-")
        rows = {row.trial_id: row for row in store.rows()}
    return finished, findings, rows


def line_of(finished: CampaignFinished, variant: str) -> dict[str, Any]:
    case = next(item for item in finished.summary["cases"] if item["variant"] == variant)
    return next(line for line in case["classes"] if line["fault_class"] == "concurrency")


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux")
def test_a_record_that_is_lost_now_and_then_has_a_rate_and_is_confirmed(tmp_path: Path, target: str) -> None:
    scenario = Scenario(
        name="s", targets=(target,), faults=("concurrency",), runs=16, samples=0, workload=Workload(updates=1)
    )
    finished, findings, rows = conduct(tmp_path, scenario)
    lossy, careful = line_of(finished, "lossy"), line_of(finished, "careful")
    assert (lossy["verdict"], lossy["runs"]) == ("violated", 16)
    assert 0 < lossy["bad"] < 16
    assert (careful["verdict"], careful["runs"], careful["bad"]) == ("held", 16, 0)
    assert line_of(finished, "durable")["verdict"] == "held"  # the control; buggy is caught under kill
    assert finished.exit_code == 0
    assert {item.invariant for item in findings} == {"B5", "M3"}  # a record lost to another writer is both
    finding = next(item for item in findings if item.invariant == "B5")
    assert (finding.invariant, finding.fault_class, finding.operation) == ("B5", "concurrency", "unattributed")
    assert (finding.runs, finding.expected, finding.fault) == (lossy["bad"], True, {"concurrency": True})
    confirmation = finding.confirmation
    assert 3 <= confirmation.attempts <= 16
    assert confirmation.confirmed > 0
    assert finding.is_confirmed
    assert confirmation.method == "run again without a fault"
    mine = [row for row in rows.values() if row.trial_id.startswith("mine/lossy/schedule/")]
    assert {(row.kind, row.engine, row.died_by) for row in mine} == {("schedule", "timed", "exit 0")}

    with scratch_workspace() as workspace:
        subject = compile_subject(load_target(target), "lossy", workspace, Workload(updates=1))
        with Executor(1, workspace.base) as executor:
            answer = replay(executor, subject, decode(finding.token), 12)
    assert answer.answer == "REPRODUCED"
    assert 0 < answer.reproduced < 12 == answer.reached
