"""Processor time to the first confirmed corruption: exact, beside kills at random moments.

``python -m benchmarks.first_corruption [--kills N] [--json] [WRITER …]``. Exact: record the writer once, explore every
state that a kill can leave, kill the real writer at the first that violates, and see the damage. Random: kill
the plain writer at moments drawn from the window in which it changes something, until five kills did damage or N were
made; what the first costs is what one costs divided by the rate. Both judge with the same checks and in one process;
what their runs use counts too. A small workload (one session, one update) makes the rates those of a short window.

Bars: of writers with a rate of at most 3 % the median ratio is at least 5; no exact search costs more than four plain
runs and 3 s of processor time. Exit code 1 if one is missed. The ratio cannot exceed 1 / rate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from harness.campaign.context import Case, Measured
from harness.campaign.predicting import PlainRun
from harness.campaign.record import explore_request, with_start
from harness.campaign.timed import moments, window_of
from harness.campaign.trials import judge_run
from harness.campaign.work import record_and_explore, run_once, set_up
from harness.catalog import ManifestError, Workload, compile_subject, select
from harness.checks import INVARIANTS
from harness.core.fault import FaultPlan, Kill, Timed
from harness.sandbox.workspace import Workspace

VULNERABLE = (
    "registry/in_place",
    "registry/in_place_node",
    "sessions_index/cached_snapshot",
    "sessions_index/seed003_merge",
    "reference/buggy",
    "transcript/batched",
    "fork_session/sdk@0.1.72",
)
RARE = 0.03
LEAST_RATIO = 5.0
MOST_PLAIN_RUNS, MOST_MORE_S = 4, 3.0
HITS = 5
WORKLOAD = Workload(sessions=1, updates=1, record_bytes=(200, 600))


def cpu_s() -> float:
    """Return the processor time of this process and of all its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


def exact(case: Case) -> tuple[Measured, float]:
    """Return the measured case, and the processor time until a real run has confirmed what exploring it found."""
    begun = cpu_s()
    measured = Measured(case, record_and_explore("ptrace", case.subject.spec, explore_request(case)))
    groups = [group for group in measured.explored.explorations["kill"].groups if group.severity == "violation"]
    for group in groups:
        if group.point is None:
            continue
        plan = FaultPlan(faults=(Kill(at=group.point),))
        if judge_run(measured, run_once("ptrace", case.subject.spec, plan), plan):
            return measured, cpu_s() - begun
    raise SystemExit(f"{case.id}: nothing was confirmed ({len(groups)} causes were found)")


def at_random(measured: Measured, kills: int) -> dict[str, Any]:
    """Return the rate of kills at random moments, and what one of them and one plain run cost."""
    spec = measured.case.subject.spec
    begun = cpu_s()
    plains = [run_once("timed", spec) for _ in range(3)]
    plain_s = (cpu_s() - begun) / len(plains)
    plain = PlainRun(
        armed_us=int(statistics.median(run.armed_us or 0 for run in plains)),
        run_us=int(statistics.median(run.wall_ms * 1000 for run in plains)),
    )
    recording = measured.explored.recording
    window = window_of(measured.trace, recording.armed_us, int(recording.wall_ms * 1000), plain)
    made = hit = 0
    begun = cpu_s()
    for moment in moments(1, measured.case, window, kills):
        plan = FaultPlan(faults=(Timed(delay_us=moment),))
        hit += bool(judge_run(measured, run_once("timed", spec, plan), plan))
        made += 1
        if hit == HITS:
            break
    return {"kills": made, "hits": hit, "kill_s": (cpu_s() - begun) / made, "plain_s": plain_s}


def measure(selector: str, kills: int) -> dict[str, Any]:
    """Return the figures of one writer; with ``not_available`` alone where it cannot run here."""
    with tempfile.TemporaryDirectory() as directory:
        workspace = Workspace(os.path.join(os.path.realpath(directory), "base"))
        (selected,) = select([selector])
        subject = compile_subject(selected.target, selected.variant, workspace, WORKLOAD, 1)
        if subject.not_available:
            return {"target": selector, "not_available": subject.not_available}
        case = Case(subject=subject, faults=("kill",), invariants=frozenset(INVARIANTS), sample_max=0)
        if subject.setup:
            case = with_start(case, set_up(subject.spec, subject.setup))
        measured, exact_s = exact(case)
        found = at_random(measured, kills)
        rate = found["hits"] / found["kills"]
        # Without a hit the rate is below what so many kills exclude: one in as many is the least that they could cost.
        first_s = found["kill_s"] / (rate or 1 / found["kills"])
        return {
            "target": selector,
            "rate": rate,
            **found,
            "exact_s": exact_s,
            "random_s": first_s,
            "ratio": first_s / exact_s,
            "ceiling": 1 / rate if rate else None,
            "within": exact_s <= MOST_PLAIN_RUNS * found["plain_s"] + MOST_MORE_S,
        }


def _line(item: dict[str, Any]) -> str:
    if "not_available" in item:
        return f"{item['target']}: not available: {item['not_available']}"
    ceiling = f"{item['ceiling']:.0f}" if item["ceiling"] else f"above {item['kills']}"
    return (
        f"{item['target']:<32} {item['hits']}/{item['kills']} kills = {item['rate']:.1%}; "
        f"exact {item['exact_s']:.2f} s, random {item['random_s']:.2f} s of processor time: "
        f"{item['ratio']:.1f} x (ceiling {ceiling})"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each writer, print the figures, return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", default=VULNERABLE)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        several = [each for each in given.targets if len(select([each])) != 1]  # before the first is measured
    except ManifestError as error:
        parser.error(str(error))
    if several:
        parser.error(f"{several[0]!r} names several writers; name one of them")
    found = []
    for selector in given.targets:
        found.append(measure(selector, given.kills))
        if not given.json:
            print(_line(found[-1]), flush=True)
    made = [item for item in found if "ratio" in item]
    rare = [item["ratio"] for item in made if item["rate"] <= RARE]
    median = statistics.median(rare) if rare else None
    rare_enough = median >= LEAST_RATIO if median is not None else bool(given.targets != VULNERABLE)
    holds = bool(made) and all(item["within"] for item in made) and rare_enough
    if given.json:
        print(json.dumps({"writers": found, "median_ratio_of_the_rare": median, "load": os.getloadavg()[0]}))
    else:
        shown = "no writer was so rare" if median is None else f"median {median:.1f} x, bar {LEAST_RATIO:g}"
        print(f"rate at most {RARE:.0%}: {len(rare)} writers, {shown}; load {os.getloadavg()[0]:.1f}")
        print("the bars hold" if holds else "a bar is missed")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
