"""Lives: a target started again and again on what its life before left, each start ending in its own way."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.campaign.lives import spell_life
from harness.campaign.living import Lived, changes, class_of
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Life, LifeRun, Scenario, Workload
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed, Notice
from harness.core.run import RunSpec
from harness.core.tree import tree_of
from harness.core.verdict import Finding, TrialRow

WRITER = """
import json, os, signal, socket, sys
root, workload = sys.argv[1:3]
life = os.environ.get("TORNWRITE_LIFE", "0")
with open(workload) as stream:
    assert len(json.load(stream)["life"]) in (0, 8)
index = os.path.join(root, "index.json")
def save(names):
    with open(f"{index}.{life}.tmp", "w") as stream:
        json.dump({"names": names}, stream)
    os.replace(stream.name, index)
try:
    with open(index) as stream:
        names = json.load(stream)["names"]
except FileNotFoundError:
    names = []
names.append([life, os.environ["TORNWRITE_NOW"]])
def leave(*_):
    save(names)
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
log = os.open(os.path.join(root, "log.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
for number in range(2):
    os.write(log, json.dumps({"id": f"{life}-{number}"}).encode() + b"\\n")
    os.write(1, f"ACK {life}-{number}\\n".encode())
if "TORNWRITE_LIFE" in os.environ:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["TORNWRITE_TOOLS"].removeprefix("unix:"))
    os.write(1, b"IDLE\\n")
    assert json.loads(connection.makefile("rb").readline()) == {"do": "exit"}
watched = "TracerPid:\\t0\\n" not in open("/proc/self/status").read()
if "forgets" in sys.argv and life == "3" and not watched:
    os.truncate(os.path.join(root, "log.jsonl"), 0)
save(names)
"""
"""Keeps its index in memory and writes it when it exits gracefully, or of SIGTERM; the log it writes at once."""

TARGET = """
[target]
name = "lives"
story = "s"
[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"
torn_tail = "healed"
[[file]]
glob = "index.json"
format = "document"
[[file]]
glob = "*.tmp"
format = "opaque"
litter = true
[[variant]]
name = "VARIANT"
run = ["{python}", "-BEsS", "{target}/w.py", "{dir}", "{workload}", "VARIANT"]
"""

LIVES = (
    Life(exit="graceful", advance="7d"),
    Life(exit="graceful", instances=2, advance="30d"),
    Life(exit="suspend_resume", advance="1.5h"),
    Life(exit="sigkill"),
    Life(exit="sigterm"),
    Life(exit="sighup"),
    Life(exit="power"),
)


def conduct(tmp_path: Path, variant: str, lives: tuple[Life, ...]) -> Any:
    place = tmp_path / "lives"
    place.mkdir()
    (place / "target.toml").write_text(TARGET.replace("VARIANT", variant))
    (place / "w.py").write_text(WRITER)
    scenario = Scenario(
        name="s",
        targets=(str(place),),
        faults=("kill",),
        samples=0,
        workload=Workload(sessions=1, updates=1),
        life=lives,
    )
    options, events = Options(jobs=2), list[AnyEvent]()
    with RunStore.create(str(tmp_path / "out")) as store:
        finished = run_campaign(
            lambda workspace: plan_scenario(scenario, options, workspace), store, options, events.append, "-"
        )
        rows = {row.trial_id: row for row in store.rows()}
        document = json.loads(store.read_artifact(f"lives/lives-{variant}.json") or b"{}")
    return finished, events, rows, document


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux")
def test_what_each_end_leaves(tmp_path: Path) -> None:
    finished, events, rows, document = conduct(tmp_path, "cached", LIVES)
    lives = document["lives"]
    assert [life["exit"] for life in lives] == [life.exit for life in LIVES]
    assert [life["note"] for life in lives[:-1]] == [""] * 6
    assert not lives[1]["violations"], lives[1]
    assert [life["verdict"] for life in lives] == ["held"] * 6 + ["inconclusive"]
    assert "power loss" in lives[6]["note"]
    # The index is written because of a graceful end and of SIGTERM, by no other.
    assert ["index.json" in life["at_end"] for life in lives] == [True, True, True, False, True, False, False]
    assert all(list(life["alive"]) == ["log.jsonl"] for life in lives[:-1])
    assert [life["died_by"] for life in lives[2:6]] == ["exit 0", "signal 9", "exit 0", "signal 1"]
    assert [life["acknowledged"] for life in lives] == [2, 4, 2, 2, 2, 2, 0]
    days = [life["now_ms"] - lives[0]["now_ms"] for life in lives]
    assert days[:4] == [0, 7 * 86_400_000, 37 * 86_400_000, 37 * 86_400_000 + 5_400_000]
    # Both instances read the same index, and one of them overwrote the other's entry.
    assert lives[1]["files"]["index.json"] == 2 * lives[0]["files"]["index.json"] - len('{"names": [')
    row = rows["lives/cached/life/3"]
    assert (row.kind, row.fault_class, row.delivered, row.died_by) == ("life", "kill", "sigkill", "signal 9")
    assert rows["lives/cached/life/1"].fault_class == "concurrency"
    case: dict[str, Any] = next(item for item in finished.summary["cases"] if not item["control"])
    classes = {line["fault_class"]: line for line in case["classes"]}
    assert (classes["none"]["verdict"], classes["none"]["runs"]) == ("held", 3)
    assert (classes["signal"]["runs"], classes["concurrency"]["runs"], classes["kill"]["runs"]) == (2, 1, 1)
    said = [event.text for event in events if isinstance(event, Notice) and event.text.startswith("life ")]
    assert len(said) == 7
    assert said[0].startswith("life 1 on 2026-01-01 ended by graceful: held; it wrote 1 file while it ran, and ")
    assert said[1].startswith("life 2 on 2026-01-08 ended by graceful, 2 instances: held; ")


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux")
def test_a_life_that_loses_what_it_acknowledged_is_a_finding_without_a_token(tmp_path: Path) -> None:
    lives = (Life(), Life(), Life(), Life(), Life(), Life(), Life(), Life())
    finished, events, rows, document = conduct(tmp_path, "forgets", lives)
    assert [life["verdict"] for life in document["lives"]] == ["held"] * 3 + ["violated"] + ["held"] * 4
    violations = document["lives"][3]["violations"]
    assert "B5" in {item["invariant"] for item in violations}
    findings: list[Finding] = [event.finding for event in events if isinstance(event, FindingConfirmed)]
    lost = next(item for item in findings if item.invariant == "B5")
    assert (lost.fault_class, lost.operation, lost.token, lost.runs) == ("none", "unattributed", "", 1)
    assert rows["lives/forgets/life/3"].findings
    result: CampaignFinished = finished
    assert (result.verdict, result.exit_code) == ("violated", 1)


def run_of(exit_kind: Any, instances: int = 1) -> LifeRun:
    spec = RunSpec(argv=("x",), root="/w/state", cwd="/w/cwd", environment={})
    return LifeRun(index=0, exit=exit_kind, now_ms=0, specs=(spec,) * instances)


def test_an_end_has_its_class() -> None:
    ends = ("graceful", "suspend_resume", "sigkill", "sighup", "sigint", "sigterm", "power")
    assert [class_of(run_of(end)) for end in ends] == [
        "none",
        "none",
        "kill",
        "signal",
        "signal",
        "signal",
        "power",
    ]
    assert class_of(run_of("graceful", 2)) == "concurrency"
    assert class_of(run_of("sigkill", 2)) == "kill"


def test_changes_are_sizes_before_and_after() -> None:
    before, after = tree_of({"a": b"1", "b": b"22", "c": b"3"}), tree_of({"a": b"1", "b": b"2", "d": b""})
    assert changes(before, after) == {"b": (2, 1), "c": (1, None), "d": (None, 0)}


def test_a_life_is_told_in_one_line() -> None:
    lived = Lived(verdict="held", alive={"a": (None, 1000)}, at_end={str(n): (1, None) for n in range(6)})
    assert spell_life(run_of("suspend_resume"), lived) == (
        "life 1 on 1970-01-01 ended by suspend/resume: held; it wrote 1 file while it ran, and 0 (removed), "
        "1 (removed), 2 (removed), 3 (removed) and 2 more because of its end"
    )
    nothing = msgspec.structs.replace(lived, alive={}, at_end={})
    assert spell_life(run_of("sigkill"), nothing).endswith("0 files while it ran, and nothing because of its end")
    assert spell_life(run_of("power"), msgspec.structs.replace(lived, note="why")).endswith("held; why")


def test_rows_know_the_kind() -> None:
    row = TrialRow(trial_id="x/life/0", kind="life", target="x", variant="v", seed=1, verdict="held")
    assert row.kind == "life"
