"""Tokens made smaller by real runs: a race of threads, a kill, and what cannot be shrunk or does not show."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conducting import RACING, RACING_TARGET, target_of

from harness.campaign.context import Context, Measured
from harness.campaign.executor import Executor
from harness.campaign.ledger import Ledger
from harness.campaign.observe import finding_plan
from harness.campaign.probe import PROBE_TARGET
from harness.campaign.programs import run_and_examine
from harness.campaign.replay import finding_of, record_anew, subject_of
from harness.campaign.schedules import judge_scheduled_run
from harness.campaign.scratch import scratch_workspace
from harness.campaign.sharding import Split
from harness.campaign.showing import Showing, Shown
from harness.campaign.shrinking import NotShrinkableError, Shrinking, shrink_token, with_workload
from harness.campaign.simplifying import simplify_order
from harness.campaign.store import RunStore
from harness.campaign.token import ReplayRecord, decode, encode
from harness.campaign.trials import Trial
from harness.catalog import Workload
from harness.catalog.scenario import load_scenario
from harness.core.event import AnyEvent, Notice
from harness.core.fault import CONCURRENCY, FaultPlan, PowerLoss, Timed
from harness.core.schedule import Schedule, Search
from harness.core.verdict import TrialRow
from harness.sandbox.workspace import Workspace
from tests.killed_entry import entry_opened, killed_entry

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs the ptrace engine of Linux")


def workload_of(**sizes: Any) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(Workload(**sizes))
    return made


def racing(tmp_path: Path, **sizes: Any) -> ReplayRecord:
    return ReplayRecord(
        target=target_of(tmp_path, RACING_TARGET, RACING),
        variant="racing",
        workload=workload_of(**sizes),
        fault_class="concurrency",
        invariant="B5",
        role="log.jsonl",
        damage="lost",
    )


def found_by_chance(executor: Executor, workspace: Workspace, record: ReplayRecord) -> tuple[Measured, Shown]:
    """Return the case of the first random walk that shows the record's finding."""
    measured = record_anew(executor, subject_of(record, workspace), record.fault_class, "ptrace")
    plans = [FaultPlan(schedule=Search(policy="random", seed=seed)) for seed in range(20)]
    shown = Showing(executor, "ptrace", finding_of(record)).first(measured, plans)
    assert shown is not None
    return measured, shown


def shrunk(record: ReplayRecord, times: int = 2, budget_s: float = 60.0, walk: bool = False) -> Shrinking:
    with scratch_workspace() as workspace, Executor(2, workspace.base) as executor:
        if walk:
            _, shown = found_by_chance(executor, workspace, record)
            record = msgspec.structs.replace(record, plan=shown.plan)
        return shrink_token(executor, record, lambda of: subject_of(of, workspace), times, budget_s)


@pytest.mark.real
@linux
def test_a_race_of_many_threads_shrinks_to_two_and_one_preemption(tmp_path: Path) -> None:
    record = racing(tmp_path, sessions=3, updates=2, record_bytes=(900, 900))
    result = shrunk(record, walk=True)
    assert (result.verified.answer, result.verified.reproduced) == ("REPRODUCED", 2)
    assert result.before["preemptions"] > 1
    left = decode(result.token)
    assert msgspec.convert(left.workload, Workload) == Workload(sessions=2, updates=1, record_bytes=(1, 1))
    assert (result.after["preemptions"], result.done) == (1, True)
    assert isinstance(left.plan.schedule, Schedule)
    assert left.plan.schedule.switches == result.after["switches"] == 4
    assert msgspec.structs.replace(left, workload=record.workload, plan=record.plan) == record


@pytest.mark.real
@linux
def test_a_campaign_makes_the_order_simpler_before_it_is_confirmed(tmp_path: Path) -> None:
    """The finding is that of the simpler run from then on, and its row says what was run."""
    notices: list[str] = []

    def emit(event: AnyEvent) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    record = racing(tmp_path, sessions=4, updates=1)
    with (
        scratch_workspace() as workspace,
        Executor(2, workspace.base) as executor,
        RunStore.create(str(tmp_path / "out")) as store,
    ):
        measured, shown = found_by_chance(executor, workspace, record)
        ledger = Ledger(store)
        done: dict[str, TrialRow] = {}
        ctx = Context(store, executor, emit, "ptrace", 1, math.inf, done, ledger, Split(), {})
        ledger.begin_phase()
        trial = Trial("first", measured, "schedule", run_and_examine, (), plan=shown.plan)
        result = judge_scheduled_run(trial, shown.examined)
        assert ledger.observe(measured.case, result.observations, trial.id, 0)
        simplify_order(ctx, measured, judge_scheduled_run)
        finding = next(iter(ledger))
    assert shown.order[0] > 1
    assert re.fullmatch(
        rf"the order that violates was made simpler in \d+ runs: preemptions {shown.order[0]} → 1, .*", notices[0]
    )
    (row,) = done.values()
    assert (row.trial_id, row.verdict) == ("mine/racing/exact/simpler", "violated")
    plan = finding_plan(finding)
    assert plan is not None
    assert isinstance(plan.schedule, Schedule)
    assert plan.schedule.switches < shown.order[1]
    assert finding.runs == 1


KILLED = killed_entry(sessions=2, updates=3)


@pytest.mark.real
@linux
@pytest.mark.parametrize(("invariant", "damage"), [("M1", "empty"), ("M9", "lost")])
def test_a_kill_shrinks_to_one_update_at_its_earliest_operation(invariant: str, damage: str) -> None:
    """M1 the exploration knows; that M9 is violated only the target's recovery shows, which a token does not say."""
    result = shrunk(msgspec.structs.replace(KILLED, invariant=invariant, damage=damage))
    assert (result.verified.reproduced, result.done) == (2, True)
    assert (result.before["occurrence"], result.after["occurrence"]) == (3, 1)
    left = decode(result.token)
    workload = msgspec.convert(left.workload, Workload)
    assert (workload.updates, workload.sessions, workload.record_bytes) == (1, 1, (1, 1))
    assert left.plan == entry_opened(1)


@pytest.mark.real
@linux
def test_a_token_that_shows_nothing_is_answered_as_a_replay_answers() -> None:
    result = shrunk(msgspec.structs.replace(KILLED, variant="durable"), times=1)
    assert (result.token, result.after) == ("", {})
    assert result.verified.answer == "FIXED"


@pytest.mark.real
@linux
def test_of_a_probe_the_order_alone_is_made_simpler(tmp_path: Path) -> None:
    record = msgspec.structs.replace(racing(tmp_path, sessions=3, updates=1), kind="probe")
    with scratch_workspace() as workspace, Executor(2, workspace.base) as executor:
        target = subject_of(msgspec.structs.replace(record, kind="target"), workspace)
        subject = msgspec.structs.replace(target, target=PROBE_TARGET)
        _, shown = found_by_chance(executor, workspace, record)
        record = msgspec.structs.replace(record, plan=shown.plan)
        result = shrink_token(executor, record, lambda _: subject, 2, 60.0)
    assert result.verified.reproduced == 2
    assert set(result.after) == {"preemptions", "switches"}
    assert result.after["preemptions"] == 1
    assert decode(result.token).workload == decode(encode(record)).workload


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (FaultPlan(faults=(Timed(delay_us=5),)), "chance"),
        (FaultPlan(faults=(PowerLoss(at=None, profile="ext4"),)), "power loss"),
        (CONCURRENCY, "run --schedules"),
        (msgspec.structs.replace(entry_opened(1), schedule=Schedule()), "within an order"),
    ],
)
def test_what_cannot_be_shrunk_is_refused_with_the_reason(plan: FaultPlan, why: str) -> None:
    with pytest.raises(NotShrinkableError, match=why):
        shrunk(msgspec.structs.replace(KILLED, plan=plan))


@pytest.mark.real
@linux
@pytest.mark.parametrize("variant", ["read_modify_write", "read_modify_write_node"])
def test_the_parallel_tools_shrink_to_two_tools_and_two_preemptions_at_most(variant: str, evidence: bool) -> None:
    """Bar C: from a random walk through the scenario's own workload."""
    if not evidence:
        pytest.skip("run with --evidence")
    scenario = load_scenario("parallel_tools")
    record = ReplayRecord(
        target="transcript",
        variant=variant,
        seed=scenario.seed,
        fault_class="concurrency",
        invariant="M3",
        role="projects/<cwd>/<uuid>.jsonl",
        damage="lost",
    )
    result = shrunk(with_workload(record, scenario.workload), times=20, budget_s=180.0, walk=True)
    assert result.verified.reproduced == 20
    assert result.after["tools"] <= 2
    assert result.after["preemptions"] <= 2
