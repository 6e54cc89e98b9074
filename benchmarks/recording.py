"""What recording costs: 200 and 2,000 open-append-close of 1 KiB, plain, under strace and under the ptrace engine.

``python -m benchmarks.recording [--repeat N] [--json]``. The three kinds of run alternate, so that load on the
machine meets all of them; medians are printed. strace traces the same system calls, with data (``-s 65536``) and
its own seccomp filter. The engine's self-check is printed apart. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from harness.core.run import Recording, RunSpec
from harness.engines import engine
from harness.engines.ptrace.abi import SYSCALLS
from harness.sandbox.environment import real_node, real_python
from harness.sandbox.workspace import Workspace, prepare

MOST_TIMES_STRACE = 1.2
MOST_US_PER_OPERATION = 250.0

_PYTHON = """
import sys
directory, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    with open(f"{directory}/log", "ab", buffering=0) as stream:
        stream.write(b"x" * 1024)
"""
_NODE = """
const fs = require('fs');
const [directory, count] = [process.argv[1], Number(process.argv[2])];
const data = Buffer.alloc(1024, 'x');
for (let number = 0; number < count; number++) fs.appendFileSync(`${directory}/log`, data);
"""
_NODE_ASYNC = """
const fs = require('fs');
const [directory, count] = [process.argv[1], Number(process.argv[2])];
const data = Buffer.alloc(1024, 'x');
(async () => {
  for (let number = 0; number < count; number++) await fs.promises.appendFile(`${directory}/log`, data);
})();
"""
# strace cannot filter by argument, so it is spared the calls of which the engine's filter stops only a few.
_NOT_OF_STRACE = frozenset(
    (
        "exit_group",
        "execve",
        "execveat",
        "clone",
        "clone3",
        "fork",
        "vfork",
        "unshare",
        "ioctl",
        "fcntl",
        "mmap",
        "kill",
    )
)


class Row(NamedTuple):
    """The medians of one program at one size, in milliseconds."""

    program: str
    count: int
    plain_ms: float
    strace_ms: float | None
    engine_ms: float
    verify_ms: float
    operations: int

    @property
    def us_per_operation(self) -> float:
        """What recording adds to the plain run, per recorded operation."""
        return max(0.0, self.engine_ms - self.plain_ms) * 1000 / self.operations

    @property
    def times_strace(self) -> float | None:
        """The engine's wall time as a multiple of strace's."""
        return None if self.strace_ms is None else self.engine_ms / self.strace_ms

    @property
    def missed(self) -> bool:
        """Whether a bar is missed."""
        return (
            self.times_strace is None  # without strace nothing was measured against it
            or self.times_strace > MOST_TIMES_STRACE
            or self.us_per_operation > MOST_US_PER_OPERATION
        )


def _timed(spec: RunSpec, prefix: tuple[str, ...] = ()) -> float:
    prepare(spec)
    begun = time.perf_counter()
    subprocess.run([*prefix, *spec.argv], cwd=spec.cwd, env=dict(spec.environment), check=True, timeout=120)
    return (time.perf_counter() - begun) * 1000


def _recorded(spec: RunSpec) -> tuple[float, Recording]:
    recording = engine("ptrace").run(spec)
    if recording.differences or recording.exit_code != 0:
        raise SystemExit(f"the recording is broken: {recording.differences} {recording.stderr_tail!r}")
    return recording.wall_ms, recording


def _strace(output: str) -> tuple[str, ...]:
    path = shutil.which("strace")
    if path is None:
        return ()
    calls = ",".join(f"?{name}" for name in SYSCALLS if name not in _NOT_OF_STRACE)
    return (path, "-f", "--seccomp-bpf", "-s", "65536", "-o", output, "-e", f"trace={calls}")


def measure(name: str, argv: tuple[str, ...], count: int, repeat: int, base: str) -> Row:
    """Return the medians of ``repeat`` rounds of the program at ``count`` operations."""
    workspace = Workspace(os.path.join(base, "workspace"))
    spec = RunSpec(
        argv=(*argv, workspace.root, str(count)),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(),
    )
    strace = _strace(os.path.join(base, "strace.out"))
    plain, under_strace, under_engine, verify = [], [], [], []
    operations = 0
    for _ in range(repeat):
        plain.append(_timed(spec))
        if strace:
            under_strace.append(_timed(spec, strace))
        wall_ms, recording = _recorded(spec)
        under_engine.append(wall_ms)
        verify.append(recording.verify_ms)
        assert recording.trace is not None
        operations = len(recording.trace.operations)
    return Row(
        program=name,
        count=count,
        plain_ms=statistics.median(plain),
        strace_ms=statistics.median(under_strace) if under_strace else None,
        engine_ms=statistics.median(under_engine),
        verify_ms=statistics.median(verify),
        operations=operations,
    )


def _programs() -> list[tuple[str, tuple[str, ...]]]:
    programs = [("python", (real_python(), "-ISE", "-c", _PYTHON))]
    node = real_node()
    if node is None:
        print("missed: not measured: no node here")
    else:
        programs += [("node sync", (node, "-e", _NODE)), ("node async", (node, "-e", _NODE_ASYNC))]
    return programs


def _print(rows: list[Row], show: Callable[[str], None]) -> None:
    show(
        f"{'program':<11}{'count':>6}{'plain ms':>10}{'strace ms':>11}{'engine ms':>11}{'/plain':>8}{'/strace':>9}"
        f"{'ops':>7}{'us/op':>8}{'check ms':>10}"
    )
    for row in rows:
        strace = "-" if row.strace_ms is None else f"{row.strace_ms:.0f}"
        ratio = "-" if row.times_strace is None else f"{row.times_strace:.2f}"
        show(
            f"{row.program:<11}{row.count:>6}{row.plain_ms:>10.0f}{strace:>11}{row.engine_ms:>11.0f}"
            f"{row.engine_ms / row.plain_ms:>8.2f}{ratio:>9}{row.operations:>7}{row.us_per_operation:>8.0f}"
            f"{row.verify_ms:>10.1f}{'  MISSED' if row.missed else ''}"
        )


def main() -> int:
    """Measure, print, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reason = engine("ptrace").available()
    if reason:
        print(f"missed: not measured: {reason}")
        return 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="recording-") as base:
        for name, argv in _programs():
            for count in (200, 2000):
                rows.append(measure(name, argv, count, options.repeat, os.path.realpath(base)))
    if options.json:
        print(json.dumps([{**row._asdict(), "us_per_operation": row.us_per_operation} for row in rows]))
    else:
        load = os.getloadavg()[0]
        print(f"load {load:.1f}; bars: at most {MOST_TIMES_STRACE} x strace, {MOST_US_PER_OPERATION:.0f} us/op")
        _print(rows, print)
    return int(any(row.missed for row in rows) or real_node() is None)


if __name__ == "__main__":
    sys.exit(main())
