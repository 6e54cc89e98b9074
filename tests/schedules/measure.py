"""How soon a search finds a race on a real target, and how surely its schedule comes back.

    python -m tests.schedules.measure TARGET/VARIANT [--scenario NAME] [--seeds N] [--replays N] [--natural N] …

The workload is the one of ``scenarios/parallel_tools.toml`` or of another scenario, or a shorter one. Prints one JSON
object, and to the error output how far it is. The judge is the one of a campaign's plain runs; a run that is not
whole counts as nothing found, and as a replay that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from harness.campaign.context import Case, Measured
from harness.campaign.proof import engine_for
from harness.campaign.record import explore_request
from harness.campaign.schedules import ScheduleSearch
from harness.campaign.trials import judge_run
from harness.campaign.work import record_and_explore, run_once, set_up
from harness.catalog import compile_subject, select
from harness.catalog.scenario import load_scenario
from harness.checks import INVARIANTS
from harness.core.fault import CONCURRENCY, NO_FAULTS, FaultPlan
from harness.core.run import Recording
from harness.core.schedule import Search
from harness.core.verdict import Violation
from harness.sandbox.workspace import Workspace

_ANY = FaultPlan(schedule=Search(policy="pct"))


class Bench:
    """A measured case, and what one run of it under a plan violates."""

    def __init__(self, selector: str, base: str, updates: int = 0, scenario_name: str = "parallel_tools") -> None:
        scenario = load_scenario(scenario_name)
        workload = scenario.workload
        workload = msgspec.structs.replace(workload, updates=updates or workload.updates)
        (selected,) = select([selector])
        workspace = Workspace(base)
        subject = compile_subject(selected.target, selected.variant, workspace, workload, scenario.seed)
        start = set_up(subject.spec, subject.setup) if subject.setup else subject.spec.start
        spec = msgspec.structs.replace(subject.spec, start=start)
        case = Case(
            subject=msgspec.structs.replace(subject, spec=spec),
            faults=("concurrency",),
            invariants=frozenset(INVARIANTS),
            sample_max=0,
        )
        self.spec = spec
        self.measured = Measured(case, record_and_explore("ptrace", spec, explore_request(case)))

    def run(self, plan: FaultPlan) -> tuple[Recording, tuple[Violation, ...]]:
        recording = run_once(engine_for(plan, "ptrace"), self.spec, plan)
        return recording, judge_run(self.measured, recording, plan)


def operations(recording: Recording) -> list[Any]:
    """Return what must be the same in every replay: who did what to what, and what was written and said."""
    assert recording.trace is not None
    actors = recording.trace.actors
    return [
        (op.kind, f"p{actors[op.actor].process}", getattr(op, "path", None), getattr(op, "id", None), op.error)
        for op in recording.trace.operations
    ]


def contents(recording: Recording) -> list[Any]:
    assert recording.trace is not None
    return [(op.kind, getattr(op, "data", None)) for op in recording.trace.operations]


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def tell(what: str, done: int, so_far: object) -> None:
    if done % 20 == 0:
        print(f"{what} {done}: {so_far}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)


def searched(
    bench: Bench, policy: str, start: int, seeds: int, most: int, words: str = ""
) -> tuple[list[int], list[Recording], list[Violation]]:
    """Return, per seed, the number of the first schedule that violates (0: none), and the runs that did.

    ``words``: only a violation that says this counts.
    """
    firsts, found, seen = [], [], []
    for seed in range(start, start + seeds):
        search = ScheduleSearch(policy, seed, "measure")
        first = 0
        while not first and search.tried < most:
            for order in search.orders(1):
                recording, violations = bench.run(FaultPlan(schedule=order))
                violations = tuple(each for each in violations if words in each.message)
                assert recording.scheduled is not None
                search.ran(order, recording.scheduled)
                if violations:
                    first = search.tried
                    found.append(recording)
                    seen.append(violations[0])
        firsts.append(first)
        tell("seeds", len(firsts), firsts)
    return firsts, found, seen


def replayed(bench: Bench, of: Recording, violation: Violation, times: int, loops: int) -> dict[str, Any]:
    """Replay one schedule so often; return how often it was the same, in what."""
    assert of.scheduled is not None
    plan = FaultPlan(schedule=of.scheduled.schedule)
    same = dict.fromkeys(("reproduced", "decisions", "operations", "contents"), 0)
    problems: list[str] = []
    wall = []
    with busy(loops):
        for done in range(1, times + 1):
            recording, violations = bench.run(plan)
            assert recording.scheduled is not None
            wall.append(recording.wall_ms)
            key = (violation.invariant, violation.damage)
            same["reproduced"] += any((each.invariant, each.damage) == key for each in violations)
            same["decisions"] += recording.scheduled.schedule == of.scheduled.schedule
            same["operations"] += operations(recording) == operations(of)
            same["contents"] += contents(recording) == contents(of)
            problems += [recording.scheduled.problem] if recording.scheduled.problem else []
            tell(f"replays beside {loops} loops", done, same)
    return {"times": times, **same, "wall_ms": round(statistics.median(wall)), "problems": problems[:3]}


def measure(
    selector: str,
    seeds: int,
    replays: int,
    natural: int,
    policy: str,
    most: int = 5,
    start: int = 0,
    updates: int = 0,
    scenario: str = "parallel_tools",
    words: str = "",
) -> dict[str, Any]:
    """Return the figures of one target."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(selector, os.path.join(os.path.realpath(directory), "base"), updates, scenario)
        begun, load = time.monotonic(), os.getloadavg()[0]
        firsts, found, seen = searched(bench, policy, start, seeds, most, words)
        took = time.monotonic() - begun
        soon = [first for first in firsts if first]
        out: dict[str, Any] = {
            "target": selector,
            "policy": policy,
            "turns": updates or "as in the scenario",
            "s_to_the_first": round(took / max(1, len(soon)), 2),
            "seeds": seeds,
            "found": len(soon),
            "in_schedules": {str(n): soon.count(n) for n in sorted(set(soon))},
            "median": statistics.median(soon) if soon else None,
            "s_per_schedule": round(took / max(1, sum(first or most for first in firsts)), 2),
            "load_before": round(load, 1),
        }
        if found and replays:
            assert found[0].scheduled is not None
            out["violation"] = f"{seen[0].invariant} {seen[0].damage}: {seen[0].message}"
            out["decisions"] = len(found[0].scheduled.schedule.decisions)
            out["switches"] = found[0].scheduled.schedule.switches
            out["idle"] = replayed(bench, found[0], seen[0], replays, 0)
            out["loaded"] = replayed(bench, found[0], seen[0], replays, 2)
            out["load_after"] = round(os.getloadavg()[0], 1)
        if not natural:
            return out
        costs = [statistics.median(bench.run(plan)[0].cpu_ms for _ in range(5)) for plan in (NO_FAULTS, _ANY)]
        out["cpu_ms_recorded_and_scheduled"] = [round(cost) for cost in costs]
        plans = [msgspec.structs.replace(CONCURRENCY, draw=index) for index in range(natural)]
        out["natural"] = f"{sum(bool(bench.run(plan)[1]) for plan in plans)}/{natural}"
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("target")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--replays", type=int, default=20)
    parser.add_argument("--natural", type=int, default=20)
    parser.add_argument("--policy", default="pct")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--updates", type=int, default=0, help="turns of the conversation; default: the scenario's"
    )
    parser.add_argument("--scenario", default="parallel_tools")
    parser.add_argument("--words", default="", help="what the violation must say")
    parser.add_argument("--most", type=int, default=5, help="schedules per seed")
    given = vars(parser.parse_args())
    print(json.dumps(measure(given.pop("target"), **given)))


if __name__ == "__main__":
    main()
