"""Many threads: every run's trace replays to the tree on disk. 108 runs under ``--evidence``, else a few."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.run import Limits, Recording
from harness.sandbox.environment import real_node, real_python

Run = Callable[..., Recording]

pytestmark = pytest.mark.real

IDIOMS = os.path.join(os.path.dirname(__file__), "..", "idioms")
WRITERS = os.path.join(os.path.dirname(__file__), "writers")
ALL_RUNS, A_FEW = 54, 3


def check(recording: Recording, threads: int) -> None:
    assert recording.ending == "exited" and recording.exit_code == 0, recording.stderr_tail
    assert recording.differences == ()
    assert recording.trace is not None and recording.trace.unseen == ()
    assert len({(actor.process, actor.thread) for actor in recording.trace.actors}) >= threads


def test_eight_python_threads(traced: Run, evidence: bool) -> None:
    for _ in range(ALL_RUNS if evidence else A_FEW):
        check(traced(real_python(), "-ISE", os.path.join(IDIOMS, "process_idioms.py"), "threads", "{dir}"), 8)


def test_node_promise_all(traced: Run, evidence: bool) -> None:
    node = real_node()
    if node is None:
        pytest.skip("no node")
    for _ in range(ALL_RUNS if evidence else A_FEW):
        check(traced(node, os.path.join(IDIOMS, "node_idioms.cjs"), "promise_all", "{dir}"), 4)


def test_a_crowd_is_served_in_order_of_arrival(traced: Run) -> None:
    crowd = "for n in 1 2 3 4 5 6; do (while :; do echo $n >> {dir}/f$n; done) & done; wait"
    recording = traced("/bin/sh", "-c", crowd, limits=Limits(timeout_s=1.5), verify=False)
    assert recording.trace is not None and recording.ending == "timeout"
    actors = recording.trace.actors
    made = Counter(actors[op.actor].process for op in recording.trace.operations)
    assert len(made) == 6
    assert min(made.values()) * 10 > max(made.values()), made


def test_a_crowd_that_is_replaced_in_mid_operation(traced: Run, tmp_path: Path, evidence: bool) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    program = str(tmp_path / "crowd")
    subprocess.run([compiler, "-O1", "-pthread", "-o", program, os.path.join(WRITERS, "crowd.c")], check=True)
    for _ in range(200 if evidence else 10):
        check(traced(program, "{dir}"), 2)
