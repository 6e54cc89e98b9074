"""Distinct power-loss states judged per CPU-second, and what a long run costs.

The append/rename writer of :mod:`benchmarks.states` is explored under three profiles and judged by the B and M checks;
every round starts with cold caches, and the best round counts (a shared machine only takes away). The second figure:
1,000 operations of which 200 are never synced, under the weakest profile.

    python -m benchmarks.power
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.states import INVARIANTS, bindings, writer
from harness.catalog.profiles import load_profile
from harness.checks import Expectation, Judge
from harness.checks.expectation import forget_ids
from harness.core.trace import Trace
from harness.explore.power.exploration import PowerExploration, explore_power
from harness.explore.script import Script

PROFILES = ("posix", "ext4", "xfs")
UPDATES = 16
ROUNDS = 15
BAR_STATES = 20_000
BAR_LONG_S = 60.0
UNSYNCED = 200
OPERATIONS = 1_000


def long_run() -> Trace:
    """Return a run of 1,000 operations: 200 appends that no fsync covers, among updates that are durable."""
    script = Script()
    log = script.open("log.jsonl", append=True)
    number = 0
    while len(script.trace().operations) < OPERATIONS:
        number += 1
        if number <= UNSYNCED:
            script.write(log, b'{"i":%d,"pad":"%s"}\n' % (number, b"x" * 40))
        fd = script.open("other.json")
        script.write(fd, b'{"n":%d}\n' % number, at=0)
        script.fsync(fd)
        script.close(fd)
    return script.trace()


def explored(trace: Trace, profile: str) -> tuple[PowerExploration, float]:
    """Explore and judge once, cold; return what was found and the CPU seconds."""
    forget_ids()
    bound = bindings("healed")
    started = time.process_time()
    judge = Judge(bound, Expectation.from_trace(trace, bound), INVARIANTS)
    found = explore_power(trace, load_profile(profile), judge.judge)
    return found, time.process_time() - started


def main() -> int:
    """Print the figures; exit 0 if the bars hold."""
    ok = True
    trace = writer(UPDATES)
    for profile in PROFILES:
        runs = [explored(trace, profile) for _ in range(ROUNDS)]
        rates = [found.distinct / spent for found, spent in runs]
        ok = ok and max(rates) >= BAR_STATES
        figures = {
            "profile": profile,
            "operations": len(trace.operations),
            "enumerated": runs[0][0].enumerated,
            "distinct": runs[0][0].distinct,
            "distinct_per_cpu_s": round(max(rates)),
            "mean": round(sum(rates) / len(rates)),
        }
        print(json.dumps(figures))
    trace = long_run()
    found, spent = explored(trace, "posix")
    ok = ok and spent <= BAR_LONG_S
    figures = {"operations": len(trace.operations), "unsynced": UNSYNCED, "distinct": found.distinct}
    print(json.dumps(figures | {"cpu_s": round(spent, 1)}))
    print("bars hold" if ok else f"a bar is missed: {BAR_STATES:,} states/CPU-s, {BAR_LONG_S:.0f} CPU-s")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
