"""Signals right after an acknowledgement: what was said to be saved and was not is found every time, with a token."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Scenario, Workload
from harness.core.event import AnyEvent, FindingConfirmed
from harness.core.verdict import Finding

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux"),
]

WRITER = """
import os, signal, sys, time
root, how = sys.argv[1:3]
waiting = []

def flush():
    with open(root + "/log.jsonl", "ab", 0) as file:
        for line in waiting:
            file.write(line)
    waiting.clear()

def leave(number, frame):
    if how == "flushes":
        flush()
    sys.exit(0)

for name in ("SIGTERM", "SIGINT", "SIGHUP"):
    signal.signal(getattr(signal, name), leave)
for number in range(6):
    waiting.append(b'{"id": "u%d"}\\n' % number)
    os.write(1, b"ACK u%d\\n" % number)
    for _ in range(20000):
        pass  # a signal is handled here, where nothing is being written
    flush()
"""
TARGET = """
[target]
name = "late"
[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"
torn_tail = "healed"
"""
VARIANT = """
[[variant]]
name = "{how}"
run = ["{{python}}", "-BEsS", "{{target}}/late.py", "{{dir}}", "{how}"]
expect = {{ signal = "{verdict}" }}
"""


def test_what_waits_when_the_signal_comes_is_lost_every_time(tmp_path: Path) -> None:
    place = tmp_path / "late"
    place.mkdir()
    expected = {"flushes": "held", "drops": "violated"}
    text = "".join(VARIANT.format(how=how, verdict=verdict) for how, verdict in expected.items())
    (place / "target.toml").write_text(TARGET + text)
    (place / "late.py").write_text(WRITER)
    findings: list[Finding] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed):
            findings.append(event.finding)

    scenario = Scenario(
        name="s", targets=(str(place),), faults=("signal",), timed=4, samples=0, workload=Workload(updates=1)
    )
    options = Options(jobs=2)
    with RunStore.create(str(tmp_path / "out")) as store:
        finished = run_campaign(lambda space: plan_scenario(scenario, options, space), store, options, emit, "-")
        rows = [row for row in store.rows() if "/after_ack/" in row.trial_id]
    assert finished.exit_code == 0, finished.summary
    assert {row.kind for row in rows if row.target == "late"} == {"signal"}
    exact = [item for item in findings if item.crash_point is not None]
    assert {(item.invariant, item.variant) for item in exact} >= {("W9", "drops"), ("B5", "drops")}
    for item in exact:
        assert item.crash_point is not None
        assert (item.crash_point.operation, item.crash_point.phase) == ("ack", "after")
        assert item.confirmation.confirmed == item.confirmation.attempts == 3
        assert item.token
