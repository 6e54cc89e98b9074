"""Several scenarios in one campaign: one table by story, one report, and resumed as it was asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import in_process, tornwrite

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("traced")]

SCENARIO = """[scenario]
name = "{name}"
story = "does {name} hold?"
seed_story = "{story}"
targets = ["reference/{writer}"]
faults = ["kill"]
samples = 1
attempts = 1

[workload]
sessions = 1
updates = 2
record_bytes = [60, 5000]
"""


@pytest.fixture
def scenarios(here: Path) -> tuple[str, str]:
    (here / "one.toml").write_text(SCENARIO.format(name="one", story="007", writer="buggy"))
    (here / "two.toml").write_text(SCENARIO.format(name="two", story="008", writer="durable"))
    return "one.toml", "two.toml"


def test_two_scenarios_are_one_campaign(scenarios: tuple[str, str], here: Path) -> None:
    ended = tornwrite("run", *scenarios, cwd=here)
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.startswith("one two: seed 1, run ")
    assert "\n007 one: does one hold?\n" in ended.out
    assert "\n008 two: does two hold?\n" in ended.out
    assert "1 of 2 writers lose or damage something; 1 held under all that was tried." in ended.out
    assert "   Now: " in ended.out
    table = ended.out.partition("\n1. ")[0]
    assert max(map(len, table.splitlines())) <= 80
    document = in_process("report", "--json").document["result"]
    assert [part["name"] for part in document["parts"]] == ["one", "two"]
    assert [case["case"]["part"] for case in document["cases"]] == ["one", "two"]
    assert all(item["remedy"] for item in document["findings"])
    again = in_process("run", "--resume")
    assert again.exit_code == 0
    assert "\n008 two: does two hold?\n" in again.out
    assert "was a run of one.toml two.toml" in in_process("run", "--resume", "latest", "demo").err


def test_a_target_can_be_chosen_from_the_parts(scenarios: tuple[str, str], here: Path) -> None:
    ended = tornwrite("run", *scenarios, "--target", "reference/durable", cwd=here)
    assert ended.exit_code == 0
    assert "007 one" not in ended.out
    assert "Held: no violation found" in ended.out
