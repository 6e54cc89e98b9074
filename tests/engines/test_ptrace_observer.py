"""Who observes a run is told of every operation while its thread waits."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from harness.core.operation import Close, Rename, Write
from harness.core.run import Recording, RunSpec
from harness.engines.base import EngineError
from harness.engines.ptrace.engine import PtraceEngine
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace

pytestmark = pytest.mark.real

PROGRAM = """
import os, sys, threading
os.chdir(sys.argv[1])
def save(name):
    for number in range(3):
        with open(name, "ab", buffering=0) as stream:
            stream.write(b"%d" % number)
    os.rename(name, name + ".done")
threads = [threading.Thread(target=save, args=(name,)) for name in ("a", "b")]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.write(1, b"ACK 1\\nACK 2\\n")
"""


class Noting:
    """Notes what is on disk whenever it is told something."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.seen: list[tuple[int, dict[str, int]]] = []

    def look(self) -> dict[str, int]:
        return {name: os.stat(os.path.join(self.root, name)).st_size for name in os.listdir(self.root)}

    def prepared(self) -> None:
        self.seen.append((-1, self.look()))

    def recorded(self, count: int) -> None:
        self.seen.append((count, self.look()))


def spec_of(workspace: Workspace) -> RunSpec:
    return RunSpec(
        argv=(real_python(), "-ISE", "-c", PROGRAM, workspace.root),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(),
    )


def test_the_disk_is_as_the_trace_says_at_every_call(bench: Workspace, traced: Callable[..., Recording]) -> None:
    del traced  # skips where there is no ptrace
    with open(os.path.join(bench.root, "left over"), "x", encoding="ascii"):
        pass
    noting = Noting(bench.root)
    trace = PtraceEngine().run(spec_of(bench), observer=noting).trace
    assert trace is not None
    assert noting.seen[0] == (-1, {}), "the start tree is there, and nothing else"
    counts = [count for count, _ in noting.seen[1:]]
    assert counts == sorted(set(counts)) and counts[-1] == len(trace.operations)
    assert set(range(1, len(trace.operations) + 1)) - set(counts) == {counts[-1] - 1}, "two in one write: once"
    sizes: dict[str, int] = {}
    names: dict[int, str] = {}
    done = dict(noting.seen[1:])
    for number, op in enumerate(trace.operations, 1):
        if hasattr(op, "path") and hasattr(op, "fd"):
            names[op.ino] = op.path
            sizes.setdefault(op.path, 0)
        if isinstance(op, Write):
            sizes[names[op.ino]] += len(op.data)
        if isinstance(op, Rename):
            sizes[op.to] = sizes.pop(op.path)
        if number in done and not isinstance(op, Close):
            assert done[number] == sizes, f"after operation {number}: {op}"


def test_what_an_observer_raises_ends_the_run(bench: Workspace, traced: Callable[..., Recording]) -> None:
    del traced

    class Refusing(Noting):
        def recorded(self, count: int) -> None:
            raise EngineError(f"no more than {count}")

    with pytest.raises(EngineError, match="no more than 1"):
        PtraceEngine().run(spec_of(bench), observer=Refusing(bench.root))
    assert os.listdir(bench.root) == [name for name in ("a", "b") if name in os.listdir(bench.root)][:1]
