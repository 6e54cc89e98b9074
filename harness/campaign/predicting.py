"""What the exact verdicts predict of timed kills: plain runs tell how long each state lasts.

The runs are made as the kills are, as many at once as there are workers, right before them: what else the machine does
makes both slower. They are few, and none is made where the answer is known without: nothing that a kill leaves is
violated, or the target is a program that does not tell its times.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.campaign.context import Case, Measured
from harness.campaign.executor import Call, Executor
from harness.campaign.work import time_once
from harness.core.prediction import Prediction
from harness.core.timing import TimedCalls
from harness.explore.exposure import Step, aim, predicted, steps_of, usable

RUNS_MOST, RUNS_LEAST = 5, 3
KILLS_FOR_MOST = 50
"""From so many timed kills on, all the plain runs are made."""


class Timings(NamedTuple):
    """Plain runs of one case that were timed, and what its recording says of each of their moments."""

    steps: list[Step]
    bad_at_first: bool
    runs: list[TimedCalls]
    reason: str = ""
    """Why there is no run, or one fewer."""

    def aim(self) -> tuple[float, float] | None:
        """Return when the first and the last change on disk come; ``None`` where no run tells."""
        return aim(self.steps, self.runs)

    def predict(self, window: tuple[float, float]) -> Prediction:
        """Return the rate of kills inside a window, or why none can be told."""
        if not self.bad_at_first and not any(step.bad or step.torn for step in self.steps) and not self.reason:
            return Prediction(rate=0.0, high=0.0)
        return predicted(self.steps, self.bad_at_first, self.runs, window) if self.runs else _none(self.reason)


def _none(reason: str) -> Prediction:
    return Prediction(reason=reason)


def time_runs(executor: Executor, measured: Measured, tail_us: float | None, in_time: bool) -> Timings:
    """Time plain runs of a case; ``tail_us`` is how long an unwatched one runs on after its last word."""
    explored = measured.explored.explorations.get("kill")
    if explored is None:
        return Timings([], False, [], "the states that a kill leaves were not explored")
    bad_at_first, steps = steps_of(measured.trace, explored.places)
    if not explored.violated:
        return Timings(steps, False, [])
    if not in_time:
        return Timings(steps, bad_at_first, [], "the budget is used up")
    runs = _runs(executor, measured.case)
    good, reason = usable(steps, (run.ending(tail_us) for run in runs))
    if len(good) * 2 <= len(runs):
        good = []
    return Timings(steps, bad_at_first, good, reason)


def _runs(executor: Executor, case: Case) -> list[TimedCalls]:
    """Return the runs; one alone where the first tells that there is nothing to be told."""
    many = RUNS_MOST if case.timed >= KILLS_FOR_MOST else RUNS_LEAST
    call = Call(time_once, (case.subject.spec,))
    (first,) = [outcome.result() for outcome in executor.run([call])]
    if first.problem:
        return [first]
    calls = [Call(time_once, (case.subject.spec,), str(index)) for index in range(1, many)]
    return [first, *(outcome.result() for outcome in executor.run(calls))]
