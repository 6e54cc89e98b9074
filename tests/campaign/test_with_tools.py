"""A campaign of a target whose tools run beside it: every phase serves them, none mistakes them for the target."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Scenario, Workload
from harness.catalog.steps import Tools
from harness.core.event import AnyEvent, Notice
from tests.services import test_tools

TARGET = """
[target]
name = "talks"
story = "s"
[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"
torn_tail = "healed"
[[variant]]
name = "only"
run = ["{python}", "-BEsS", "{target}/target.py", "{dir}", "{workload}"]
arm = "^ARMED$"
"""


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux")
def test_every_phase_runs_the_tools(tmp_path: Path) -> None:
    place = tmp_path / "talks"
    place.mkdir()
    (place / "target.toml").write_text(TARGET)
    shutil.copy(test_tools.TARGET, place)
    tools = Tools(parallel=2, duration_ms=(1, 10), result_bytes=(0, 500))
    scenario = Scenario(
        name="s",
        targets=(str(place),),
        faults=("kill", "signal", "concurrency"),
        timed=4,
        runs=4,
        samples=0,
        workload=Workload(sessions=1, updates=2, tools=tools, interrupt=("mode_switch", "ctrl_c")),
    )
    options, events = Options(jobs=2), list[AnyEvent]()
    with RunStore.create(str(tmp_path / "out")) as store:
        finished = run_campaign(
            lambda workspace: plan_scenario(scenario, options, workspace), store, options, events.append, "-"
        )
        rows = {row.trial_id: row for row in store.rows()}
    case = next(item for item in finished.summary["cases"] if not item["control"])
    assert (case["null_verdict"], case["null_note"]) == ("held", "")
    assert rows["talks/only/null"].died_by == "signal 2"  # as its last step says
    lines = {line["fault_class"]: line for line in case["classes"]}
    assert (lines["concurrency"]["verdict"], lines["concurrency"]["runs"]) == ("held", 4)
    assert (lines["kill"]["verdict"], lines["signal"]["verdict"]) == ("held", "held")
    assert lines["signal"]["runs"] > 0
    assert not any(row.verdict == "broken" for row in rows.values())
    assert not [event.text for event in events if isinstance(event, Notice) and "not seen" in event.text]
