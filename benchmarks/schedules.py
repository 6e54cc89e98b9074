"""Schedules per second of a session with three tools on one core: forked, as a search makes them, and started cold.

``python -m benchmarks.schedules [TARGET/VARIANT] [--rounds N] [--turns N …] [--json]``. The session is the one of
``scenarios/parallel_tools.toml``: each turn calls three tools; one turn is three, the scenario has three turns. Both
kinds alternate, under the same seeds, in a workspace on tmpfs where there is one; what is counted is the processor time
of everything: tracer, target, tool service, tools. Every order that a fork has followed is followed once more by a cold
start. Exit code 1 if the bar is missed for the first number of turns, by processor time and by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from typing import Any

import msgspec

from harness.campaign import work
from harness.campaign.work import run_once, set_up
from harness.catalog import compile_subject, select
from harness.catalog.scenario import load_scenario
from harness.catalog.schema import ManifestError
from harness.core.fault import FaultPlan
from harness.core.run import Recording, RunSpec
from harness.core.schedule import Search
from harness.engines import KeepingEngine, engine
from harness.sandbox.workspace import Workspace

LEAST_RATIO = 5.0
KINDS = ("ptrace-forked", "ptrace")
_FORKS_PER_COLD = 4


def spec_of(selector: str, turns: int, base: str) -> RunSpec:
    """Return the session as a run of the target."""
    scenario = load_scenario("parallel_tools")
    workload = msgspec.structs.replace(scenario.workload, updates=turns)
    (selected,) = select([selector])
    subject = compile_subject(selected.target, selected.variant, Workspace(base), workload, scenario.seed)
    start = set_up(subject.spec, subject.setup) if subject.setup else subject.spec.start
    return msgspec.structs.replace(subject.spec, start=start)


def _used_s(pid: int) -> tuple[float, float]:
    """Return the processor seconds of a process, and those of the children that it has waited for."""
    if not pid:
        return 0.0, 0.0
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
        fields = stream.read().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(map(int, fields[11:13])) / ticks, sum(map(int, fields[13:15])) / ticks


def spent() -> dict[str, float]:
    """Return the processor seconds of everybody so far, by who they are."""
    own, dead = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    kept = engine("ptrace-forked")
    server = _used_s(kept.server_pid if isinstance(kept, KeepingEngine) else 0)
    service, tools = _used_s(work.standing_pid())
    return {
        "tracer": own.ru_utime + own.ru_stime,
        "cold processes": dead.ru_utime + dead.ru_stime,
        "forked targets": sum(server),
        "service": service,
        "forked tools": tools,
    }


def _run(kind: str, spec: RunSpec, plan: FaultPlan) -> Recording:
    recording = run_once(kind, spec, plan)
    problem = recording.scheduled.problem if recording.scheduled is not None else "it was not scheduled"
    if recording.engine != kind or recording.differences or problem:
        why = recording.why_cold or problem or recording.ending_detail
        raise SystemExit(f"a run under {kind} was not one: {why} {recording.differences}")
    return recording


def measure(spec: RunSpec, rounds: int) -> dict[str, dict[str, Any]]:
    """Return, per kind, how many runs there were, and the seconds of the clock and of each part."""
    orders = []
    _run(KINDS[0], spec, FaultPlan(schedule=Search(policy="random")))  # starts what a search starts once
    sums: dict[str, dict[str, Any]] = {kind: {"runs": 0, "seconds": 0.0, "parts": {}} for kind in KINDS}
    for number in range(rounds):
        for kind in KINDS:
            before, begun = spent(), time.monotonic()
            for index in range(_FORKS_PER_COLD if kind == KINDS[0] else 1):
                plan = FaultPlan(schedule=Search(policy="random", seed=number * _FORKS_PER_COLD + index))
                recording = _run(kind, spec, plan)
                sums[kind]["runs"] += 1
                if kind == KINDS[0] and recording.scheduled is not None:
                    orders.append(recording.scheduled.schedule)
            into = sums[kind]
            into["seconds"] += time.monotonic() - begun
            for part, used in spent().items():
                into["parts"][part] = into["parts"].get(part, 0.0) + used - before[part]
    sums[KINDS[1]]["followed"] = 0
    for order in orders[:: max(1, len(orders) // rounds)]:
        _run(KINDS[1], spec, FaultPlan(schedule=order))
        sums[KINDS[1]]["followed"] += 1
    return sums


def figures(sums: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return milliseconds per run of each kind, and the two ratios."""
    each = {
        kind: {
            "wall_ms": item["seconds"] / item["runs"] * 1e3,
            "cpu_ms": sum(item["parts"].values()) / item["runs"] * 1e3,
            "parts_ms": {part: used / item["runs"] * 1e3 for part, used in item["parts"].items() if used},
        }
        for kind, item in sums.items()
    }
    forked, cold = (each[kind] for kind in KINDS)
    return {
        **each,
        "cpu_ratio": cold["cpu_ms"] / forked["cpu_ms"],
        "wall_ratio": cold["wall_ms"] / forked["wall_ms"],
        "followed_cold": sums[KINDS[1]]["followed"],
    }


def main() -> int:
    """Measure, print, and say whether the bar is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedules", description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", default="transcript/read_modify_write")
    parser.add_argument("--rounds", type=int, default=8, help="cold runs; each beside four forked ones")
    parser.add_argument("--turns", type=int, nargs="+", default=[1, 3], help="turns of three tools each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or min(arguments.turns) < 1:
        parser.error("--rounds and --turns take numbers from 1")
    if reason := engine("ptrace").available():
        raise SystemExit(f"schedules need the ptrace engine: {reason}")
    try:
        if len(select([arguments.target])) != 1:
            parser.error(f"{arguments.target!r} names several writers; name one of them")
    except ManifestError as error:
        parser.error(str(error))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    found = {}
    for turns in arguments.turns:
        with tempfile.TemporaryDirectory(dir=place) as directory:
            spec = spec_of(arguments.target, turns, os.path.join(os.path.realpath(directory), "base"))
            found[turns] = figures(measure(spec, arguments.rounds))
    first = found[arguments.turns[0]]
    met = max(first["cpu_ratio"], first["wall_ratio"]) >= LEAST_RATIO
    if arguments.json:
        print(json.dumps({"load": os.getloadavg()[0], "turns": found, "met": met}))
        return 0 if met else 1
    print(f"runs of {arguments.target} under a schedule on one core, load {os.getloadavg()[0]:.1f}")
    for turns, item in found.items():
        times = f"{item['cpu_ratio']:.1f} times the processor time and {item['wall_ratio']:.1f} times the time"
        print(f"{3 * turns} tools: a cold start takes {times} of a fork")
        for kind in KINDS:
            parts = ", ".join(f"{part} {ms:.0f}" for part, ms in item[kind]["parts_ms"].items())
            rate = 1e3 / item[kind]["wall_ms"]
            print(
                f"  {kind:13} {item[kind]['cpu_ms']:6.1f} ms of processor time ({parts}); {rate:.1f} schedules/s"
            )
        print(f"  {item['followed_cold']} orders that forks had followed were followed by cold starts")
    print(f"the bar, {LEAST_RATIO:g} times, is {'met' if met else 'missed'} for {3 * arguments.turns[0]} tools")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
