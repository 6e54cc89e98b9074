"""Power cuts per second: disks made, mounted (the journal replays), read and unmounted, on one core.

The writer replaces a file without an fsync and the journal is committed after each operation. Beside the rate: what
the recording costs, against the same run traced without a recorded disk. Needs root and Linux; where the block
engine does not work, that is said and nothing is missed.

    python -m benchmarks.cuts
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from typing import NamedTuple

from harness.core.content import content_of
from harness.core.run import RunSpec
from harness.core.tree import File, build_tree
from harness.engines import engine
from harness.engines.block import FILESYSTEMS, DiskRecording, observe, record_on_disk, why_not_available
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace

BAR_EXT4_CUTS_PER_S = 200.0
MINIMUM_S = 2.0
RECORDINGS = 5
_WRITER = """
import os, sys
os.chdir(sys.argv[1])
for number in range(3):
    with open("f.tmp", "wb") as stream:
        stream.write(b"%d" % number * 20_000)
    os.rename("f.tmp", "f")
    os.write(1, b"ACK %d\\n" % number)
"""


class Row(NamedTuple):
    """One file system: cuts per second of its best round, of all rounds, per CPU second; ms per recording and trace.

    The bar is for the best round: the mean says as much about the neighbours on the machine. CPU seconds are those
    of the processes; the kernel's own threads (loop device, journal) are not in them.
    """

    filesystem: str
    cuts: int
    best_per_s: float
    per_s: float
    per_cpu_s: float
    recording_ms: float
    traced_ms: float


def spec_of(workspace: Workspace) -> RunSpec:
    """Return the run of the writer."""
    return RunSpec(
        argv=(real_python(), "-ISE", "-c", _WRITER, workspace.root),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(),
        start=build_tree({"f": 1}, {1: File(content_of(b"o" * 10_000))}),
    )


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in usage)


def _best_ms(runs: int, run: object) -> float:
    assert callable(run)
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times) * 1000


def measure(filesystem: str, workspace: Workspace) -> Row:
    """Measure one file system, which must be available."""
    spec = spec_of(workspace)
    done: list[DiskRecording] = []
    recording_ms = _best_ms(RECORDINGS, lambda: done.append(record_on_disk(spec, filesystem, commit="each")))
    traced_ms = _best_ms(RECORDINGS, lambda: engine("ptrace").run(spec))
    begun, cpu, cuts, best = time.perf_counter(), _cpu_s(), 0, 0.0
    while (wall := time.perf_counter() - begun) < MINIMUM_S:
        found = sum(1 for _ in observe(done[-1], seed=cuts))
        cuts, best = cuts + found, max(best, found / (time.perf_counter() - begun - wall))
    return Row(filesystem, cuts, best, cuts / wall, cuts / (_cpu_s() - cpu), recording_ms, traced_ms)


def main() -> int:
    """Print a row per file system; exit 1 if ext4 misses its bar."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and all that it starts
    print(f"load {os.getloadavg()[0]:.1f}; bar: ext4 at least {BAR_EXT4_CUTS_PER_S:.0f} cuts/s on one core")
    print(
        f"{'fs':<7}{'cuts':>7}{'best/s':>9}{'mean/s':>9}{'/CPU-s':>9}{'record ms':>11}{'trace ms':>10}{'ratio':>7}"
    )
    missed = False
    with tempfile.TemporaryDirectory(prefix="cuts-") as base:
        workspace = Workspace(os.path.join(os.path.realpath(base), "workspace"))
        for filesystem in FILESYSTEMS:
            reason = why_not_available(filesystem)
            if reason:
                print(f"{filesystem:<7}not measured: {reason}")
                continue
            row = measure(filesystem, workspace)
            slow = filesystem == "ext4" and row.best_per_s < BAR_EXT4_CUTS_PER_S
            missed = missed or slow
            print(
                f"{row.filesystem:<7}{row.cuts:>7}{row.best_per_s:>9.0f}{row.per_s:>9.0f}{row.per_cpu_s:>9.0f}"
                f"{row.recording_ms:>11.0f}{row.traced_ms:>10.0f}{row.recording_ms / row.traced_ms:>7.1f}"
                f"{'  MISSED' if slow else ''}"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
