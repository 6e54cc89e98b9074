"""The lives of a scenario: their calendar, their indices, and how they are made ready to run."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from harness.catalog import Life, ManifestError, Workload, compile_lives, find_variant, load_target
from harness.catalog.lives import advance_ms, life_data
from harness.catalog.scenario import compile_scenario
from harness.catalog.steps import Tools
from harness.core.run import RunSpec
from harness.sandbox.workspace import Workspace

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "expected"), [("0s", 0), ("250ms", 250), ("90s", 90_000), ("1.5h", 5_400_000), ("7d", 7 * DAY_MS)]
)
def test_times_as_people_write_them(text: str, expected: int) -> None:
    assert advance_ms(text) == expected


def test_every_instance_has_an_index_and_the_calendar_goes_on() -> None:
    lives = (Life(advance="7d"), Life(exit="sigterm", instances=2, advance="1d"), Life(exit="sigkill"))
    assert life_data(lives, 1_000) == (
        {"index": 0, "exit": "graceful", "now_ms": 1_000, "instance": 0},
        {"index": 1, "exit": "sigterm", "now_ms": 1_000 + 7 * DAY_MS, "instance": 0},
        {"index": 2, "exit": "sigterm", "now_ms": 1_000 + 7 * DAY_MS, "instance": 1},
        {"index": 3, "exit": "sigkill", "now_ms": 1_000 + 8 * DAY_MS, "instance": 0},
    )


def test_lives_are_made_ready_to_run(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "base"))
    target = load_target("reference")
    lives = (Life(advance="7d"), Life(exit="sigkill", instances=2))
    workload = Workload(sessions=1, updates=1, tools=Tools(parallel=2))
    first, second = compile_lives(target, find_variant(target, "durable"), workspace, workload, 3, lives)
    assert (first.exit, len(first.specs), second.exit, len(second.specs)) == ("graceful", 1, "sigkill", 2)

    def facts(spec: RunSpec) -> tuple[str, int, str]:
        return spec.environment["TORNWRITE_LIFE"], int(spec.environment["TORNWRITE_NOW"]), spec.arm

    now = workload.now_ms
    assert facts(first.specs[0]) == ("0", now, "^IDLE$")
    assert [facts(spec) for spec in second.specs] == [
        ("1", now + 7 * DAY_MS, "^IDLE$"),
        ("2", now + 7 * DAY_MS, "^IDLE$"),
    ]
    assert {spec.arm_times for spec in second.specs} == {2}
    files = {path: json.loads(data) for spec in (*first.specs, *second.specs) for path, data in spec.files.items()}
    assert len(files) == 2  # instances that run at once have a workload file each
    assert all(len(document["life"]) == 3 for document in files.values())
    ids = [{step.tool_id for step in spec.tools.steps} for spec in second.specs if spec.tools is not None]
    assert len(ids) == 2 and not ids[0] & ids[1]


def test_a_life_has_a_service_even_without_tools(tmp_path: Path) -> None:
    target = load_target("reference")
    variant = find_variant(target, "durable")
    (life,) = compile_lives(target, variant, Workspace(str(tmp_path / "base")), Workload(), 1, (Life(),))
    assert life.specs[0].tools is not None  # its exit comes through it
    assert life.specs[0].tools.steps == ()


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        ("instances = 0", "s.toml: [life 1] instances: 0 is not between 1 and 8"),
        ("instance = 2", "s.toml: [life 1]: unknown key 'instance'; did you mean 'instances'?"),
        ('advance = "1 week"', "s.toml: [life 1] advance: '1 week' is not a time such as '7d' or '90s'"),
    ],
)
def test_a_mistake_in_a_life_is_one_line(life: str, expected: str) -> None:
    with pytest.raises(ManifestError) as caught:
        compile_scenario(
            "s.toml", tomllib.loads(f'[scenario]\nname = "s"\ntargets = ["reference"]\n[[life]]\n{life}')
        )
    assert str(caught.value) == expected


def test_there_is_a_bound_to_lives() -> None:
    text = '[scenario]\nname = "s"\ntargets = ["reference"]\n' + "[[life]]\n" * 201
    with pytest.raises(ManifestError, match="201 lives; at most 200"):
        compile_scenario("s.toml", tomllib.loads(text))
