"""The steps of a workload: made from the seed, or taken from the file and checked."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import ManifestError, Workload
from harness.catalog.data import target_directories
from harness.catalog.scenario import compile_scenario
from harness.catalog.steps import INTERRUPTIONS, Step, Tools, generate, problem_of_steps, tool_plan
from harness.catalog.workload import steps_of, workload_json
from harness.core.derived import number, words
from harness.strategies import workloads

PARALLEL = Workload(sessions=2, updates=3, tools=Tools(parallel=3, result_bytes=(0, 200)))


def reference_store() -> ModuleType:
    path = Path(target_directories()["reference"]) / "store.py"
    found = importlib.util.spec_from_file_location("reference_store", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


STORE = reference_store()


@given(st.integers(0, 2**63 - 1), st.text(max_size=40), st.integers(0, 500), st.integers(0, 10**6))
def test_contents_derive_as_in_the_reference_writer(seed: int, name: str, length: int, high: int) -> None:
    assert words(seed, name, length) == STORE.words(seed, name, length)
    assert words(seed, name, length) == words(seed, name, length + 9)[:length]
    assert number(seed, name, 3, 3 + high) == STORE.number(seed, name, 3, 3 + high)


@given(seed=st.integers(0, 2**31), workload=workloads(updates=4, parallel=4, result_bytes=(0, 90)))
def test_generated_steps_keep_every_rule_of_written_ones(seed: int, workload: Workload) -> None:
    sessions, updates, parallel = workload.sessions, workload.updates, workload.tools.parallel
    steps = steps_of(workload, seed)
    assert problem_of_steps(steps, sessions) == ""
    assert Counter(step.do for step in steps if step.do in INTERRUPTIONS) == Counter(workload.interrupt)
    started = [step.tool_id for step in steps if step.do == "tool_start"]
    assert len(started) == len(set(started)) == sessions * updates * parallel
    for index, step in enumerate(steps):
        if step.do == "ctrl_c":
            assert index == len(steps) - 1
        if step.do in INTERRUPTIONS and parallel > 1:  # between two tools that are done, or would be
            assert steps[index - 1].do == "tool_done"
        if step.do == "escape":
            assert not any(
                (later.do, later.at, later.session) == ("tool_done", step.at, step.session)
                for later in steps[index:]
            )


def test_results_are_named_by_digest_and_size() -> None:
    (user, assistant, *rest) = steps_of(PARALLEL, 5)
    assert (user.do, assistant.do) == ("user", "assistant")
    done = [step for step in rest if step.do == "tool_done"]
    for step in done:
        text = words(5, step.tool_id, step.result_bytes or 0)
        assert step.result_sha256 == hashlib.sha256(text.encode()).hexdigest()
        assert step.result_bytes == number(5, step.tool_id, 0, 200)
    assert len({step.result_bytes for step in done}) > 3  # they grow and shrink


def test_tools_are_done_in_the_order_of_their_durations() -> None:
    plan = tool_plan(steps_of(PARALLEL, 5), 5, PARALLEL.tools)
    durations = {step.tool_id: step.duration_ms for step in plan.steps if step.do == "tool_start"}
    done = [step for step in plan.steps if step.do == "tool_done"]
    for first, second in pairwise(done):
        if (first.at, first.session) == (second.at, second.session):
            assert durations[first.tool_id] <= durations[second.tool_id]
    assert not plan.ends_by_sigint
    assert {step.do for step in plan.steps} == {"tool_start", "tool_done"}


def test_the_seed_and_the_life_choose_the_ids() -> None:
    def ids(seed: int, life: int) -> set[str]:
        return {step.tool_id for step in steps_of(PARALLEL, seed, life) if step.tool_id}

    assert ids(1, 0) == ids(1, 0)
    assert not ids(1, 0) & ids(2, 0)
    assert not ids(1, 0) & ids(1, 1)


def test_interruptions_come_where_the_seed_says() -> None:
    places = {
        tuple(
            index
            for index, step in enumerate(generate(seed, 2, 4, Tools(parallel=3), ("mode_switch",)))
            if step.do == "mode_switch"
        )
        for seed in range(12)
    }
    assert len(places) > 3


def test_a_workload_without_tools_has_no_steps() -> None:
    assert steps_of(Workload(), 1) == ()


def test_the_file_holds_what_a_target_reads() -> None:
    document = json.loads(workload_json(PARALLEL, 5))
    first = document["steps"][0]
    assert first == {"at": 0, "do": "user", "session": "s0"}
    done = next(step for step in document["steps"] if step["do"] == "tool_done")
    assert set(done) == {"at", "do", "session", "tool_id", "result_sha256", "result_bytes"}


WRITTEN = """
[scenario]
name = "written"
targets = ["reference"]
[workload]
sessions = 1
steps = [
  { at = 0, do = "user" },
  { at = 0, do = "assistant" },
  { at = 0, do = "tool_start", tool_id = "a" },
  { at = 0, do = "tool_start", tool_id = "b" },
  { at = 0, do = "tool_done", tool_id = "b", result_bytes = 7 },
  { at = 0, do = "escape" },
  { at = 1, do = "user" },
]
"""


def workload_of(text: str) -> Workload:
    return compile_scenario("s.toml", tomllib.loads(text)).workload


def test_steps_in_the_file_win_and_are_completed() -> None:
    workload = workload_of(WRITTEN.replace("sessions = 1", "sessions = 1\ntools = { parallel = 2 }"))
    steps = steps_of(workload, 3)
    assert [step.do for step in steps] == [step.do for step in workload.steps]
    done = next(step for step in steps if step.do == "tool_done")
    assert done.result_sha256 == hashlib.sha256(words(3, "b", 7).encode()).hexdigest()
    assert {step.tool_id for step in steps_of(workload, 3, 2)} == {"", "a_2", "b_2"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('do = "escape"', 'do = "escpe"', "[workload.steps 6] do: 'escpe' is not valid; did you mean 'escape'?; "),
        ('do = "escape"', 'doo = "escape"', "[workload.steps 6]: unknown key 'doo'; did you mean 'do'?"),
        ('do = "escape"', 'do = "ctrl_c"', "[workload] steps 7 do: 'user' after 'ctrl_c', which ends the program"),
        ('do = "escape"', 'do = "escape", session = "s3"', "[workload] steps 6 session: no session 's3'"),
        ('do = "escape"', 'do = "tool_done", tool_id = "c"', "[workload] steps 6 tool_id: 'c' is not running in 's0'"),
        ('do = "escape"', 'do = "tool_done", tool_id = "b"', "[workload] steps 6 tool_id: 'b' is not running in 's0'"),
        ('do = "escape"', 'do = "tool_start", tool_id = "a"', "[workload] steps 6 tool_id: 'a' is started twice"),
        ('do = "escape"', 'do = "escape", tool_id = "a"', "[workload] steps 6 tool_id: 'escape' is no step of a tool"),
        ("at = 1", "at = -1", "[workload] steps 7 at: turn -1 after turn 0 of 's0'"),
        ("result_bytes = 7", "result_bytes = -7", "[workload] steps 5 result_bytes: -7 is not between 0 and"),
        ('tool_id = "a"', 'tool_id = ""', "[workload] steps 3 tool_id: '' is not 1 to 128 printable ASCII"),
        ('do = "user"', 'tool_id = ""', "[workload.steps 1] lacks the key 'do'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_step_is_one_line(old: str, new: str, expected: str) -> None:
    assert old in WRITTEN
    with pytest.raises(ManifestError) as caught:
        workload_of(WRITTEN.replace(old, new, 1))
    assert str(caught.value).startswith(f"s.toml: {expected}")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('interrupt = ["escape"]', "interrupt: needs tools.parallel of at least 1"),
        ('interrupt = ["esc"]\ntools = { parallel = 1 }', "interrupt 1: 'esc' is not valid; "),
        (
            'sessions = 1\nupdates = 1\ninterrupt = ["escape", "ctrl_c"]\ntools = { parallel = 1 }',
            "interrupt: 2 interruptions do not fit in 1 turns",
        ),
        ('interrupt = ["ctrl_c", "ctrl_c"]\ntools = { parallel = 1 }', "interrupt: 'ctrl_c' ends the program"),
        (
            "sessions = 1000\ntools = { parallel = 200 }",
            "tools.parallel: 1000 sessions of 8 turns make 3216000 steps",
        ),
    ],
)
def test_a_mistake_in_the_numbers_is_one_line(keys: str, expected: str) -> None:
    with pytest.raises(ManifestError) as caught:
        workload_of(f'[scenario]\nname = "s"\ntargets = ["reference"]\n[workload]\n{keys}')
    assert str(caught.value).startswith(f"s.toml: [workload] {expected}")


def test_an_interruption_may_come_while_the_only_tool_is_open() -> None:
    steps = generate(1, 1, 1, Tools(parallel=1), ("new_message",))
    assert [step.do for step in steps] == ["user", "assistant", "tool_start", "new_message", "tool_done"]
    assert Step(at=0, do="user").session == "s0"


@given(draw=st.integers(1, 10_000))
def test_another_draw_changes_durations_and_nothing_else(draw: int) -> None:
    plan = tool_plan(steps_of(PARALLEL, 5), 5, PARALLEL.tools)
    drawn = plan.redrawn(draw)
    durations = {step.tool_id: step.duration_ms for step in drawn.steps if step.do == "tool_start"}
    low, high = PARALLEL.tools.duration_ms
    assert all(low <= duration <= high for duration in durations.values())
    for first, second in pairwise(step for step in drawn.steps if step.do == "tool_done"):
        if (first.at, first.session) == (second.at, second.session):
            assert durations[first.tool_id] <= durations[second.tool_id]
    same = [msgspec.structs.replace(step, duration_ms=0) for step in drawn.steps]
    assert same == [msgspec.structs.replace(step, duration_ms=0) for step in plan.steps]


def test_draws_differ_and_none_is_the_recordings_own() -> None:
    plan = tool_plan(steps_of(PARALLEL, 5), 5, PARALLEL.tools)
    assert plan.redrawn(0) is plan
    assert len({plan.redrawn(draw).steps for draw in range(20)}) == 20
