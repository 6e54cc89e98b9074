"""Exact kills per second: forked from a preloaded Python, beside cold starts under the shim and under ptrace.

``python -m benchmarks.forkserver [--rounds N] [--versions N] [--json]``. A writer that saves a document (temporary
file, fsync, rename, acknowledgement; ``--versions`` times over) is killed before and after each of its operations, in
a workspace on tmpfs where there is one. Everything runs on one core, and the kinds alternate. Every trial is checked:
it died of signal 9 at its operation, and replaying its trace gives the tree on disk. Exit code 1 if the bar is missed,
by the time that passed or, where others use the core too, by the processor time that it took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time

from harness.core.apply import apply
from harness.core.fault import FaultPlan, Kill
from harness.core.point import at_phase, crash_points
from harness.core.run import Recording, RunSpec
from harness.core.trace import Trace
from harness.engines import engine
from harness.engines.shim.forking import ForkedEngine
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace

LEAST_TRIALS_PER_S = 150.0
KINDS = ("forked", "shim", "ptrace")

_WRITER = """
import json, os, sys
for version in range(int(sys.argv[2])):
    temporary = os.path.join(sys.argv[1], "doc.tmp")
    with open(temporary, "w") as stream:
        json.dump({"version": version, "rows": list(range(200))}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, os.path.join(sys.argv[1], "doc"))
    print("ACK", version, flush=True)
"""


def plans_of(trace: Trace) -> list[FaultPlan]:
    """Return a kill before and one after each operation."""
    trees, tree = [], trace.start
    for op in trace.operations:
        trees.append(tree)
        tree = apply(tree, op)
    points = [point for point in crash_points(trace, iter(trees)) if point is not None]
    return [
        FaultPlan(faults=(Kill(at=at_phase(point, phase)),)) for point in points for phase in ("before", "after")
    ]


def _cpu_s(server: int) -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(item.ru_utime + item.ru_stime for item in used)
    if server:
        with open(f"/proc/{server}/stat", encoding="ascii", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def _check(recording: Recording) -> None:
    if recording.signal != 9 or len(recording.delivered) != 1 or recording.differences:
        raise SystemExit(f"a trial was not an exact kill: {recording.ending} {recording.differences}")


def measure(spec: RunSpec, rounds: int) -> dict[str, dict[str, float]]:
    """Return trials, seconds and processor seconds of each kind."""
    kinds = [kind for kind in KINDS if not engine(kind).available()]
    null = engine("shim").run(spec)
    assert null.trace is not None
    plans = plans_of(null.trace)
    forked = engine("forked")
    assert isinstance(forked, ForkedEngine)
    forked.run(spec)  # starts the server: once per campaign, not per trial
    sums = {kind: {"trials": 0.0, "seconds": 0.0, "cpu_seconds": 0.0} for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            taken = plans * 4 if kind == "forked" else plans
            server = forked.server_pid if kind == "forked" else 0
            cpu, begun = _cpu_s(server), time.monotonic()
            for plan in taken:
                _check(engine(kind).run(spec, plan))
            into = sums[kind]
            into["seconds"] += time.monotonic() - begun
            into["cpu_seconds"] += _cpu_s(server) - cpu
            into["trials"] += len(taken)
    forked.close()
    return sums


def main() -> int:
    """Measure, print, and say whether the bar is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forkserver", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="how often all crash points are gone through")
    parser.add_argument("--versions", type=int, default=1, help="how often the document is saved")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    tempfile.tempdir = place
    with tempfile.TemporaryDirectory(dir=place) as directory:
        workspace = Workspace(os.path.join(directory, "workspace"))
        spec = RunSpec(
            argv=(real_python(), "-BEsS", "-c", _WRITER, workspace.root, str(arguments.versions)),
            root=workspace.root,
            cwd=workspace.cwd,
            environment=workspace.environment(),
        )
        sums = measure(spec, arguments.rounds)
    rates = {
        kind: (item["trials"] / item["seconds"], item["trials"] / item["cpu_seconds"])
        for kind, item in sums.items()
    }
    met = max(rates["forked"]) >= LEAST_TRIALS_PER_S
    if arguments.json:
        print(json.dumps({"load": os.getloadavg()[0], "rates": rates, "met": met}))
        return 0 if met else 1
    print(f"exact kills on one core, load {os.getloadavg()[0]:.1f}; per second, and per second of processor time")
    for kind, (wall, cpu) in rates.items():
        ratio = "" if kind == "forked" else f"   forked is {rates['forked'][1] / cpu:.1f} times as fast"
        print(f"  {kind:7} {wall:7.1f} {cpu:7.1f}{ratio}")
    print(f"bar: {LEAST_TRIALS_PER_S:.0f} forked: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
