"""Without a crash: a reader that sees a third version, spliced records, appends to what is rewritten; what helps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conducting import PYTHON, Conducted, target_of

from harness.campaign.executor import Executor
from harness.campaign.plan import Options, Plan, plan_probe, plan_scenario
from harness.campaign.probe import Probe, probe_subject
from harness.campaign.readers import UNINTERRUPTED, telling_orders
from harness.campaign.replay import replay
from harness.campaign.run import run_campaign
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import RunStore
from harness.campaign.token import decode
from harness.catalog import Scenario, Workload
from harness.core.event import AnyEvent, FindingConfirmed, Notice
from harness.core.fault import FaultPlan
from harness.core.verdict import Finding
from harness.export.reproduction import Startable, reproduction
from harness.export.sources import NotExportableError
from harness.report.sentence import headline
from harness.sandbox.workspace import Workspace
from tests.schedules.measure import Bench

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="schedules need the ptrace engine of Linux"),
]

DOCUMENT = """
import json, os, sys
path = os.path.join(sys.argv[1], "state.json")
for number in range(2):
    place = path if "in_place" in sys.argv else path + ".tmp"
    with open(place, "wb", 0) as stream:
        stream.write(json.dumps({"n": number, "text": "x" * 50}).encode())
    if place != path:
        os.replace(place, path)
    os.write(1, b"ACK %d\\n" % number)
"""

RECORDS = """
import fcntl, json, os, sys
root, what, way = sys.argv[1:]
me = os.environ.get("TORNWRITE_INSTANCE", "first")
path = os.path.join(root, "log.jsonl")
line = json.dumps({"id": "u" + me}).encode() + b"\\n"
if way == "right":
    lock = open(path + ".lock", "wb", 0)
    fcntl.flock(lock, fcntl.LOCK_EX)
if what == "compacting" and me == "0":
    log = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    before = os.read(log, 1 << 16)
    os.ftruncate(log, 0)
    os.pwrite(log, before + line, 0)
else:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for piece in (line[:5], line[5:]) if what == "pieces" else (line,):
        os.write(log, piece)
os.close(log)
os.write(1, b"ACK u%s\\n" % me.encode())
"""

TARGET = """
[target]
name = "mine"
story = "s"
[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"
[[file]]
glob = "*.lock"
litter = true
"""
VARIANT = """
[[variant]]
name = "{what}_{way}"
run = ["{{python}}", "-BEsS", "{{target}}/w.py", "{{dir}}", "{what}", "{way}"]
setup = ["{{python}}", "-BEsS", "{{target}}/w.py", "{{dir}}", "whole", "{way}"]
"""


def carry_out(base: Path, options: Options, make_plan: object) -> Conducted:
    findings: list[Finding] = []
    notices: list[str] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed):
            findings.append(event.finding)
        elif isinstance(event, Notice):
            notices.append(event.text)

    base.mkdir(exist_ok=True)
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(make_plan, store, options, emit, "-")  # type: ignore[arg-type]
        rows = {row.trial_id: row for row in store.rows()}
    return Conducted(finished, findings, notices, rows)


def probed(base: Path, probe: Probe) -> Conducted:
    options = Options(faults=("concurrency",), timed=2, jobs=2, schedules="pct", budget_s=60.0)

    def make_plan(workspace: Workspace) -> Plan:
        return plan_probe(probe, options, workspace, brief=True)

    return carry_out(base, options, make_plan)


def test_a_reader_sees_a_third_version_of_what_is_rewritten_in_place(tmp_path: Path) -> None:
    """Worked out from the trace: the second run has a real reader there. A rename shows it none."""
    script = tmp_path / "save.py"
    script.write_text(DOCUMENT)
    command = (*PYTHON, str(script), "{dir}")
    probe = Probe(command=(*command, "in_place"), readers=1)
    conducted = probed(tmp_path / "in_place", probe)
    assert conducted.finished.verdict == "violated"
    (finding,) = (item for item in conducted.findings if item.operation == "schedule")
    assert (finding.invariant, finding.damage, finding.confirmation.confirmed) == ("M2", "empty", 1)
    assert "shows a reader of state.json what is neither its old nor its new version" in headline(finding, str)
    assert any(
        "2 orders for the readers; the first violation under number 2" in text for text in conducted.notices
    )
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        subject, record = probe_subject(probe, workspace), decode(finding.token)
        again = replay(executor, subject, record, 2)
        with pytest.raises(NotExportableError, match="with readers beside the writer"):
            reproduction(executor, subject, record, Startable(run=()), finding.token)
    assert (again.answer, again.reproduced) == ("REPRODUCED", 2)
    held = probed(tmp_path / "rename", Probe(command=(*command, "rename"), readers=1))
    assert (held.finished.verdict, held.findings) == ("held", []), held


def test_appenders_and_rewriters_at_once(tmp_path: Path) -> None:
    """B2: a record in two writes takes another one in. W7: what is appended during a rewrite. Locks help both."""
    variants = [
        VARIANT.format(what=what, way=way) for what in ("pieces", "compacting") for way in ("wrong", "right")
    ]
    target = target_of(tmp_path, TARGET + "".join(variants), RECORDS)
    options = Options(jobs=2, timed=6, schedules="systematic")
    scenario = Scenario(
        name="s",
        targets=(target,),
        faults=("concurrency",),
        runs=1,
        samples=0,
        attempts=1,
        workload=Workload(updates=1, instances=2),
        invariants=("B2", "W7"),
    )
    conducted = carry_out(tmp_path, options, lambda workspace: plan_scenario(scenario, options, workspace))
    found = {(item.variant, item.invariant) for item in conducted.findings if item.operation == "schedule"}
    assert found >= {("pieces_wrong", "B2"), ("compacting_wrong", "W7")}
    verdicts = {
        case["variant"]: case["classes"][-1]["verdict"]
        for case in conducted.finished.summary["cases"]
        if case["target"] == "mine"
    }
    assert verdicts == {
        "pieces_wrong": "violated",
        "pieces_right": "held",
        "compacting_wrong": "violated",
        "compacting_right": "held",
    }
    assert all(item.confirmation.confirmed for item in conducted.findings if item.operation == "schedule")


@pytest.mark.parametrize(("variant", "found"), [("in_place", {"M2", "M10"}), ("durable", set())])
def test_the_own_lister_of_a_target_is_a_reader(tmp_path: Path, variant: str, found: set[str]) -> None:
    """Seed 002 without a crash: while an entry is rewritten in place nobody lists its session."""
    bench = Bench(f"registry/{variant}", str(tmp_path.resolve() / "base"), 1, "read_meanwhile")
    recording, violations = bench.run(FaultPlan(schedule=UNINTERRUPTED))
    assert violations == ()
    assert recording.listed is not None
    assert recording.listed[0] == 0
    orders = list(telling_orders(bench.measured, recording))
    assert {each.invariant for order in orders for each in bench.run(FaultPlan(schedule=order))[1]} == found
