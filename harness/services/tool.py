"""One tool of a scenario, as a program: takes its time, says its result, ends. ``gate.py`` starts or forks it.

Arguments: seed, id, characters of the result, milliseconds. Site-packages are not there, and need not be. It ends at
once when its standard input does, so no tool outlives what started it.
"""

from __future__ import annotations

import functools
import os
import select
import sys
import time

if __name__ == "__main__":
    _STARTED = time.monotonic()
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from harness.core.derived import words


def _sleep(until: float) -> bool:
    """Sleep until a ``time.monotonic()`` moment; false where standard input ended before it."""
    left = max(0.0, until - time.monotonic())
    if os.name == "nt":  # pipes cannot be polled there: the service kills its tools itself
        time.sleep(left)
        return True
    return not select.select([0], [], [], left)[0]


@functools.lru_cache(maxsize=64)
def result(seed: str, tool_id: str, size: str) -> bytes:
    """Return what a tool says. Who forks tools has derived it before, once for all runs."""
    return words(int(seed), tool_id, int(size)).encode("utf-8")


def main(arguments: list[str], started: float = 0.0) -> int:
    """Run the tool, which began at a ``time.monotonic()`` moment (0: now); return its exit code."""
    started = started or time.monotonic()
    *what, duration_ms = arguments
    said = result(*what)
    if not _sleep(started + int(duration_ms) / 1000):
        return 1
    with open(1, "wb", closefd=False) as stream:  # not sys.stdout: in a fork somebody else may have held that
        stream.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], _STARTED))
