"""The predicted rate of timed kills beside the measured one, for every writer that a kill breaks.

``python -m benchmarks.predicted_rate [--kills N] [--updates N] [--json] [WRITER …]``. Predicted is as a campaign does
it: recording, exact verdicts, and a few plain runs that tell when each operation came, all before the first kill.
Nothing is fitted to the kills. Because a shared machine is not the same a minute later, as many runs are timed again
between the kills, and what those predict is shown too (*beside*): where only that one is inside, the machine changed.

Bar: of the writers that a kill breaks, according to the exact verdicts, at least 80 % have a predicted rate inside the
95 % interval of the kills that were made. One that is not predicted is a miss. Exit code 1 if the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from harness.campaign.context import Case, Measured
from harness.campaign.executor import Call, Executor
from harness.campaign.predicting import Timings, started_as
from harness.campaign.record import explore_request, null_problem, with_start
from harness.campaign.timed import measure_window, plain_run, timed_plans
from harness.campaign.trials import judge_run
from harness.campaign.work import record_and_explore, run_once, set_up, time_once
from harness.catalog import ManifestError, Workload, compile_subject, list_targets, select
from harness.checks import INVARIANTS
from harness.core.prediction import Prediction, spell_prediction
from harness.core.proportion import spell_rate, wilson
from harness.explore.exposure import steps_of, usable
from harness.sandbox.workspace import Workspace

LEAST_INSIDE = 0.8
TIMED_AGAIN = 5
LEAST_KILLS = 50
"""With fewer kills nearly every rate lies in the interval: nothing is shown by that."""


def vulnerable() -> list[str]:
    """Return the writers of this repository whose manifests say that a kill violates them, each version."""
    return [
        f"{target.name}/{variant.name}" + (f"@{variant.package.version}" if variant.package else "")
        for target in list_targets()
        for variant in target.variants
        if variant.expect.get("kill") == "violated"
    ]


def measured_case(
    selector: str, executor: Executor, workspace: Workspace, workload: Workload, kills: int
) -> Measured | str:
    """Return the recorded and explored writer, or why it cannot be measured."""
    (selected,) = select([selector])
    subject = compile_subject(selected.target, selected.variant, workspace, workload, 1)
    if subject.not_available:
        return str(subject.not_available)
    case = Case(subject=subject, faults=("kill",), invariants=frozenset(INVARIANTS), timed=kills, sample_max=0)
    if subject.setup:
        case = with_start(case, _call(executor, set_up, subject.spec, tuple(subject.setup)))
    explored = _call(executor, record_and_explore, "ptrace", case.subject.spec, explore_request(case))
    if problem := null_problem(explored.recording):
        return f"{problem[1]}, so there is nothing to kill"
    return Measured(case, explored)


def _call(executor: Executor, function: Any, *args: Any) -> Any:
    (outcome,) = executor.run([Call(function, args)])
    return outcome.result()


def kills_of(measured: Measured, executor: Executor, window: Any, beside: list[Any]) -> Iterator[bool | None]:
    """Yield whether each kill did damage, ``None`` for one that came too late; time runs in between."""
    case = measured.case
    plans = [plan for _, plan in timed_plans(1, case, window)]
    every = max(1, len(plans) // TIMED_AGAIN)
    for index, plan in enumerate(plans):
        if index % every == 0 and len(beside) < TIMED_AGAIN:
            beside.append(_call(executor, time_once, case.subject.spec))
        run = _call(executor, run_once, "timed", case.subject.spec, plan)
        yield bool(judge_run(measured, run, plan)) if run.delivered else None


def measure(selector: str, kills: int, workload: Workload) -> dict[str, Any]:
    """Return the figures of one writer; with ``not_available`` alone where it cannot run here."""
    with tempfile.TemporaryDirectory() as directory:
        workspace = Workspace(os.path.join(os.path.realpath(directory), "base"))
        with Executor(1, workspace.base) as executor:
            measured = measured_case(selector, executor, workspace, workload, kills)
            if isinstance(measured, str):
                return {"target": selector, "not_available": measured}
            exploration = measured.explored.explorations["kill"]
            if not exploration.violated:
                return {"target": selector, "violated_states": 0}
            window = measure_window(executor, measured)
            plain = plain_run(executor, measured.case)
            again: list[Any] = []
            outcomes = list(kills_of(measured, executor, window, again))
            bad_at_first, steps = steps_of(measured.trace, exploration.places)
            good, reason = usable(steps, again)
            runs = [each for run in good for each in started_as(plain, run)]
            between = Timings(steps, bad_at_first, runs, reason, len(good)).predict(
                (window.start_us, window.end_us)
            )
    made = [outcome for outcome in outcomes if outcome is not None]
    low, high = wilson(sum(made), len(made))
    before = window.prediction or Prediction(reason="nobody asked")
    return {
        "target": selector,
        "violated_states": exploration.violated,
        "window_us": [window.start_us, window.end_us],
        "hits": sum(made),
        "kills": len(made),
        "late": len(outcomes) - len(made),
        "before": msgspec.to_builtins(before),
        "beside": msgspec.to_builtins(between),
        "inside": before.is_told and low <= before.rate <= high,
        "inside_beside": between.is_told and low <= between.rate <= high,
        "load": os.getloadavg()[0],
    }


def _line(item: dict[str, Any]) -> str:
    if "not_available" in item:
        return f"{item['target']}: not counted: {item['not_available']}"
    if not item["violated_states"]:
        return f"{item['target']}: no state that a kill leaves is violated here; not counted"
    before, beside = (spell_prediction(msgspec.convert(item[key], Prediction)) for key in ("before", "beside"))
    words = ["OUTSIDE", "inside"][item["inside"]], ["outside", "inside"][item["inside_beside"]]
    return (
        f"{item['target']}: {words[0]} (beside: {words[1]}) "
        f"{spell_rate(item['hits'], item['kills'])}, {item['late']} late"
        f"\n  before {before}\n  beside {beside}\n  window {item['window_us']} us, load {item['load']:.1f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each writer, print the figures, return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", help="writers; without any, all that a kill violates")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--updates", type=int, default=Workload().updates)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if given.kills < 1 or given.updates < 1:
        parser.error("--kills and --updates are at least 1")
    targets = given.targets or vulnerable()
    try:
        several = [each for each in targets if len(select([each])) != 1]  # before the first is measured
    except ManifestError as error:
        parser.error(str(error))
    if several:
        parser.error(f"{several[0]!r} names several writers; name one of them")
    found = []
    for selector in targets:
        found.append(measure(selector, given.kills, Workload(updates=given.updates)))
        if not given.json:
            print(_line(found[-1]), flush=True)
    counted = [item for item in found if item.get("violated_states")]
    inside, beside = (sum(item[key] for item in counted) for key in ("inside", "inside_beside"))
    enough = given.kills >= LEAST_KILLS
    holds = enough and bool(counted) and inside >= LEAST_INSIDE * len(counted)
    if given.json:
        print(json.dumps({"writers": found, "inside": inside, "beside": beside, "counted": len(counted)}))
    else:
        print(f"inside: {inside} of {len(counted)} (beside: {beside}); bar {LEAST_INSIDE:.0%}")
        print("the bar holds" if holds else "the bar is missed" if enough else "too few kills for the bar")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
