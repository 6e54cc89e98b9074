"""A variant made ready to run: placeholders, environment, reasons why it cannot run here."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import Workload, compile_subject, fill, list_targets, load_target
from harness.catalog.placeholder import expand
from harness.sandbox import environment
from harness.sandbox.workspace import Workspace

TARGET = """
[target]
name = "mine"
[[variant]]
name = "only"
run = ["{python}", "{target}/w.py", "{dir}", "{workload}", "{seed}", "{ not one }", "${HOME}"]
setup = ["{python}", "s.py", "{dir}"]
recover = ["{python}", "r.py", "{dir}"]
list = ["{python}", "l.py"]
read = ["{python}", "read.py", "{dir}/{id}"]
resume = ["{python}", "resume.py", "{dir}", "{id}"]
check = ["{python}", "check.py", "{dir}", "{acked}", "{acks}"]
environment = { STATE = "{dir}/x", TORNWRITE_NOW = "5" }
arm = "^GO$"
timeout_s = 2.5
[[variant]]
name = "missing"
run = ["no-such-program-anywhere", "{dir}"]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def directory(tmp_path: Path) -> str:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "target.toml").write_text(TARGET, encoding="utf-8")
    (place / "w.py").write_text("", encoding="utf-8")
    return str(place)


def test_every_placeholder_is_expanded(workspace: Workspace, directory: str) -> None:
    subject = compile_subject(load_target(directory), "only", workspace, Workload(updates=3), seed=11)
    python, workload = environment.real_python(), os.path.join(workspace.base, "workload.json")
    assert subject.spec.argv == (
        python,
        f"{directory}/w.py",
        workspace.root,
        workload,
        "11",
        "{ not one }",
        "$" + "{HOME}",
    )
    assert subject.setup == (python, "s.py", workspace.root)
    assert fill(subject.read, id="a{dir}b")[2] == f"{workspace.root}/a{{dir}}b"
    assert fill(subject.resume, id="s1")[1:] == ("resume.py", workspace.root, "s1")
    assert fill(subject.check, acked="4", acks="/acks")[3:] == ("4", "/acks")
    assert json.loads(subject.spec.files[workload])["updates"] == 3
    assert (subject.spec.arm, subject.spec.limits.timeout_s, subject.label) == ("^GO$", 2.5, "mine/only")


def test_the_environment_is_the_sandbox_and_what_the_manifest_says(
    workspace: Workspace, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@index.example")
    found = compile_subject(load_target(directory), "only", workspace).spec.environment
    assert found["STATE"] == f"{workspace.root}/x"
    assert found["TORNWRITE_NOW"] == "5"
    assert found["HOME"] == workspace.home
    assert not [name for name in found if name.startswith("PIP_")]


def test_a_program_that_is_not_there_makes_the_subject_unavailable(workspace: Workspace, directory: str) -> None:
    subject = compile_subject(load_target(directory), "missing", workspace)
    assert subject.not_available == "no-such-program-anywhere: command not found"
    assert subject.spec.argv == ()


def test_a_package_that_is_not_installed_makes_the_subject_unavailable(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORNWRITE_CACHE", str(tmp_path / "cache"))
    subject = compile_subject(load_target("fork_session"), "seed004_fix", workspace)
    assert re.match(
        r"claude-agent-sdk@0\.1\.72 is not installed; .* puts it into the cache", subject.not_available
    )


def test_without_node_its_variants_are_unavailable(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "real_node", lambda: None)
    monkeypatch.setattr(environment, "_search_path", list)
    subject = compile_subject(load_target("correct"), "node_document", workspace)
    assert subject.not_available == "node: command not found"


def test_every_shipped_variant_compiles(workspace: Workspace) -> None:
    for target in list_targets():
        for variant in target.variants:
            subject = compile_subject(target, variant, workspace)
            commands = (subject.spec.argv, subject.setup, subject.recover, subject.list_command)
            assert not [item for command in commands for item in command if re.search(r"\{[a-z_]+\}", item)]
            assert subject.not_available or os.path.isabs(subject.spec.argv[0])


@given(st.text(), st.dictionaries(st.sampled_from(["dir", "id"]), st.text()))
def test_expansion_touches_nothing_but_its_names(text: str, values: dict[str, str]) -> None:
    if not any(f"{{{name}}}" in text for name in values):
        assert expand(text, values) == text
