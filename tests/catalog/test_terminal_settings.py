"""What a manifest says of a terminal: the files that stand there at the start, by version, and how to go back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.catalog import ManifestError, load_target
from harness.catalog.terminal import Rewind, StartFile, Terminal, check_terminal
from harness.core.tree import Directory, File, Tree


def content(tree: Tree, path: str) -> Any:
    node = tree.node_at(path)
    assert isinstance(node, File)
    return json.loads(node.content.to_bytes())


def test_later_versions_add_to_what_stands_there() -> None:
    terminal = Terminal(
        start=(
            StartFile(path=".c/s.json", version="2.1.300", json={"a": {"y": 2}, "tui": "default"}),
            StartFile(path=".c/s.json", json={"a": {"x": ["{version}", 1]}, "{cwd}": True}),
            StartFile(path=".c.json", json={}),
        ),
        rewind=(Rewind(command="/old", version="1.5"), Rewind(command="/new", keys=("up",), version="2.0.10")),
    )
    check_terminal("here", terminal)
    old, new = terminal.at("2.0.9", "/work"), terminal.at("2.1.329", "/work")
    assert content(old.start, ".c/s.json") == {"a": {"x": ["2.0.9", 1]}, "/work": True}
    assert content(new.start, ".c/s.json") == {"a": {"x": ["2.1.329", 1], "y": 2}, "/work": True, "tui": "default"}
    assert isinstance(new.start.node_at(".c"), Directory) and content(new.start, ".c.json") == {}
    assert (old.rewind, new.rewind, new.rewind_keys) == ("/old", "/new", ("up",))
    assert terminal.at("1.0.43", "/").rewind == "" and ".c.json" in terminal.at("", "/").start.names


@pytest.mark.parametrize(
    ("terminal", "words"),
    [
        (Terminal(start=(StartFile(path="../x", json={}),)), "start 1 path: '../x' is not a path below"),
        (Terminal(start=(StartFile(path="/x", json={}),)), "'/x' is not a path below"),
        (Terminal(start=(StartFile(path="x", json={}, version="new"),)), "version: 'new': needs numbers"),
        (
            Terminal(start=(StartFile(path="x", json={"a": [{"{verson}": 1}]}),)),
            "{verson}; did you mean 'version'?",
        ),
        (Terminal(rewind=(Rewind(command="/r", keys=("left",)),)), "rewind 1 keys: 'left' is not one of up, down"),
    ],
)
def test_what_a_manifest_may_not_say(terminal: Terminal, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        check_terminal("target.toml: [variant 'x'] terminal", terminal)
    assert words in str(caught.value) and str(caught.value).startswith("target.toml: [variant 'x'] terminal ")


def test_the_cli_of_the_target_is_asked_nothing() -> None:
    cli = load_target("claude_code").variants[0].terminal.at("2.1.91", "/tmp/x")
    config = content(cli.start, ".claude.json")
    assert config["projects"]["/tmp/x"]["hasTrustDialogAccepted"] and config["lastOnboardingVersion"] == "2.1.91"
    assert config["customApiKeyResponses"]["approved"] == ["sk-dummy-key-of-at-least-twenty-characters"[-20:]]
