"""Many threads: every run's trace replays to the tree on disk. 108 runs under ``--evidence``, else a few."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from harness.core.run import Recording
from harness.sandbox.environment import real_node, real_python

Run = Callable[..., Recording]

pytestmark = pytest.mark.real

IDIOMS = os.path.join(os.path.dirname(__file__), "..", "idioms")
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
