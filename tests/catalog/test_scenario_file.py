"""Scenario files and workloads: what is read, and that every mistake is one line."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import ManifestError, Scenario, Workload, list_scenarios, load_scenario, select
from harness.catalog.scenario import compile_scenario
from harness.catalog.workload import problem, workload_json
from harness.checks import INVARIANTS
from harness.checks.dialogue import DIALOGUE_ROWS

VALID = """
[scenario]
name = "sample"
seed_story = "002"
targets = ["reference/*"]
faults = ["kill", "power"]
profiles = ["ext4"]
invariants = ["M1", "B3"]
timed = 10

[workload]
sessions = 3
updates = 8
tools = { parallel = 3, duration_ms = [5, 80], result_bytes = [20, 60000] }

[[life]]
exit = "sigkill"
advance = "7d"
"""


def compiled(text: str) -> Scenario:
    return compile_scenario("s.toml", tomllib.loads(text))


def test_a_scenario_is_read() -> None:
    scenario = compiled(VALID)
    assert scenario.faults == ("kill", "power")
    assert scenario.workload.tools.parallel == 3
    assert scenario.life[0].advance == "7d"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('schedules = "pc"', "'pc' is not valid; valid: pct, random, systematic"),
        ('schedules = "pct"', "concurrency"),
    ],
)
def test_schedules_are_searched_by_a_known_policy_under_concurrency(line: str, expected: str) -> None:
    with pytest.raises(ManifestError, match=expected):
        compiled(VALID.replace("timed = 10", line))
    good = compiled(
        VALID.replace("timed = 10", 'schedules = "pct"').replace('["kill", ', '["concurrency", "kill", ')
    )
    assert good.schedules == "pct"


def test_without_faults_a_scenario_takes_those_every_engine_can_inject() -> None:
    assert compiled('[scenario]\nname = "s"\ntargets = ["reference"]').faults == (
        "kill",
        "short",
        "errno",
        "power",
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"kill"', '"kil"', "s.toml: [scenario] faults 1: 'kil' is not valid; did you mean 'kill'?; valid: "),
        ('"kill"', '"none"', "s.toml: [scenario] faults: 'none' is not valid; valid: kill, signal"),
        ('"M1"', '"M11"', "s.toml: [scenario] invariants: no invariant 'M11'; did you mean 'M1'?"),
        ('targets = ["reference/*"]', "targets = []", "s.toml: [scenario] targets: must name at least one target"),
        ("timed = 10", "timed = -1", "s.toml: [scenario] timed: -1 is not between 0 and 1000000"),
        ("updates = 8", "updates = 0", "s.toml: [workload] updates: 0 is not between 1 and 100000"),
        ("updates = 8", "instances = 9", "s.toml: [workload] instances: 9 is not between 1 and 8"),
        (
            "updates = 8",
            "instances = 2",
            "s.toml: [workload] instances: several of them have no tools beside them",
        ),
        ("[5, 80]", "[80, 5]", "s.toml: [workload] tools.duration_ms: [80, 5] is not a range"),
        (
            "parallel = 3",
            "paralel = 3",
            "s.toml: [workload.tools]: unknown key 'paralel'; did you mean 'parallel'?",
        ),
        ('"7d"', '"soon"', "s.toml: [life 1] advance: 'soon' is not a time such as '7d' or '90s'"),
        (
            '"sigkill"',
            '"sigkil"',
            "s.toml: [life 1] exit: 'sigkil' is not valid; did you mean 'sigkill'?; valid: ",
        ),
        ("[workload]", "[worklaod]", "s.toml: unknown section 'worklaod'; did you mean 'workload'?"),
    ],
)
def test_a_mistake_is_one_line(old: str, new: str, expected: str) -> None:
    assert old in VALID
    with pytest.raises(ManifestError) as caught:
        compiled(VALID.replace(old, new, 1))
    assert str(caught.value).startswith(expected)


def test_a_scenario_that_is_not_there_is_suggested() -> None:
    with pytest.raises(ManifestError, match="no scenario 'fork_sesion'; did you mean 'fork_session'"):
        load_scenario("fork_sesion")
    with pytest.raises(ManifestError, match="cannot be read"):
        load_scenario("nowhere.toml")


def test_a_scenario_file_can_be_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(VALID, encoding="utf-8")
    assert load_scenario(str(path)).path == str(path)


def test_the_shipped_scenarios_name_targets_and_invariants_that_exist() -> None:
    scenarios = list_scenarios()
    assert {"demo", "reference", "correct_writers", "fork_session"} <= {scenario.name for scenario in scenarios}
    for scenario in (part for each in scenarios for part in each.parts or (each,)):
        assert scenario.path.endswith(f"{scenario.name}.toml")
        assert select(scenario.targets), scenario.name
        rows = {*INVARIANTS, *DIALOGUE_ROWS} if scenario.dialogue else set(INVARIANTS)
        assert set(scenario.invariants) <= rows, scenario.name


def test_the_demo_needs_neither_network_nor_node() -> None:
    for each in select(load_scenario("demo").targets):
        assert each.variant.package is None
        assert each.variant.runtime == "python"


def test_the_workload_file_has_its_format() -> None:
    document = json.loads(workload_json(Workload(sessions=2, updates=5), 7))
    assert document.pop("tools").keys() == {"parallel", "duration_ms", "result_bytes"}
    assert document == {
        "format_version": 1,
        "seed": 7,
        "now_ms": 1767225600000,
        "sessions": 2,
        "updates": 5,
        "record_bytes": [60, 9000],
        "life": [],
        "steps": [],
    }


@given(st.integers(), st.integers(), st.tuples(st.integers(), st.integers()), st.integers())
def test_a_workload_is_valid_or_says_why(sessions: int, updates: int, size: tuple[int, int], now: int) -> None:
    workload = Workload(sessions=sessions, updates=updates, record_bytes=size, now_ms=now)
    wrong = problem(workload)
    assert "\n" not in wrong
    assert bool(wrong) == (
        not (
            sessions in range(1, 10_001)
            and updates in range(1, 100_001)
            and 0 <= size[0] <= size[1] <= 16 << 20
            and 0 <= now < 1 << 53
        )
    )
