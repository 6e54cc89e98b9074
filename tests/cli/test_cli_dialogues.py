"""Campaigns of dialogues with the stand-in clients, from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.catalog import load_scenario, load_target
from tests.cli.command_line import in_process

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-in's tools are shell commands"),
]

TWO_AT_ONCE = """
[scenario]
name = "two_at_once"
targets = ["stand_in_client/durable"]
invariants = ["S1", "S5"]
dialogues = 2

[[turn]]
prompt = "Go."
text = "Gone."

[[turn]]
prompt = "Left."
text = "To the left."

[[turn]]
prompt = "Right."
text = "To the right."

[[life]]
prompt = ["Go."]

[[life]]
prompt = ["Left.", "Right."]
session = "resume"

[[life]]
prompt = ["What now?"]
session = "resume"
"""


def test_an_undisturbed_dialogue_has_nothing_of_what_some_rows_ask(here: Path) -> None:
    """It holds what others do at once one after the other: S5 is not asked of it, and that is no reason to doubt."""
    (here / "two.toml").write_text(TWO_AT_ONCE)
    ended = in_process("run", "two.toml")
    assert "concurrency 0/2" in ended.out, ended.out
    assert ended.exit_code == 0


def test_a_moment_that_cannot_come_is_refused_before_anything_is_run(here: Path) -> None:
    killed = TWO_AT_ONCE.replace('prompt = ["Go."]', 'prompt = ["Go."]\nexit = "sigkill"\nwhen = "effect 1"', 1)
    (here / "two.toml").write_text(killed)
    ended = in_process("run", "two.toml")
    assert (ended.exit_code, "never comes: the turns have 0 calls" in ended.err) == (2, True)


def test_what_is_known_of_versions_is_about_dialogues_that_there_are() -> None:
    cli = load_target("claude_code").variants[0]
    assert {each.version for each in cli.known} == {"1.0.43", "2.1.85", "2.1.91", "2.1.329"}
    for name in {dialogue for each in cli.known for dialogue in each.dialogues}:
        assert load_scenario(f"claude_code_{name}").targets == ("claude_code",)
