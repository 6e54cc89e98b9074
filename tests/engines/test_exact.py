"""A kill strikes exactly where it was asked to, under each engine: before, inside and after every operation.

The expected tree comes from the null run's trace; the found one from the disk after the death of the process. All
trials run under ``--evidence``; else every eleventh does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from harness.core.apply import apply
from harness.core.fault import CrashPoint, Errno, FaultPlan, Kill, Short
from harness.core.operation import AnyOperation, Write
from harness.core.point import at_phase, crash_points, is_strikeable
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.sandbox.environment import real_node, real_python

Run = Callable[..., Recording]

WRITERS = os.path.join(os.path.dirname(__file__), "writers")
SLICE = 11
LEAST_TRIALS = {"append.py": 82, "replace.py": 90, "registry.cjs": 165, "promises.cjs": 120, "vectors.c": 106}
"""Trials per writer under ``--evidence``."""

pytestmark = pytest.mark.real


class Trial(NamedTuple):
    at: CrashPoint
    op: AnyOperation
    expected: Tree


def command(name: str, request: pytest.FixtureRequest) -> tuple[str, ...]:
    source = os.path.join(WRITERS, name)
    if name.endswith(".py"):
        return (real_python(), "-ISE", source, "{dir}")
    if name.endswith(".c"):
        if "shim" in request.node.name:
            pytest.skip("a static program is none that the shim can be in")
        return (request.getfixturevalue("static_writer"), "{dir}")
    node = real_node()
    if node is None:
        pytest.skip("no node")
    return (node, source, "{dir}")


def trees_before(trace: Trace) -> Iterator[Tree]:
    tree = trace.start
    for op in trace.operations:
        yield tree
        tree = apply(tree, op)


def cuts(op: Write) -> set[int]:
    size = len(op.data)
    to_the_page = 4096 - op.offset % 4096
    return {cut for cut in (1, size // 3, size // 2, size - 1, to_the_page) if 0 < cut < size}


def trials(trace: Trace) -> Iterator[Trial]:
    befores = list(trees_before(trace))
    for op, before, point in zip(trace.operations, befores, crash_points(trace, iter(befores)), strict=True):
        if point is None:
            continue
        yield Trial(point, op, before)
        yield Trial(at_phase(point, "after"), op, apply(before, op))
        if isinstance(op, Write) and not op.error:
            for cut in sorted(cuts(op)):
                torn = Write(seq=op.seq, ino=op.ino, offset=op.offset, data=op.data[:cut])
                yield Trial(at_phase(point, "torn", cut), op, apply(before, torn))


def sizes(tree: Tree) -> dict[str, int]:
    return {path: file.content.size for path, file in tree.files()}


def test_there_are_enough_trials() -> None:
    assert sum(LEAST_TRIALS.values()) >= 500 and len(LEAST_TRIALS) >= 5


@pytest.mark.parametrize("name", LEAST_TRIALS)
def test_kill_is_exact_at_every_operation(
    watched: Run, evidence: bool, request: pytest.FixtureRequest, name: str
) -> None:
    argv = command(name, request)
    null = watched(*argv)
    assert null.trace is not None and null.exit_code == 0 and not null.differences
    struck = [op for op in null.trace.operations if is_strikeable(op)]
    wanted = list(trials(null.trace))
    assert len(wanted) >= 2 * len(struck)
    for trial in wanted if evidence else wanted[::SLICE]:
        died = watched(*argv, plan=FaultPlan(faults=(Kill(at=trial.at),)))
        where = f"{name}: {trial.at}"
        assert len(died.delivered) == 1, f"{where}: not delivered"
        proof = died.delivered[0]
        assert proof.fault == "kill" and proof.seq == trial.op.seq, where
        assert proof.operation is not None and proof.operation.kind == trial.op.kind, where
        if trial.at.actor == "p0":
            assert proof.pid == died.pid
        assert proof.returned == {"before": None, "torn": trial.at.bytes}.get(trial.at.phase, proof.returned), (
            where
        )
        assert died.signal == 9 and died.ending == "signalled", where
        assert died.differences == (), where
        assert sizes(died.final) == sizes(trial.expected), where
        assert died.final == trial.expected, where
        before = [op for op in null.trace.operations if op.seq < trial.op.seq and op.kind == "ack"]
        assert len(died.acks) == len(before), where
    assert len(wanted) >= LEAST_TRIALS[name], "the writer has shrunk"


@pytest.mark.parametrize("name", LEAST_TRIALS)
def test_short_writes_are_exact_and_the_program_goes_on(
    watched: Run, evidence: bool, request: pytest.FixtureRequest, name: str
) -> None:
    argv = command(name, request)
    null = watched(*argv)
    assert null.trace is not None
    torn = [trial for trial in trials(null.trace) if trial.at.phase == "torn"]
    for trial in torn[:: 5 if evidence else 25]:
        run = watched(*argv, plan=FaultPlan(faults=(Short(at=trial.at),)))
        proof = run.delivered[0]
        assert (proof.fault, proof.returned) == ("short", trial.at.bytes)
        assert isinstance(proof.operation, Write) and len(proof.operation.data) == trial.at.bytes
        if trial.op.syscall in ("write", "writev", "pwrite64", "pwritev"):
            assert len(proof.operation.requested) == len(trial.op.data)
        assert run.ending == "exited" and run.differences == ()
        killed = watched(*argv, plan=FaultPlan(faults=(Short(at=trial.at, kill=True),)))
        assert killed.signal == 9 and killed.final == trial.expected


def test_a_short_write_leaves_registers_and_vectors_as_they_were(traced: Run, raw_writer: str) -> None:
    for occurrence in (1, 2):
        at = CrashPoint(operation="write", role="raw", occurrence=occurrence, phase="torn", bytes=3)
        run = traced(raw_writer, "{dir}", plan=FaultPlan(faults=(Short(at=at),)))
        assert [proof.returned for proof in run.delivered] == [3]
        assert run.exit_code == 0 and run.differences == ()


def test_an_errno_has_no_effect_on_the_tree(watched: Run) -> None:
    argv = (real_python(), "-ISE", os.path.join(WRITERS, "replace.py"), "{dir}")
    null = watched(*argv)
    assert null.trace is not None
    wanted = [trial for trial in trials(null.trace) if trial.at.phase == "before"]
    for trial in wanted[::5]:
        run = watched(*argv, plan=FaultPlan(faults=(Errno(at=trial.at, errno=5),)))
        assert [proof.returned for proof in run.delivered] == [-5]
        assert run.trace is not None and run.trace.operations[trial.op.seq].error == 5
        assert run.differences == () and run.ending == "exited"
        assert sum(1 for op in run.trace.operations if op.error == 5) == 1


def test_a_full_disk_stays_full(traced: Run) -> None:
    program = """
import os, sys
os.chdir(sys.argv[1])
for number in range(5):
    for attempt in (lambda: open(f"f{number}", "x").close(), lambda: os.mkdir(f"d{number}"),
                    lambda: os.symlink("x", f"l{number}"), lambda: open("old", "a").close(),
                    lambda: os.unlink(f"u{number}"), lambda: os.rename("old", "old")):
        try: attempt()
        except OSError as error: print(number, error.errno)
"""
    setup = "for n in 0 1 2 3 4; do : > {dir}/u$n; done; : > {dir}/old; "
    at = CrashPoint(operation="mkdir", role="d<n>", occurrence=3)
    plan = FaultPlan(faults=(Errno(at=at, errno=28, persistent=True),))
    run = traced("/bin/sh", "-c", setup + 'exec "$0" -ISE -c "$1" {dir}', real_python(), program, plan=plan)
    assert run.exit_code == 0, run.stderr_tail
    assert run.stdout_tail.split() == b"2 28 2 28 3 28 3 28 3 28 4 28 4 28 4 28".split()
    assert sorted(run.final.names) == sorted(["old", "f0", "f1", "f2", "d0", "d1", "l0", "l1"])
    assert run.differences == () and len(run.delivered) == 1


def test_a_fault_that_is_never_reached_is_not_delivered(watched: Run) -> None:
    at = CrashPoint(operation="write", role="log", occurrence=1000)
    run = watched(
        real_python(), "-ISE", os.path.join(WRITERS, "append.py"), "{dir}", plan=FaultPlan(faults=(Kill(at=at),))
    )
    assert run.delivered == () and run.exit_code == 0 and run.signal is None


def test_survivors_of_a_killed_child_run_on(traced: Run) -> None:
    script = "(echo child > {dir}/child; echo more >> {dir}/child) ; sleep 0.1; echo parent > {dir}/parent"
    at = CrashPoint(operation="write", role="child", occurrence=1, actor="p1")
    all_die = traced("/bin/sh", "-c", script, plan=FaultPlan(faults=(Kill(at=at),)))
    assert all_die.signal == 9 and sorted(all_die.final.names) == ["child"]
    kill = Kill(at=at, victim="process", grace_ms=3000)
    run = traced("/bin/sh", "-c", script, plan=FaultPlan(faults=(kill,)))
    assert run.signal is None and run.exit_code == 0
    assert sorted(run.final.names) == ["child", "parent"]
    assert run.delivered[0].pid != run.pid and run.differences == ()
    brief = Kill(at=at, victim="process", grace_ms=1)
    assert "parent" not in traced("/bin/sh", "-c", script, plan=FaultPlan(faults=(brief,))).final.names
