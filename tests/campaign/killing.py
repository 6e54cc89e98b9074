"""Kills tornwrite itself at chosen moments, takes the run up again, and says what a whole run must agree on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.campaign.latest import find_run
from harness.campaign.observe import UNATTRIBUTED
from harness.campaign.store import RunStore
from harness.core.fault import FaultClass
from harness.core.role import path_role
from harness.core.verdict import Finding
from tests.survivors import new_mark, survivors

SMALL = """
[scenario]
name = "small"
targets = ["reference/buggy", "reference/durable"]
faults = ["kill", "short", "errno"]
timed = 6
samples = 4
[workload]
sessions = 1
updates = 1
record_bytes = [60, 300]
"""
"""A campaign of all phases in a few seconds."""

SHORT = """
[scenario]
name = "short"
targets = ["reference/buggy"]
faults = ["kill"]
"""

DAEMON = """
[scenario]
name = "daemons"
targets = ["{target}"]
faults = ["kill"]
timed = 1
attempts = 1
"""
"""A campaign whose target leaves a daemon behind in each run."""

_DAEMON_TARGET = """
[target]
name = "daemon"
story = "appends to a log in place of whose end another process goes on"
[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"
torn_tail = "healed"
[[variant]]
name = "plain"
run = ["{python}", "-BEsS", "{target}/writer.py", "{dir}"]
"""

_DAEMON_WRITER = """
import json, os, subprocess, sys
null = subprocess.DEVNULL
subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=null, stdout=null, stderr=null)
os.system("(trap '' TERM HUP; setsid sleep 600 >/dev/null 2>&1 &)")
log = os.open(sys.argv[1] + "/log.jsonl", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
for number in range(3):
    os.write(log, json.dumps({"id": str(number)}).encode() + b"\\n")
    os.write(1, b"ACK %d\\n" % number)
"""


class Campaign:
    """One scenario in directories of its own; everything it starts carries :attr:`mark`."""

    def __init__(self, base: Path, scenario: str) -> None:
        self.mark = new_mark()
        self.out = base / "out"
        self.temporary = base / self.mark  # in the command line or environment of every target
        self.temporary.mkdir(parents=True)
        self.file = base / "scenario.toml"
        self.file.write_text(scenario)

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Start tornwrite."""
        environment = {**os.environ, "TMPDIR": str(self.temporary), "MARK": self.mark}
        command = [sys.executable, "-m", "harness", "run", *more, "--out", str(self.out), "--jobs", "2"]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )

    def whole(self, *more: str) -> int:
        """Run to the end and return the exit code; what it says to standard error is a failure's message."""
        process = self.start(*(more or (str(self.file),)))
        _, stderr = process.communicate(timeout=300)
        assert process.returncode in (0, 1), stderr.decode()
        return process.returncode

    def kill_after(self, seconds: float) -> None:
        """Start, and SIGKILL after ``seconds``."""
        process = self.start(str(self.file))
        time.sleep(seconds)
        self._kill(process)

    def kill_at_work(self) -> None:
        """Start, and SIGKILL as soon as there are directories that targets run in."""
        process = self.start(str(self.file))
        end = time.monotonic() + 60
        while not any(os.path.isdir(self.temporary / name) for name in self.left_over()):
            assert process.poll() is None and time.monotonic() < end, "ended without a directory"
            time.sleep(0.01)
        self._kill(process)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        assert survivors(self.mark, 1.0) == set(), "alive a second after the death of tornwrite"
        process.communicate(timeout=10)

    def can_be_resumed(self) -> bool:
        """Whether the killed run got as far as writing down what it was asked."""
        try:
            directory = find_run("latest", str(self.out))
        except Exception:
            return False
        return os.path.exists(os.path.join(directory, "run.json"))

    @property
    def directory(self) -> str:
        """The newest run."""
        return find_run("latest", str(self.out))

    def left_over(self) -> list[str]:
        """Return what is left in the temporary directory."""
        return sorted(os.listdir(self.temporary))


class Told(NamedTuple):
    """What a campaign says, without what only this execution knows (pids, times, random kills)."""

    rows: dict[str, Any]
    findings: dict[str, Any]
    classes: dict[str, Any]
    moments: dict[str, list[float]]
    verdict: tuple[str, int]


def _finding(finding: Finding) -> dict[str, Any]:
    plain = msgspec.to_builtins(finding)
    if finding.fault_class == "kill":
        del plain["runs"]  # random kills are counted with it
    for evidence in (plain["evidence"], plain["confirmation"]["evidence"]):
        evidence.pop("pid", None)
        evidence["path"] = path_role(evidence.get("path", ""))
    plain["path"] = path_role(plain["path"])
    return plain


_COUNTS_OF_RANDOM_KILLS: dict[FaultClass, tuple[str, ...]] = {"kill": ("runs", "bad", "inconclusive", "findings")}


def told_by(directory: str) -> Told:
    """Return what the run in ``directory`` says."""
    store = RunStore.open(directory, writable=False)
    rows, moments = {}, {}
    for row in store.rows():
        if row.kind == "timed":
            name = row.trial_id.split("/timed/")[0].replace("/", "-")
            window = json.loads(store.read_artifact(f"windows/{name}.json") or b"{}")
            delay = (row.fault or {})["faults"][0]["delay_us"] - window["start_us"]
            # The moment is a whole number of microseconds of a window that each campaign measures.
            moments[row.trial_id] = delay / (window["end_us"] - window["start_us"])
            continue
        plain = msgspec.to_builtins(row)
        for name in ("wall_ms", "cpu_ms", "delivered"):
            del plain[name]
        rows[row.trial_id] = plain
    findings = {key: _finding(item) for key, item in store.findings().items() if item.operation != UNATTRIBUTED}
    finished = [event for event in store.read_run()["events"] if event["event"] == "campaign_finished"]
    assert len(finished) == 1
    classes = {}
    for case in finished[0]["summary"]["cases"]:
        for item in case["classes"]:
            for name in _COUNTS_OF_RANDOM_KILLS.get(item["fault_class"], ()):
                del item[name]
            classes[f"{case['id']} {item['fault_class']}"] = item
    return Told(rows, findings, classes, moments, (finished[0]["verdict"], finished[0]["exit_code"]))


def daemon_target(directory: Path) -> str:
    """Write a target whose writer leaves two daemons behind, and return its directory."""
    directory.mkdir()
    (directory / "target.toml").write_text(_DAEMON_TARGET)
    (directory / "writer.py").write_text(_DAEMON_WRITER)
    return str(directory)
