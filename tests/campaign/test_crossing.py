"""Crashes within an order: what only a kill while another stands between its read and its write leaves is found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conducting import target_of

from harness.campaign.executor import Executor
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.replay import replay
from harness.campaign.run import run_campaign
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import RunStore
from harness.campaign.token import decode
from harness.catalog import Scenario, Workload, compile_subject, load_target
from harness.core.event import AnyEvent, FindingConfirmed, Notice
from harness.core.fault import Kill
from harness.core.verdict import Finding
from harness.report.sentence import circumstance

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="schedules need the ptrace engine of Linux"),
]

WRITER = """
import fcntl, json, os, sys
root, way = sys.argv[1:3]
me = os.environ.get("TORNWRITE_INSTANCE", "r")
path = os.path.join(root, "log.jsonl")
def read(name):
    try:
        with open(name, "rb", 0) as stream:
            return stream.read()
    except FileNotFoundError:
        return b""
def write(name, data):
    with open(name, "wb", 0) as stream:
        stream.write(data)
def replace(data):
    write(f"{path}.{me}.tmp", data)
    os.rename(f"{path}.{me}.tmp", path)
def lock():
    handle = open(path + ".lock", "wb", 0)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle
line = json.dumps({"id": f"u{me}"}).encode() + b"\\n"
"""

HEALING = (
    WRITER
    + """
# Whoever drops the line of another writes it again, from what each has said for itself: the end is right in any order.
write(f"{path}.{me}.said", line)
held = lock() if way == "locked" else None
replace(read(path) + line)
os.write(1, b"ACK u%s\\n" % me.encode())
held = held or lock()
now = read(path)
missing = [said for said in map(read, (f"{path}.{n}.said" for n in "01")) if said not in now and len(said) == len(line)]
if missing:
    replace(now + b"".join(missing))
"""
)

UNDOING = (
    WRITER
    + """
# What there was before is put aside until the new one is there; a start that finds it puts it back.
undo = f"{path}.{me}.undo"
if way == "recover":
    for n in "01":
        if os.path.exists(f"{path}.{n}.undo"):
            os.rename(f"{path}.{n}.undo", path)
    with open(path, "ab", 0) as stream:
        stream.write(line)
    print(f"ACK u{me}")
    sys.exit()
held = lock() if way == "locked" else None
write(undo + ".tmp", read(path))
os.rename(undo + ".tmp", undo)
held = held or lock()
replace(read(path) + line)
os.unlink(undo)
os.write(1, b"ACK u%s\\n" % me.encode())
"""
)

VARIANT = """
[[variant]]
name = "{name}"
run = ["{{python}}", "-BEsS", "{{target}}/{file}.py", "{{dir}}", "{way}"]
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
glob = "log.jsonl.*"
litter = true
"""
RECOVER = 'recover = ["{python}", "-BEsS", "{target}/undoing.py", "{dir}", "recover"]'
TWO = Workload(updates=1, instances=2)
ORDERS = 14


class Crossed(NamedTuple):
    verdicts: dict[tuple[str, str], str]
    findings: list[Finding]
    notices: list[tuple[str, str]]


def target_in(directory: Path) -> str:
    variants = [
        VARIANT.format(name=f"{file}_{way}", file=file, way=way) + (RECOVER if file == "undoing" else "")
        for file in ("healing", "undoing")
        for way in ("racing", "locked")
    ]
    target = target_of(directory, TARGET + "\n".join(variants), "")
    (Path(target) / "healing.py").write_text(HEALING)
    (Path(target) / "undoing.py").write_text(UNDOING)
    return target


def conduct(base: Path, target: str) -> Crossed:
    findings: list[Finding] = []
    notices: list[tuple[str, str]] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed):
            findings.append(event.finding)
        elif isinstance(event, Notice):
            notices.append((event.target.rpartition("/")[2], event.text))

    options = Options(jobs=2, timed=ORDERS, schedules="systematic")
    scenario = Scenario(
        name="s",
        targets=(target,),
        faults=("kill", "concurrency"),
        workload=TWO,
        invariants=("B5",),
        samples=8,
        attempts=1,
    )
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(lambda space: plan_scenario(scenario, options, space), store, options, emit, "-")
    verdicts: dict[tuple[str, str], Any] = {
        (case["variant"], line["fault_class"]): line["verdict"]
        for case in finished.summary["cases"]
        for line in case["classes"]
        if case["target"] == "mine"
    }
    return Crossed(verdicts, findings, notices)


def test_a_crash_while_another_stands_between_its_read_and_its_write(tmp_path: Path) -> None:
    """Of the first no state but that is bad, of the second only what its recovery makes of one; locks help both."""
    target = target_in(tmp_path)
    crossed = conduct(tmp_path, target)
    bad = {name for (name, fault_class), verdict in crossed.verdicts.items() if verdict == "violated"}
    assert bad == {"healing_racing", "undoing_racing"}, crossed
    held = {key for key, verdict in crossed.verdicts.items() if verdict == "held"}
    assert len(held) == 6
    assert all((name, "concurrency") in held for name in bad)
    for name in bad:
        finding = next(item for item in crossed.findings if item.variant == name)
        assert (finding.invariant, finding.fault_class, finding.damage) == ("B5", "kill", "lost")
        assert (finding.confirmation.confirmed, finding.confirmation.attempts) == (1, 1)
        assert finding.confirmation.method == "killed again at the same operation of the same order"
        assert "when it is killed" in circumstance(finding, str)
        assert "in an order of its own operations in which the turn passes" in circumstance(finding, str)
        assert any(name == of and "of them in no recording" in text for of, text in crossed.notices)
        record = decode(finding.token)
        assert record.plan.schedule is not None
        assert isinstance(record.plan.faults[0], Kill)
        with scratch_workspace() as workspace, Executor(2, workspace.base) as executor:
            racing, locked = (
                compile_subject(load_target(target), variant, workspace, TWO)
                for variant in (name, name.replace("racing", "locked"))
            )
            again = replay(executor, racing, record, 2)
            assert (again.answer, again.reproduced, again.reached) == ("REPRODUCED", 2, 2)
            if name == "healing_racing":
                fixed = replay(executor, locked, record, 1)
                assert (fixed.answer, "the order was not followed" in fixed.text) == ("CHANGED", True)
