"""What the audit calls redundant is left out of the real writer, and real file systems are cut: nothing is violated.

And the other way round: a barrier that it calls load-bearing on a file system is left out, and cuts show the loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.campaign.advising import audit_for
from harness.campaign.work import Judged, expectation_for, judge_for, run_once
from harness.catalog.profiles import load_profiles
from harness.core.advice import Audit
from harness.core.operation import Sync
from harness.core.run import RunSpec
from harness.core.trace import Trace
from harness.core.verdict import Violation
from harness.engines import engine
from harness.engines.block import observe, record_on_disk
from tests.block.conftest import require
from tests.targets.plain_run import Bench

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
SKIPPING = str(Path(__file__).parent / "without_syncs.py")
WORK: dict[str, Any] = {"sessions": 1, "updates": 2, "record_bytes": (60, 900)}
FILE_SYSTEMS = ("ext4", "xfs", "btrfs") if os.environ.get("TORNWRITE_EVIDENCE") else ("ext4",)
Make = Callable[..., Bench]


def judged_of(writer: Bench) -> Judged:
    return Judged(bindings=tuple(writer.subject.bindings), inferred=False, masked=False, invariants=frozenset())


def recorded(writer: Bench) -> Trace:
    recording = run_once("ptrace", writer.subject.spec)
    assert recording.trace is not None
    return recording.trace


def audited(writer: Bench, trace: Trace) -> Audit:
    return audit_for(trace, judged_of(writer), load_profiles(["all"]))


def calls_of(trace: Trace, operations: Sequence[int]) -> list[int]:
    """Return which calls of fsync, from 1, these operations are."""
    syncs = [op.seq for op in trace.operations if isinstance(op, Sync)]
    return [syncs.index(seq) + 1 for seq in operations]


def without(spec: RunSpec, calls: Sequence[int]) -> RunSpec:
    """Return the run of the same Python program with these calls of fsync left out."""
    script = next(index for index, word in enumerate(spec.argv) if word.endswith(".py"))
    numbers = ",".join(map(str, calls))
    argv = (*spec.argv[:script], SKIPPING, numbers, *spec.argv[script:])
    return msgspec.structs.replace(spec, argv=argv)


def seen(writer: Bench, spec: RunSpec, filesystem: str) -> tuple[int, list[Violation]]:
    """Return how many cuts were judged on a file system, and what they violate."""
    cuts, found = 0, []
    for commit in ("end", "each"):
        disk = record_on_disk(spec, filesystem, "", commit)  # type: ignore[arg-type]
        assert disk.recording.exit_code == 0, disk.recording.stderr_tail
        judge = judge_for(expectation_for(disk.recording, judged_of(writer)), judged_of(writer))
        for state in observe(disk):
            if state.tree is not None:
                cuts += 1
                violations = judge.judge(state.tree, state.acked, "power")
                found += [item for item in violations if item.severity == "violation"]
    return cuts, found


@pytest.mark.parametrize("name", ["reference/durable", "sessions_index/durable"])
def test_what_is_redundant_is_not_missed_on_real_file_systems(bench: Make, name: str) -> None:
    require("ext4")
    writer = bench(name, 1, **WORK)
    trace = recorded(writer)
    redundant = [
        seq
        for barrier in audited(writer, trace).barriers
        if not barrier.load_bearing and barrier.kind.startswith("fsync")
        for seq in barrier.operations
    ]
    assert redundant, "nothing is redundant: another writer is needed for this test"
    spec = without(writer.subject.spec, calls_of(trace, redundant))
    left = run_once("ptrace", spec).trace
    assert left is not None
    assert len([op for op in left.operations if isinstance(op, Sync)]) == len(
        [op for op in trace.operations if isinstance(op, Sync)]
    ) - len(redundant)
    for filesystem in FILE_SYSTEMS:
        require(filesystem)
        cuts, found = seen(writer, spec, filesystem)
        assert cuts > 20
        assert found == [], filesystem


def test_what_is_load_bearing_is_missed(bench: Make) -> None:
    require("ext4")
    writer = bench("reference/durable", 1, **WORK)
    trace = recorded(writer)
    syncs = [op.seq for op in trace.operations if isinstance(op, Sync)]
    for filesystem in FILE_SYSTEMS:
        require(filesystem)
        assert seen(writer, without(writer.subject.spec, calls_of(trace, syncs)), filesystem)[1], filesystem
