"""Correct writers stay clean through whole campaigns: what is reported of one is a false alarm of the harness."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest

from harness.campaign.plan import Options, Plan, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import NotAvailableError, Workload, install, load_scenario, load_target, select
from harness.core.event import AnyEvent, FindingConfirmed
from harness.engines import engine
from harness.sandbox.workspace import Workspace

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
SMALL = Workload(sessions=2, updates=4, record_bytes=(40, 5_000))
WRITERS = [
    "correct/sqlite_wal",
    "correct/sqlite_journal",
    "correct/append_log",
    pytest.param("correct/atomicwrites", marks=pytest.mark.download),
    "correct/node_document",
    "reference/durable",
]
LEAST_STATES = {"correct/sqlite_wal": 50, "correct/sqlite_journal": 50}
"""Distinct states that something judged; a database is judged by its check alone, on the states of a kill."""
MANY_STATES = 1_000
ERROR_PLANS = 24
"""The most telling ones; ``--evidence`` runs all."""


@pytest.mark.parametrize("name", WRITERS)
def test_a_correct_writer_holds_under_every_class(name: str, tmp_path: Path, evidence: bool) -> None:
    if name == "correct/atomicwrites":
        with contextlib.suppress(NotAvailableError):
            install(load_target("correct"))
    chosen = select([name])
    scenario = load_scenario("correct_writers")
    if not evidence:
        scenario = msgspec.structs.replace(scenario, workload=SMALL, samples=6)
    options = Options(jobs=1)
    seen: list[AnyEvent] = []

    def make_plan(workspace: Workspace) -> Plan:
        plan = plan_scenario(scenario, options, workspace, chosen)
        few = [case if evidence else msgspec.structs.replace(case, errno_max=ERROR_PLANS) for case in plan.cases]
        return msgspec.structs.replace(plan, cases=tuple(few))

    with RunStore.create(str(tmp_path / "reports")) as store:
        finished = run_campaign(make_plan, store, options, seen.append, "correct")
    (case,) = [item for item in finished.summary["cases"] if not item["control"]] or [None]
    if case is None:
        pytest.skip(f"{name} is not available here")
    found = [event.finding for event in seen if isinstance(event, FindingConfirmed) and not event.finding.control]
    assert found == []
    assert (finished.verdict, finished.exit_code) == ("held", 0)
    assert sum(line["distinct"] for line in case["classes"]) >= LEAST_STATES.get(name, MANY_STATES)
