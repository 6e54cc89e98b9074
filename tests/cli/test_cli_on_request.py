"""A package that is to be had on request only, from the command line: what is missing is said, and never a pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.catalog import Package, install_package
from harness.catalog import subject as subject_module
from harness.sandbox.environment import npm_platform
from tests.cli.command_line import in_process

NAME = "@anthropic-ai/claude-code"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, with one version that has a program which can only fail."""
    monkeypatch.setenv("TORNWRITE_CACHE", str(tmp_path / "cache"))

    def fetch(package: Package, directory: str, timeout_s: float) -> str:
        place = Path(directory, "node_modules", f"{NAME}-{npm_platform()}", "claude")
        place.parent.mkdir(parents=True)
        place.write_text("#!/bin/false\n")
        place.chmod(0o755)
        return package.version

    install_package(Package(registry="npm", name=NAME, version="2.1.200"), fetcher=fetch)


def test_a_version_that_is_not_there_is_not_available() -> None:
    ended = in_process("run", "claude_code@2.1.201")
    assert ended.exit_code == 5
    assert (
        "claude_code/cli@2.1.201: not available: @anthropic-ai/claude-code@2.1.201 is not installed" in ended.out
    )
    assert in_process("run", "claude_code@2.1.201", "--require-all").exit_code == 3


def test_without_isolation_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject_module, "isolation_available", lambda: "unshare: Operation not permitted")
    ended = in_process("run", "claude_code@2.1.200")
    assert ended.exit_code == 5
    assert "not available: it runs in full isolation only" in ended.out
    assert "unshare: Operation not permitted" in ended.out


def test_the_list_says_what_is_there_and_that_any_version_may_be_asked_for() -> None:
    lines = [line.split() for line in in_process("targets", "list").out.splitlines() if "claude_code" in line]
    states = {line[0].rpartition("@")[2]: " ".join(line[1:3]) for line in lines}
    assert states["2.1.200"] in ("ready any", "not isolated")
    assert states["latest"] == states["1.0.43"] == "not installed"
    assert all(line[-4:] == ["any", "version", "on", "request"] for line in lines)


def test_a_version_that_is_none_is_refused() -> None:
    ended = in_process("run", "claude_code@../../x")
    assert (ended.exit_code, ended.err.count("\n")) == (2, 1)
    assert "'../../x' is not a version" in ended.err
