"""Packages of which any version may be asked for, what changes with the version, and what only runs in isolation."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import (
    Headless,
    ManifestError,
    Package,
    at_api,
    compile_subject,
    install_package,
    interrupt_line,
    load_target,
    select,
    user_line,
    with_installed,
)
from harness.catalog import subject as subject_module
from harness.catalog.manifest import compile_manifest
from harness.catalog.since import Changed, release
from harness.sandbox import environment
from harness.sandbox.cell import BASE
from harness.sandbox.environment import npm_platform
from harness.sandbox.workspace import Workspace

NAME = "@anthropic-ai/claude-code"
SAMPLE = """
[target]
name = "talker"
story = "talks"
[[variant]]
name = "cli"
package = { registry = "npm", name = "talker", versions = ["1.0.0", "latest"], on_request = true }
run = ["old", "{package}"]
isolation = "full"
hidden = ["/etc/talker"]
environment = { HOME = "{dir}", API = "{api}/v1" }
[variant.headless]
prompt = ["-p", "{prompt}"]
result = ["--json"]
permit = ["--allow", "{tools}"]
resume = ["--resume", "{session}"]
last = ["--continue"]
stream = ["-p", "--stream"]
mcp = ["--mcp", "{file}"]
[[variant.since]]
version = "2.0"
run = ["new", "{package}", "{platform}"]
[variant.since.headless]
permit = ["--all"]
session = ["--session-id", "{session}"]
"""


def labels(*selectors: str) -> list[str]:
    return [each.label for each in select(selectors)]


def words_of(version: str) -> Headless:
    target = compile_manifest("target.toml", tomllib.loads(SAMPLE), "/nowhere")
    variant = target.variants[0]
    oldest = Changed(variant.run, variant.headless, variant.repeats_ids)
    headless = subject_module.changed(version, oldest, variant.since).headless
    assert headless is not None
    return headless


def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, *files: str) -> None:
    """Put a version of the real package into a cache of this test, with empty programs for its own."""
    monkeypatch.setenv("TORNWRITE_CACHE", str(tmp_path / "cache"))

    def fetch(package: Package, directory: str, timeout_s: float) -> str:
        for file in files:
            place = Path(directory, "node_modules", file)
            place.parent.mkdir(parents=True)
            place.write_text("#!/bin/sh\n")
            place.chmod(0o755)
        return package.version

    install_package(Package(registry="npm", name=NAME, version=version), fetcher=fetch)


def test_any_version_may_be_named_and_no_pattern_takes_one() -> None:
    assert labels("claude_code@2.1.89") == ["claude_code/cli@2.1.89"]
    assert labels("claude_code/cli@0.0.1") == ["claude_code/cli@0.0.1"]
    assert labels("claude_code@latest", "claude_code@1.0.43") == [
        "claude_code/cli@latest",
        "claude_code/cli@1.0.43",
    ]
    assert len(labels("claude_code")) >= 5
    assert not [label for label in labels("*", "*/*", "c*") if label.startswith("claude_code")]
    for wrong in ("claude_code@../x", "claude_code@-e", "claude_code/js@2.1.89", "claude_c*@2.1.89"):
        with pytest.raises(ManifestError):
            select([wrong])


@pytest.mark.parametrize(
    ("version", "file", "first", "offers"),
    [
        ("1.0.43", f"{NAME}/cli.js", "node", False),
        ("2.1.112", f"{NAME}/cli.js", "node", True),
        ("2.1.113", f"{NAME}-{npm_platform()}/claude", "claude", True),
    ],
)
def test_the_real_cli_is_started_as_its_version_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, file: str, first: str, offers: bool
) -> None:
    installed(monkeypatch, tmp_path, version, file)
    monkeypatch.setattr(subject_module, "isolation_available", lambda: "")
    chosen = select([f"claude_code@{version}"])[0]
    workspace = Workspace(str(tmp_path / "w"))
    subject = compile_subject(chosen.target, chosen.variant, workspace)
    if environment.real_node() is None and first == "node":
        assert subject.not_available == "node: command not found"
        return
    assert subject.not_available == ""
    assert os.path.basename(subject.spec.argv[0]).startswith(first)
    assert subject.spec.argv[-1].endswith(file)
    assert subject.spec.root == f"{BASE}/state"
    assert subject.headless is not None and subject.headless.offers("session") is offers
    spec = at_api(subject.spec, "http://127.0.0.1:4711")
    assert spec.isolation is not None and spec.isolation.hidden == ("/etc/claude-code", "/home/claude/.claude")
    assert dict(spec.environment) == {
        "PATH": environment.minimal_path(),
        "HOME": "/tmp/tornwrite/state",  # the same in every run: the CLI names directories after its own
        "TMPDIR": "/tmp/tornwrite/tmp",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:4711",
        "ANTHROPIC_API_KEY": "sk-dummy-key-of-at-least-twenty-characters",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_BUG_COMMAND": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",
    }


def test_what_cannot_be_had_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, tmp_path, "2.1.200")
    monkeypatch.setattr(subject_module, "isolation_available", lambda: "unshare: not permitted")
    workspace = Workspace(str(tmp_path / "w"))

    def reason(version: str) -> str:
        chosen = select([f"claude_code@{version}"])[0]
        return compile_subject(chosen.target, chosen.variant, workspace).not_available

    assert reason("2.1.199") == (
        "@anthropic-ai/claude-code@2.1.199 is not installed; "
        "tornwrite targets install claude_code@2.1.199 puts it into the cache"
    )
    assert reason("2.1.200") == f"@anthropic-ai/claude-code@2.1.200 has no program for {npm_platform()}"
    installed(monkeypatch, tmp_path, "2.1.201", f"{NAME}-{npm_platform()}/claude")
    assert reason("2.1.201") == (
        "it runs in full isolation only, and that cannot be had here: unshare: not permitted"
    )


def test_what_is_installed_is_listed_beside_what_the_manifest_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, tmp_path, "2.1.89")
    installed(monkeypatch, tmp_path, "1.0.43")
    target = load_target("claude_code")
    named = [variant.version for variant in target.variants]
    assert [variant.version for variant in with_installed(target)] == [*named, "2.1.89"]
    assert with_installed(load_target("reference")) == load_target("reference").variants


def test_words_by_purpose_and_version() -> None:
    old, new = words_of("1.9.9"), words_of("2.0")
    assert old.argv(("x",), prompt="say {session}", resume="s1", tools=("mcp__gate__wait",), mcp="/m.json") == (
        *("x", "-p", "say {session}", "--json", "--allow", "Bash,Read,Write,Edit,mcp__gate__wait"),
        *("--resume", "s1", "--mcp", "/m.json"),
    )
    assert new.argv(("x",), session="s2") == ("x", "-p", "--stream", "--all", "--session-id", "s2")
    assert new.argv(("x",), prompt="go", last=True) == ("x", "-p", "go", "--json", "--all", "--continue")
    assert (old.offers("session"), new.offers("session")) == (False, True)
    with pytest.raises(ValueError, match="has no words for 'session'"):
        old.argv(("x",), prompt="go", session="s2")
    with pytest.raises(ValueError, match="new, a given one, or the last one"):
        new.argv(("x",), prompt="go", session="s2", last=True)
    assert user_line('a "b"\n') == (
        b'{"type":"user","message":{"role":"user","content":[{"type":"text","text":"a \\"b\\"\\n"}]}}\n'
    )
    assert interrupt_line("x") == (
        b'{"type":"control_request","request_id":"x","request":{"subtype":"interrupt"}}\n'
    )


@pytest.mark.parametrize(
    ("found", "replacement", "message"),
    [
        ("{prompt}", "{session}", "[variant 'cli'] headless prompt: unknown placeholder {session}"),
        ('permit = ["--all"]', 'permitt = ["--all"]', "unknown key 'permitt'; did you mean 'permit'?"),
        (
            'version = "2.0"',
            'version = "new"',
            "since 1 version: 'new': needs a package and a version with numbers",
        ),
        ("{platform}", "{plattform}", "since 1 run: unknown placeholder {plattform}; did you mean 'platform'?"),
        ('isolation = "full"\n', "", "hidden: '/etc/talker': needs isolation = \"full\" and absolute directories"),
        ('isolation = "full"', 'isolation = "half"', "isolation: 'half' is not valid"),
        ("/etc/talker", "etc/talker", "hidden: 'etc/talker': needs isolation"),
        ("{api}/v1", "{ap}/v1", "environment.API: unknown placeholder {ap}"),
    ],
)
def test_a_mistake_is_one_line(found: str, replacement: str, message: str) -> None:
    assert found in SAMPLE
    with pytest.raises(ManifestError) as caught:
        compile_manifest("target.toml", tomllib.loads(SAMPLE.replace(found, replacement, 1)), "/nowhere")
    assert message in str(caught.value)


def test_an_address_is_for_programs_that_talk_and_words_of_later_versions_need_first_ones() -> None:
    tables: dict[str, Any] = tomllib.loads(SAMPLE)
    del tables["variant"][0]["headless"]
    with pytest.raises(ManifestError, match=r"environment\.API: unknown placeholder \{api\}"):
        compile_manifest("target.toml", tables, "/nowhere")
    tables["variant"][0]["environment"]["API"] = "x"
    with pytest.raises(ManifestError, match=r"since 1 headless: the variant itself has no \[variant\.headless\]"):
        compile_manifest("target.toml", tables, "/nowhere")


@given(
    st.lists(st.integers(0, 999), min_size=1, max_size=4), st.lists(st.integers(0, 999), min_size=1, max_size=4)
)
def test_versions_compare_as_numbers(one: list[int], other: list[int]) -> None:
    first, second = (".".join(map(str, each)) for each in (one, other))
    assert (release(first) < release(second)) == (one < other)
    assert release(f"{first}-beta.3+build") == release(first)


@given(st.text(max_size=20))
def test_no_version_is_a_traceback(version: str) -> None:
    assert all(isinstance(number, int) for number in release(version))


def test_which_version_the_latest_is_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, tmp_path, "2.1.202", f"{NAME}-{npm_platform()}/claude")
    monkeypatch.setattr(subject_module, "isolation_available", lambda: "")
    pointer = tmp_path / "cache" / "targets" / "anthropic-ai__claude-code@latest"
    pointer.write_text("2.1.202")
    for version, latest in (("latest", "2.1.202"), ("2.1.202", "")):
        chosen = select([f"claude_code@{version}"])[0]
        subject = compile_subject(chosen.target, chosen.variant, Workspace(str(tmp_path / "w")))
        assert (subject.version, subject.latest) == (version, latest)
