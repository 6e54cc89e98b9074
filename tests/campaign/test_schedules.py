"""A search of schedules in a campaign: a race is found, confirmed and replayed; one lock, and nothing is violated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from conducting import RACING, RACING_TARGET, target_of

from harness.campaign.executor import Executor
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.replay import replay
from harness.campaign.run import run_campaign
from harness.campaign.schedules import DEFAULT_SCHEDULES, ScheduleSearch
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import RunStore
from harness.campaign.token import decode
from harness.catalog import Scenario, Workload, compile_subject, load_target
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed, Notice
from harness.core.schedule import Prefix, Scheduled, Search, schedule_of
from harness.core.verdict import Finding
from harness.report.sentence import circumstance
from harness.sandbox.workspace import Workspace
from tests.schedules.measure import measure

TWO = Workload(sessions=2, updates=1, record_bytes=(1, 1))


@pytest.fixture
def target(tmp_path: Path) -> str:
    return target_of(tmp_path, RACING_TARGET, RACING)


def test_pct_learns_how_many_steps_there_are_and_repeats_itself() -> None:
    def orders() -> list[Search]:
        search, out = ScheduleSearch("pct", 7, "mine/racing"), []
        for _ in range(3):
            (order,) = search.orders(4 if not out else 1)
            assert isinstance(order, Search)
            out.append(order)
            offered = (("p0.t1", "p0.t2"),) * 9 + (("p0",),)
            search.ran(order, Scheduled(schedule=schedule_of(()), offered=offered))
        assert "3 schedules by pct: 3 actors, 9 contended operations" in search.spelt()
        return out

    first = orders()
    assert first == orders()
    assert [(order.policy, order.steps) for order in first[1:]] == [("pct", 9)] * 2
    assert first[0].policy == "random"
    assert len({order.seed for order in first}) == 3


def test_systematic_begins_with_nobody_interrupted_and_ends() -> None:
    search = ScheduleSearch("systematic", 1, "mine/racing")
    (order,) = search.orders(4)
    assert order == Prefix(begin=schedule_of(()))
    both = ("p0", "p1")
    search.ran(order, Scheduled(schedule=schedule_of(both), offered=(both, ("p1",))))
    (other,) = search.orders(4)
    search.ran(other, Scheduled(schedule=schedule_of(both[::-1]), offered=(both, ("p0",))))
    assert not list(search.orders(4))
    assert search.spelt() == "2 interleavings of file operations with at most 2 preemptions, all there are"


@pytest.mark.parametrize("policy", ["systematic", "pct"])
def test_who_slept_while_others_went_on_is_said(policy: str) -> None:
    """An actor that wakes when the others are through meets nobody: that was all there was to see, not all there is."""
    search = ScheduleSearch(policy, 1, "mine/racing")
    (order,) = search.orders(1)
    one_by_one = (("p0",), ("p1",))
    search.ran(order, Scheduled(schedule=schedule_of(("p0", "p1")), offered=one_by_one, slept=True))
    assert ", all there are" not in search.spelt()
    assert "somebody slept" in search.spelt()


def test_a_search_has_to_be_asked_for_and_brings_its_class(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "base"))

    def case(options: Options, **more: Any) -> Any:
        return plan_scenario(Scenario(name="s", targets=("reference/durable",), **more), options, workspace).cases[
            0
        ]

    assert case(Options(), faults=("concurrency",)).schedules == 0
    asked = case(Options(schedules="pct"), faults=("kill",))
    assert (asked.faults, asked.policy, asked.schedules) == (("kill", "concurrency"), "pct", DEFAULT_SCHEDULES)
    assert case(Options(timed=3), faults=("concurrency",), schedules="random").schedules == 3


def conduct(base: Path, target: str, policy: str, count: int) -> tuple[CampaignFinished, list[Finding], list[str]]:
    findings: list[Finding] = []
    notices: list[str] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed):
            findings.append(event.finding)
        elif isinstance(event, Notice):
            notices.append(event.text)

    options = Options(jobs=2, timed=count, schedules=policy)
    scenario = Scenario(name="s", targets=(target,), faults=("concurrency",), samples=0, workload=TWO)
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(lambda space: plan_scenario(scenario, options, space), store, options, emit, "-")
    return finished, findings, notices


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="schedules need the ptrace engine of Linux")
def test_a_race_is_found_confirmed_and_replayed_and_a_lock_helps(tmp_path: Path, target: str) -> None:
    finished, findings, notices = conduct(tmp_path, target, "systematic", 48)
    verdicts = {
        case["variant"]: line["verdict"]
        for case in finished.summary["cases"]
        for line in case["classes"]
        if line["fault_class"] == "concurrency" and case["target"] == "mine"
    }
    assert verdicts == {"racing": "violated", "locked": "held"}
    assert any(
        "the first violation under number" in text
        and "; each a fork of the preloaded program, at " in text
        and "times the recording's cost" in text
        for text in notices
    ), notices
    finding = next(item for item in findings if item.operation == "schedule" and item.invariant == "B5")
    assert (finding.confirmation.confirmed, finding.confirmation.attempts) == (3, 3)
    assert finding.confirmation.method == "run again in the same order of operations"
    assert "in which the turn passes" in circumstance(finding, str)
    record = decode(finding.token)
    with scratch_workspace() as workspace:
        racing, locked = (
            compile_subject(load_target(target), name, workspace, TWO) for name in ("racing", "locked")
        )
        with Executor(2, workspace.base) as executor:
            again = replay(executor, racing, record, 6)
            fixed = replay(executor, locked, record, 2)
    assert (again.answer, again.reproduced, again.reached) == ("REPRODUCED", 6, 6)
    assert fixed.answer == "CHANGED"
    assert "the order was followed in 0 of 2 runs" in fixed.text


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="schedules need the ptrace engine of Linux")
@pytest.mark.parametrize("variant", ["read_modify_write", "read_modify_write_node"])
def test_the_parallel_tools_lose_a_result_on_demand(variant: str, evidence: bool) -> None:
    """Bars A and D: 200 seeds, 200 replays idle and 200 under two busy loops, under ``--evidence``; else a few."""
    seeds, replays = (200, 200) if evidence else (2, 1)
    turns, natural = (0, 60) if evidence else (1, 0)
    found = measure(f"transcript/{variant}", seeds, replays, natural, "pct", updates=turns)
    assert found["found"] >= 0.95 * seeds, found
    for load in ("idle", "loaded"):
        same = found[load]
        assert (same["reproduced"], same["decisions"], same["operations"]) == (replays,) * 3, found
