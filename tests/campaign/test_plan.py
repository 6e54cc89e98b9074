"""What a campaign will do, and what it says it leaves out."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from harness.campaign import plan as plan_module
from harness.campaign.plan import DEFAULT_SIGNALS, Options, known_invariants, plan_probe, plan_scenario
from harness.campaign.probe import Probe, probe_subject, torn_tail_hint
from harness.campaign.record import explore_request
from harness.catalog import Scenario, load_scenario
from harness.checks import INVARIANTS
from harness.core.verdict import Finding
from harness.sandbox.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "base"))


def scenario(**more: object) -> Scenario:
    return msgspec.structs.replace(
        Scenario(name="s", targets=("reference/durable",), faults=("kill", "errno"), timed=7), **more
    )


def test_every_campaign_has_both_controls_under_its_own_fault_classes(workspace: Workspace) -> None:
    plan = plan_scenario(scenario(), Options(), workspace)
    assert [(case.subject.variant, case.control) for case in plan.controls] == [
        ("durable", "must_hold"),
        ("buggy", "must_violate"),
    ]
    assert all(case.faults == ("kill", "errno") for case in plan.everything)
    assert len({case.id for case in plan.everything}) == 3
    assert all(case.timed == 0 for case in plan.controls)


def test_a_class_without_an_engine_is_left_out_and_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "MEASURABLE", ("kill", "errno"))
    plan = plan_scenario(scenario(faults=("kill", "power")), Options(), workspace)
    assert plan.cases[0].faults == ("kill",)
    assert [item.what for item in plan.not_measured] == ["power"]


def test_nothing_asked_is_every_invariant_and_none_by_name(workspace: Workspace) -> None:
    assert known_invariants(()) == (frozenset(INVARIANTS), ())
    assert plan_scenario(scenario(), Options(), workspace).requested == ()


def test_an_invariant_without_a_check_is_not_measured(workspace: Workspace) -> None:
    plan = plan_scenario(scenario(invariants=("B1", "Z9")), Options(), workspace)
    assert plan.requested == ("B1",)
    assert plan.cases[0].invariants == {"B1"}
    assert [item.what for item in plan.not_measured] == ["Z9"]


def test_the_command_line_goes_before_the_scenario(workspace: Workspace) -> None:
    options = Options(seed=9, faults=("short",), timed=3, budget_s=5.0)
    plan = plan_scenario(scenario(seed=1), options, workspace)
    assert (plan.seed, plan.budget_s, plan.cases[0].faults) == (9, 5.0, ("short",))
    assert plan.cases[0].subject.seed == 9


def test_timed_kills_need_the_class_kill(workspace: Workspace) -> None:
    assert plan_scenario(scenario(), Options(), workspace).cases[0].timed == 7
    assert plan_scenario(scenario(), Options(timed=0), workspace).cases[0].timed == 0
    assert plan_scenario(scenario(faults=("errno",)), Options(), workspace).cases[0].timed == 0


def test_a_control_is_tried_only_under_what_it_can_show(workspace: Workspace) -> None:
    plan = plan_scenario(scenario(faults=("kill", "signal")), Options(), workspace)
    durable, buggy = plan.controls
    assert (durable.faults, buggy.faults) == (("kill", "signal"), ("kill",))
    assert durable.signals > 0 == buggy.signals
    # Where only chance was asked for, the writer that must be caught is still caught, by kills.
    assert plan_scenario(scenario(faults=("signal",)), Options(), workspace).controls[1].faults == ("kill",)


def test_signals_are_as_many_as_timed_kills_and_never_none_by_default(workspace: Workspace) -> None:
    def signals(asked: Scenario, **options: int) -> int:
        return plan_scenario(asked, Options(**options), workspace).cases[0].signals  # type: ignore[arg-type]

    both = scenario(faults=("kill", "signal"))
    assert (signals(both), signals(both, timed=3), signals(both, timed=0)) == (7, 3, 0)
    assert signals(scenario(faults=("signal",), timed=0)) == DEFAULT_SIGNALS
    assert signals(scenario()) == 0


def test_what_is_not_available_is_listed_and_has_no_case(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_text(
        '[target]\nname = "gone"\nstory = "s"\n[[variant]]\nname = "v"\nrun = ["no-such-program-here", "{dir}"]\n'
    )
    plan = plan_scenario(scenario(targets=(str(tmp_path),)), Options(), workspace)
    assert plan.everything == ()
    assert [item.what for item in plan.not_available] == ["gone/v"]


def test_a_probe_is_tried_under_all_that_can_be_measured(workspace: Workspace) -> None:
    probe = Probe(command=(sys.executable, "-c", "pass", "{dir}"))
    plan = plan_probe(probe, Options(), workspace)
    assert plan.cases[0].faults == ("kill", "short", "errno", "power")
    assert plan.digest == probe.digest
    assert plan.budget_s > 0


def test_a_probe_whose_next_start_heals_is_another_probe(workspace: Workspace) -> None:
    command = (sys.executable, "-c", "pass", "{dir}")
    plain, healed = Probe(command=command), Probe(command=command, torn_tail="healed")
    assert plain.digest != healed.digest
    assert "--torn-tail" not in plain.replay_words
    assert healed.replay_words.startswith("--torn-tail healed -- ")
    (case,) = plan_probe(healed, Options(), workspace).cases
    assert explore_request(case).torn_tail == "healed"


def test_the_option_is_named_where_torn_last_lines_are_the_only_damage(workspace: Workspace) -> None:
    subject = probe_subject(Probe(command=(sys.executable, "{dir}")), workspace)
    torn = Finding(
        fingerprint="",
        target="probe",
        variant="x",
        version="",
        invariant="B1",
        fault_class="short",
        operation="write",
        role="log.jsonl",
        phase="torn",
        damage="torn",
        message="",
    )
    assert "a torn last line of log.jsonl" in torn_tail_hint(subject, [torn])
    assert "--torn-tail healed" in torn_tail_hint(subject, [torn])
    lost = msgspec.structs.replace(torn, invariant="B5", damage="lost")
    healed = msgspec.structs.replace(subject, torn_tail="healed")
    assert {
        torn_tail_hint(subject, [torn, lost]),
        torn_tail_hint(subject, []),
        torn_tail_hint(healed, [torn]),
    } == {""}


@pytest.mark.parametrize("name", ["demo", "reference", "correct_writers", "fork_session"])
def test_shipped_scenarios_ask_only_for_what_can_be_measured(name: str, workspace: Workspace) -> None:
    plan = plan_scenario(load_scenario(name), Options(), workspace)
    assert plan.not_measured == ()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("python", "save.py", "{dir}"), "save.py"),
        (("python", "-c", "import os; open('x.json', 'w').write('1.0')", "{dir}"), "python"),
        (("./server", "--data", "{dir}"), "server"),
        (("python", "x" * 300 + ".py"), "x" * 64),
        (("...",), "command"),
    ],
)
def test_a_probe_has_a_name_that_can_name_files(command: tuple[str, ...], name: str) -> None:
    assert Probe(command=command).name == name
