"""What the plugin adds to every start of pytest: an empty test file with it and without it, side by side.

``python -m benchmarks.plugin_start [--repeat N] [--json]``. The two kinds of run alternate; medians and minima of
processor time are printed: wall time belongs to the machine's other work. Beside them the imports that the plugin
makes, as ``python -X importtime`` tells, and how long reading the list of installed files takes, which pytest does for
the distribution of every plugin. Exit code 1 if the bar is missed by the difference of the minima: other work on the
machine only ever adds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from pathlib import Path

MOST_MS = 20.0
INSTALLED = bool(entry_points(group="pytest11", name="tornwrite"))
WITH = () if INSTALLED else ("-p", "harness.pytest_plugin")
WITHOUT = ("-p", "no:tornwrite") if INSTALLED else ()


def _start(directory: str, words: tuple[str, ...]) -> tuple[float, float]:
    """Return the processor and wall milliseconds of one pytest."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, "test_empty.py"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, env=_environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu * 1e3, (time.monotonic() - begun) * 1e3


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}


def _imports(directory: str) -> tuple[list[str], float]:
    """Return what the plugin imports beyond pytest, and the milliseconds that this takes."""
    code = "import pytest, sys; before = set(sys.modules); import harness.pytest_plugin; "
    code += "print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, env=_environment())
    names = done.stdout.split()
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    spent = sum(int(row[0]) for row in rows if row[2].strip() in names)
    return names, spent / 1e3


def _listing_ms() -> float:
    """Return how long the list of the distribution's files takes to read; 0 where it is not installed."""
    try:
        found = distribution("tornwrite")
    except PackageNotFoundError:
        return 0.0
    begun = time.process_time()
    for file in found.files or ():
        str(file)
    return (time.process_time() - begun) * 1e3


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_empty.py").write_text("def test_nothing(): pass\n", encoding="ascii")
        runs: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
        for number in range(asked.repeat + 1):
            for kind, words in (("with", WITH), ("without", WITHOUT)):
                figures = _start(directory, words)
                if number:  # the first of each fills caches
                    runs[kind].append(figures)
        names, import_ms = _imports(directory)
    cpu = {kind: [item[0] for item in each] for kind, each in runs.items()}
    added = min(cpu["with"]) - min(cpu["without"])  # other work on the machine only ever adds
    result = {
        "cpu_ms": {kind: statistics.median(each) for kind, each in cpu.items()},
        "cpu_min_ms": {kind: min(each) for kind, each in cpu.items()},
        "wall_ms": {kind: statistics.median(item[1] for item in each) for kind, each in runs.items()},
        "added_cpu_ms": added,
        "imports": names,
        "import_ms": import_ms,
        "listing_ms": _listing_ms(),
        "bar_ms": MOST_MS,
    }
    if asked.json:
        print(json.dumps(result))
    else:
        for kind, each in cpu.items():
            print(f"{kind:8} {statistics.median(each):7.1f} ms of processor, at least {min(each):7.1f} ms")
        print(f"added    {added:7.1f} ms (bar: {MOST_MS:g} ms); imports {', '.join(names)} in {import_ms:.1f} ms")
        print(f"list of installed files: {result['listing_ms']:.1f} ms")
    return int(added > MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
