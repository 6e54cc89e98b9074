"""Recorded disks for tests: skipped with the reason where this machine has none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.core.content import content_of
from harness.core.run import RunSpec
from harness.core.tree import Directory, File, Node, Tree, build_tree
from harness.engines.block import DiskRecording, record_on_disk, why_not_available
from harness.engines.block.disk import Slow
from harness.engines.block.recording import Commit
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace
from tests.block import pattern

PATTERN = os.path.join(os.path.dirname(__file__), "pattern.py")


def require(filesystem: str) -> None:
    """Skip the test where the block engine does not work with this file system."""
    reason = why_not_available(filesystem)
    if reason:
        pytest.skip(f"no block engine: {reason}")


def start_tree(name: str) -> Tree:
    """Return what the pattern ``name`` starts from."""
    return tree_from(pattern.start(name))


def tree_from(files: Mapping[str, bytes | None]) -> Tree:
    """Return a tree of contents by path, ``None`` for a directory."""
    nodes: dict[int, Node] = {
        number: Directory() if data is None else File(content_of(data))
        for number, data in enumerate(files.values(), 1)
    }
    return build_tree({path: number for number, path in enumerate(files, 1)}, nodes)


def pattern_spec(name: str, workspace: Workspace) -> RunSpec:
    """Return the run of a pattern in a workspace."""
    return RunSpec(
        argv=(real_python(), "-ISE", PATTERN, name, workspace.root),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(),
        start=start_tree(name),
    )


def loops_of(pid: int) -> list[str]:
    """Return the backing files of loop devices that the process ``pid`` asked for."""
    found = []
    for device in Path("/sys/block").glob("loop*"):
        try:
            backing = (device / "loop" / "backing_file").read_text().strip()
        except OSError:
            continue
        if f"tornwrite-disk-{pid}-" in backing or f"tornwrite-cut-{pid}" in backing:
            found.append(backing)
    return found


def loops_left(pid: int, within_s: float) -> list[str]:
    """Wait until :func:`loops_of` is empty, at most so long; return what is left."""
    end = time.monotonic() + within_s
    while (left := loops_of(pid)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(str(tmp_path / "workspace"))
    yield made
    made.remove()


@pytest.fixture
def recorded(workspace: Workspace) -> Callable[..., DiskRecording]:
    """Record a pattern on a disk."""

    def run(
        name: str, filesystem: str, commit: Commit = "end", options: str = "", slow: Slow | None = None
    ) -> DiskRecording:
        require(filesystem)
        done = record_on_disk(pattern_spec(name, workspace), filesystem, options, commit, slow=slow)
        assert done.recording.exit_code == 0, done.recording.stderr_tail
        assert not done.recording.differences
        return done

    return run
