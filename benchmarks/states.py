"""Distinct crash states judged per CPU-second, and how the cost of a state grows with the length of the run.

The writer appends a record to ``log.jsonl``, replaces ``state.json`` through a temporary file, and acknowledges.
Its kill and short states are explored and judged by the shipped B and M checks; every repetition starts with cold
caches (expectation, judge and contents are built anew, the line memo of the process is cleared).

    python -m benchmarks.states
"""

from __future__ import annotations

import json
import sys
import time

from harness.checks import Expectation, FileBinding, Judge
from harness.checks.expectation import forget_ids
from harness.core.trace import Trace
from harness.explore import explore
from harness.explore.script import Script

INVARIANTS = ("B1", "B2", "B3", "B4", "B5", "B6", "B8", "B9", "M1")
MINIMUM_CPU_S = 2.0
BAR_STATES = 30_000
BAR_GROWTH = 2.0


def bindings(torn_tail: str) -> tuple[FileBinding, ...]:
    """Return the bindings of the writer's two files."""
    return (
        FileBinding("log.jsonl", "log", id_key="i", torn_tail="healed" if torn_tail == "healed" else "violation"),
        FileBinding("state.json", "document", id_key="last"),
    )


def writer(updates: int) -> Trace:
    """Return the trace of the append and rename writer."""
    script = Script()
    log = script.open("log.jsonl", append=True)
    for number in range(1, updates + 1):
        script.write(log, b'{"i":%d,"pad":"%s"}\n' % (number, b"x" * 40))
        script.replace("state.json", b'{"last":%d}\n' % number)
        script.ack(number)
    return script.trace()


def once(trace: Trace, torn_tail: str) -> tuple[int, int, float]:
    """Explore and judge once, cold; return (enumerated, distinct, CPU seconds)."""
    forget_ids()
    bound = bindings(torn_tail)
    started = time.process_time()
    judge = Judge(bound, Expectation.from_trace(trace, bound), INVARIANTS)
    kill = explore(trace, "kill", judge.judge)
    short = explore(trace, "short", judge.judge)
    spent = time.process_time() - started
    return kill.enumerated + short.enumerated, kill.distinct + short.distinct, spent


def measure(updates: int, torn_tail: str, minimum_s: float) -> dict[str, float]:
    """Repeat until ``minimum_s`` CPU seconds were spent."""
    enumerated = distinct = rounds = 0
    spent = 0.0
    while rounds == 0 or spent < minimum_s:
        more, new, seconds = once(writer(updates), torn_tail)
        enumerated, distinct, spent, rounds = enumerated + more, distinct + new, spent + seconds, rounds + 1
    return {
        "updates": updates,
        "repetitions": rounds,
        "cpu_s": round(spent, 3),
        "enumerated": enumerated // rounds,
        "distinct": distinct // rounds,
        "distinct_per_cpu_s": round(distinct / spent),
        "us_per_distinct_state": round(spent / distinct * 1e6, 2),
    }


def main() -> int:
    """Print the figures; exit 0 if both bars hold for either way to treat a torn tail."""
    ok = True
    for torn_tail in ("healed", "violation"):
        rate = measure(32, torn_tail, MINIMUM_CPU_S)
        small = measure(8, torn_tail, 0.5)
        large = measure(512, torn_tail, 0.0)
        growth = large["us_per_distinct_state"] / small["us_per_distinct_state"]
        held = rate["distinct_per_cpu_s"] >= BAR_STATES and growth <= BAR_GROWTH
        ok = ok and held
        print(json.dumps({"torn_tail": torn_tail, **rate}))
        print(json.dumps({"torn_tail": torn_tail, **small}))
        print(json.dumps({"torn_tail": torn_tail, **large}))
        print(
            f"{'held' if held else 'MISSED'}: {rate['distinct_per_cpu_s']:.0f} distinct states per CPU-second "
            f"(bar {BAR_STATES}); cost at n=512 is {growth:.2f} of n=8 (bar {BAR_GROWTH:.1f})"
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
