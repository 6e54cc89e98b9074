"""A workspace per test, and one way to run a program in it under ptrace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Limits, Recording, RunSpec
from harness.core.tree import EMPTY_TREE, Tree
from harness.engines import engine
from harness.sandbox.workspace import Workspace

Run = Callable[..., Recording]
LIMITS = Limits()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(str(tmp_path / "workspace"))
    yield made
    made.remove()


@pytest.fixture
def run(workspace: Workspace) -> Run:
    """Run a command under ptrace, or another engine; ``{dir}`` in it is the state directory."""

    def start(
        *argv: str,
        plan: FaultPlan = NO_FAULTS,
        tree: Tree = EMPTY_TREE,
        limits: Limits = LIMITS,
        engine_name: str = "ptrace",
    ) -> Recording:
        reason = engine(engine_name).available()
        if reason:
            pytest.skip(f"{engine_name} is not available: {reason}")
        shutil.rmtree(os.path.join(workspace.base, "elsewhere"), ignore_errors=True)
        spec = RunSpec(
            argv=tuple(part.replace("{dir}", workspace.root) for part in argv),
            root=workspace.root,
            cwd=workspace.cwd,
            environment=workspace.environment(),
            start=tree,
            limits=limits,
        )
        return engine(engine_name).run(spec, plan)

    return start


@pytest.fixture(scope="session")
def static_binary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled idioms in C, or a skip with the reason."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to build the static binary")
    target = str(tmp_path_factory.mktemp("static") / "idioms")
    source = os.path.join(os.path.dirname(__file__), "idioms.c")
    built = subprocess.run(
        [compiler, "-static", "-O1", "-pthread", "-o", target, source], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"gcc cannot link statically here: {built.stderr.splitlines()[-1:]}")
    return target
