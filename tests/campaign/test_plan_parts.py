"""Campaigns of several scenarios: what each part keeps, and how a budget is shared between them."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from harness.campaign import shares
from harness.campaign.context import Context
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.sharding import Split
from harness.campaign.trials import Trial, in_turn
from harness.catalog import ManifestError, Scenario, Workload, load_scenario, select
from harness.core.fault import FaultPlan, Timed
from harness.sandbox.workspace import Workspace

ONE = Scenario(
    name="one", story="first", seed_story="000", targets=("reference/durable",), faults=("kill",), timed=4,
    workload=Workload(updates=3),
)  # fmt: skip
TWO = Scenario(name="two", targets=("reference/buggy", "correct/append_log"), faults=("concurrency",), runs=6)
BOTH = Scenario(name="both", parts=(ONE, TWO), budget_s=9, seed=5)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "base"))


def test_each_case_is_asked_what_its_part_asks(workspace: Workspace) -> None:
    plan = plan_scenario(BOTH, Options(), workspace)
    durable, buggy, log = plan.cases
    assert (durable.part, durable.faults, durable.timed, durable.runs) == ("one", ("kill",), 4, 0)
    assert (buggy.part, buggy.faults, buggy.timed, buggy.runs) == ("two", ("concurrency",), 0, 6)
    assert durable.subject.workload.updates == 3
    assert log.subject.workload.updates != 3
    assert {case.subject.seed for case in plan.cases} == {5}
    assert [msgspec.to_builtins(part) for part in plan.parts] == [
        {"name": "one", "story": "first", "seed_story": "000"},
        {"name": "two", "story": "", "seed_story": ""},
    ]
    assert durable.story, "what a writer does is told where it helps"
    assert plan.budget_s == 9


def test_the_controls_see_the_classes_of_all_parts(workspace: Workspace) -> None:
    hold, violate = plan_scenario(BOTH, Options(), workspace).controls
    assert hold.faults == ("kill", "concurrency")
    assert violate.faults == ("kill",)


def test_the_command_line_goes_before_every_part(workspace: Workspace) -> None:
    plan = plan_scenario(BOTH, Options(faults=("short",), timed=1, seed=8, budget_s=2.0), workspace)
    assert {case.faults for case in plan.cases} == {("short",)}
    assert (plan.seed, plan.budget_s) == (8, 2.0)


def test_selected_variants_stay_in_their_parts(workspace: Workspace) -> None:
    plan = plan_scenario(BOTH, Options(), workspace, select(["correct/append_log"]))
    assert [(case.id, case.part) for case in plan.cases] == [("correct/append_log", "two")]
    assert [part.name for part in plan.parts] == ["two"]
    with pytest.raises(ManifestError, match="correct/node_document is in none of the parts one, two"):
        plan_scenario(BOTH, Options(), workspace, select(["correct/node_document"]))


def test_a_variant_has_one_workload(workspace: Workspace) -> None:
    twice = msgspec.structs.replace(BOTH, parts=(ONE, msgspec.structs.replace(TWO, targets=("reference",))))
    with pytest.raises(ManifestError, match="reference/durable is in one and in two"):
        plan_scenario(twice, Options(), workspace)


def test_a_narrowed_part_misses_only_what_it_could_see(workspace: Workspace) -> None:
    asked = msgspec.structs.replace(ONE, invariants=("M1", "W1"))
    assert plan_scenario(asked, Options(), workspace).requested == ("M1", "W1"), "W1 was asked for by name"
    whole = msgspec.structs.replace(BOTH, parts=(asked, TWO))
    assert plan_scenario(whole, Options(), workspace).requested == ("M1",)


def test_the_five_stories_are_one_plan(workspace: Workspace) -> None:
    scenario = load_scenario("five_stories")
    plan = plan_scenario(scenario, Options(), workspace)
    shown = {case.part for case in plan.cases} | ({"fork_session"} if plan.not_available else set())
    assert shown == {part.name for part in scenario.parts}
    assert sum(case.timed + case.signals + case.runs for case in plan.cases) < 400, "five minutes are all there is"
    assert {len(case.lives) > 0 for case in plan.cases if case.part == "index_drift"} == {True}


# -- shares of a budget ----------------------------------------------------------------------------------------------


def context(deadline: float) -> Context:
    empty = cast(Any, None)
    return Context(empty, empty, empty, "ptrace", 1, deadline, {}, empty, Split(), {})


def shared(deadline: float, monkeypatch: pytest.MonkeyPatch, **planned: int) -> shares.Shares:
    monkeypatch.setattr(shares, "planned", lambda measured: planned)
    return shares.Shares(context(deadline), [cast(Any, None)])


def test_a_phase_leaves_the_later_ones_their_part(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    mine = shared(now + 100, monkeypatch, recover=0, errno=30, timed=10, concurrency=60)
    assert mine.of("errno").deadline - now == pytest.approx(30, abs=1)
    # Nothing was used: what is left goes to those that are still to come.
    assert mine.of("timed").deadline - now == pytest.approx(100 * 10 / 70, abs=1)
    assert mine.of("concurrency").deadline - now == pytest.approx(100, abs=1)


def test_without_a_budget_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared(math.inf, monkeypatch, errno=3).of("errno").deadline == math.inf


def test_the_last_phase_with_work_has_all_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    mine = shared(now + 50, monkeypatch, recover=0, errno=8, timed=0, concurrency=0)
    assert mine.of("errno").deadline - now == pytest.approx(50, abs=1)
    assert mine.of("concurrency").deadline - now == pytest.approx(50, abs=1)


class _Of:
    def __init__(self, name: str) -> None:
        self.case = type("Case", (), {"id": name})


def test_cases_and_their_classes_take_turns() -> None:
    kill, term = (FaultPlan(faults=(Timed(delay_us=1, signal=name),)) for name in ("SIGKILL", "SIGTERM"))
    trials = [
        Trial(f"{name}/{plan.fault_class}/{number}", cast(Any, _Of(name)), "timed", print, (), plan=plan)
        for name in "ab"
        for plan in (kill, term)
        for number in range(3 if name == "a" else 1)
    ]
    assert [trial.id for trial in in_turn(trials)] == [
        *("a/kill/0", "a/signal/0", "b/kill/0", "b/signal/0"),
        *("a/kill/1", "a/signal/1", "a/kill/2", "a/signal/2"),
    ]
