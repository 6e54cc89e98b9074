"""Whole campaigns in tests: a writer in a file of its own, so that a test can replace it at any moment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from harness.campaign.plan import Options, plan_probe
from harness.campaign.probe import Probe
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed, Notice
from harness.core.fault import FaultClass
from harness.core.verdict import Finding, TrialRow

IN_PLACE = """
import json, os, sys
path = os.path.join(sys.argv[1], "state.json")
for number in range(3):
    file = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    os.write(file, json.dumps({"n": number, "text": "x" * (9000 - 1000 * number)}).encode())
    os.close(file)
    os.write(1, b"ACK %d\\n" % number)
"""
"""Rewrites a document in place: torn, empty, and deaf to short writes."""

REPLACED = """
import json, os, sys
path = os.path.join(sys.argv[1], "state.json")
for number in range(3):
    data = json.dumps({"n": number, "text": "x" * (9000 - 1000 * number)}).encode()
    file = os.open(path + ".tmp", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    while data:
        data = data[os.write(file, data):]
    os.fsync(file)
    os.close(file)
    os.replace(path + ".tmp", path)
    os.write(1, b"ACK %d\\n" % number)
"""
"""The same document, replaced by rename and written whole."""

DURABLE = REPLACED.replace(
    "    os.write(1",
    "    root = os.open(sys.argv[1], os.O_RDONLY)\n    os.fsync(root)\n    os.close(root)\n    os.write(1",
)
"""And its directory is synced: nothing that was acknowledged can be lost."""

LOOKED_AT = REPLACED.replace(
    "    os.replace(",
    "    os.path.exists(path) and os.close(os.open(path, os.O_WRONLY))\n    os.replace(",
)
"""Opens the document for writing as before, and writes it elsewhere: the old crash points of the open are there."""

RACING = """
import fcntl, json, os, sys, threading
path = os.path.join(sys.argv[1], "log.jsonl")
workload = json.load(open(sys.argv[2]))
def add(name):
    if "locked" in sys.argv:
        lock = open(path + ".lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with open(path, "rb", 0) as stream:
        before = stream.read()
    with open(path, "wb", 0) as stream:
        stream.write(before + json.dumps({"id": name, "pad": "x" * workload["record_bytes"][1]}).encode() + b"\\n")
    os.write(1, b"ACK %s\\n" % name.encode())
open(path, "wb").close()
for turn in range(workload["updates"]):
    threads = [threading.Thread(target=add, args=(f"u{turn}.{n}",)) for n in range(workload["sessions"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
"""So many threads at once, as there are sessions, each rewrite a log with a record of their own in it."""

RACING_TARGET = """
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
[[variant]]
name = "racing"
run = ["{python}", "-BEsS", "{target}/w.py", "{dir}", "{workload}"]
expect = { concurrency = "violated" }
[[variant]]
name = "locked"
run = ["{python}", "-BEsS", "{target}/w.py", "{dir}", "{workload}", "locked"]
expect = { concurrency = "held" }
"""

PYTHON = (sys.executable, "-BEsS")


def target_of(directory: Path, manifest: str, writer: str) -> str:
    """Make a target of one program, ``w.py``, below ``directory``; return its folder."""
    place = directory / "mine"
    place.mkdir()
    (place / "target.toml").write_text(manifest)
    (place / "w.py").write_text(writer)
    return str(place)


class Conducted(NamedTuple):
    """A campaign that was carried out."""

    finished: CampaignFinished
    findings: list[Finding]
    notices: list[str]
    rows: dict[str, TrialRow]


def probe_of(script: Path, check: tuple[str, ...] = (), instances: int = 1) -> Probe:
    return Probe(command=(*PYTHON, str(script), "{dir}"), check=check, instances=instances)


def conduct_probe(
    base: Path,
    script: Path,
    faults: tuple[FaultClass, ...],
    *,
    check: tuple[str, ...] = (),
    timed: int = 0,
    instances: int = 1,
    listen: Callable[[AnyEvent], None] = lambda _: None,
    **more: Any,
) -> Conducted:
    """Probe a script and return what the campaign said; ``listen`` hears every event as it comes."""
    options = Options(**{"faults": faults, "timed": timed, "jobs": 2, "budget_s": 60.0, **more})
    findings: list[Finding] = []
    notices: list[str] = []

    def emit(event: AnyEvent) -> None:
        listen(event)
        if isinstance(event, FindingConfirmed):
            findings.append(event.finding)
        elif isinstance(event, Notice):
            notices.append(event.text)

    probe = probe_of(script, check, instances)
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(lambda workspace: plan_probe(probe, options, workspace), store, options, emit, "-")
        rows = {row.trial_id: row for row in store.rows()}
    return Conducted(finished, findings, notices, rows)
