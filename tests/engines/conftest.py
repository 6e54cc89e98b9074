"""A workspace per test, and one way to run a program in it under ptrace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import DEFAULT_ACK, Limits, Recording, RunSpec
from harness.core.tree import EMPTY_TREE, Tree
from harness.engines import KeepingEngine, engine
from harness.sandbox.workspace import Workspace

LIMITS = Limits()
WRITERS = os.path.join(os.path.dirname(__file__), "writers")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(str(tmp_path / "workspace"))
    yield made
    made.remove()


@pytest.fixture
def traced(bench: Workspace) -> Callable[..., Recording]:
    """Run a command under ptrace; ``{dir}`` in it is the state directory."""
    return running(bench, os.environ.get("WAY", "ptrace"))


@pytest.fixture(params=["ptrace", "ptrace-forked"])
def scheduling(bench: Workspace, request: pytest.FixtureRequest) -> Iterator[Callable[..., Recording]]:
    """Run a command under each engine that decides who goes next: the contract they share."""
    yield running(bench, request.param)
    made = engine(request.param)
    if isinstance(made, KeepingEngine):
        made.close()


@pytest.fixture(params=["ptrace", "shim"])
def watched(bench: Workspace, request: pytest.FixtureRequest) -> Callable[..., Recording]:
    """Run a command under each engine that watches operations: the contract they share."""
    return running(bench, request.param)


@pytest.fixture
def shimmed(bench: Workspace) -> Callable[..., Recording]:
    """Run a command under the shim engine."""
    return running(bench, "shim")


def running(bench: Workspace, name: str) -> Callable[..., Recording]:
    reason = engine(name).available()
    if reason:
        pytest.skip(f"{name} is not available: {reason}")

    def run(
        *argv: str,
        plan: FaultPlan = NO_FAULTS,
        tree: Tree = EMPTY_TREE,
        limits: Limits = LIMITS,
        ack: str = DEFAULT_ACK,
        arm: str = "",
        verify: bool = True,
    ) -> Recording:
        spec = RunSpec(
            argv=tuple(part.replace("{dir}", bench.root) for part in argv),
            root=bench.root,
            cwd=bench.cwd,
            environment=bench.environment(),
            start=tree,
            limits=limits,
            ack=ack,
            arm=arm,
        )
        return engine(name).run(spec, plan, verify=verify)

    return run


def compiled(directory: Path, name: str) -> str:
    """Build a writer in C, or skip with the reason."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to build the static writer")
    target = str(directory / name)
    source = os.path.join(WRITERS, f"{name}.c")
    built = subprocess.run(
        [compiler, "-static", "-O1", "-o", target, source], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"gcc cannot link statically here: {built.stderr.splitlines()[-1:]}")
    return target


@pytest.fixture(scope="session")
def static_writer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(tmp_path_factory.mktemp("static"), "vectors")


@pytest.fixture(scope="session")
def raw_writer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(tmp_path_factory.mktemp("static"), "registers")
