"""The workflows: pinned, with the least rights, without injection, and asking only for commands that there are.

``make workflows`` holds them to GitHub's own schemas as well; this needs no download.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from harness.cli.app import app

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted([*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob("docs/ci/*.yml")])
FILES = sorted([*WORKFLOWS, *ROOT.glob(".github/actions/*/action.yml")])
_USES = re.compile(r"uses: (\S+)(.*)")
_RUN = re.compile(r"^( *)(?:- )?run: *(\|?)(.*)$")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def scripts(text: str) -> list[str]:
    """Return the body of every ``run:``."""
    lines, found = text.splitlines(), []
    for number, line in enumerate(lines):
        match = _RUN.match(line)
        if match is None:
            continue
        indent, block, body = match.groups()
        if not block:
            found.append(body)
            continue
        rest = []
        for below in lines[number + 1 :]:
            if below.strip() and len(below) - len(below.lstrip()) <= len(indent):
                break
            rest.append(below.strip())
        found.append("\n".join(rest))
    return found


def test_there_are_some() -> None:
    assert names(WORKFLOWS) == [
        ".github/workflows/check.yml",
        ".github/workflows/nightly.yml",
        "docs/ci/tornwrite.yml",
    ]
    assert len(FILES) == 4


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_actions_are_pinned_to_a_commit_and_say_which_version_it_is(path: Path) -> None:
    for action, comment in _USES.findall(path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=names(WORKFLOWS))
def test_rights_are_the_least_and_time_is_bounded(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "\npermissions: {}\n" in text
    assert set(re.findall(r"^      (\w[\w-]*: (?:read|write))$", text, re.MULTILINE)) == {"contents: read"}
    assert "pull_request_target" not in text
    jobs = text.count("runs-on:")
    assert text.count("timeout-minutes:") == jobs == text.count("contents: read")
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_no_script_holds_an_expression(path: Path) -> None:
    """What stands in a pull request would be run by the shell."""
    found = scripts(path.read_text(encoding="utf-8"))
    assert found
    assert not [script for script in found if "${{" in script]


def commands(text: str) -> list[list[str]]:
    lines = "\n".join(scripts(text)).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        match = re.search(r"(?:\btornwrite|-m harness) ([a-z].*)", line)
        if match:
            words = shlex.split(re.split(r" (?:>|\|\||&&|#)", match.group(1))[0])
            found.append(words)
    return [words for words in found if words[0] != "."]


@pytest.mark.parametrize("path", WORKFLOWS, ids=names(WORKFLOWS))
def test_the_commands_and_options_are_those_that_there_are(path: Path) -> None:
    found = [words for words in commands(path.read_text(encoding="utf-8")) if words[0] not in ("pip", "is")]
    assert path.name == "check.yml" or any(words[0] != "demo" for words in found)
    for words in found:
        command = app.get_command(click.Context(app), words[0])
        assert command is not None, words
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        mine = words[1 : words.index("--")] if "--" in words else words[1:]
        assert not [word for word in mine if word.startswith("--") and word not in known], words


def test_a_summary_is_never_larger_than_github_takes() -> None:
    for path in FILES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "GITHUB_STEP_SUMMARY" in line:
                size = re.search(r"head -c (\d+)", line)
                assert size is not None and int(size.group(1)) <= 1 << 20, line
