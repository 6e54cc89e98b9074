"""What the exact verdicts predict of timed kills: plain runs tell how long each state lasts.

The runs are made as the kills are, as many at once as there are workers, right before them: what else the machine does
makes both slower. They are few, and none is made where the answer is known without: nothing that a kill leaves is
violated, or the target is a program that does not tell its times.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

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
    made: int = 0
    """How many were made to get ``runs``, each of which may stand there with several starts."""

    def aim(self) -> tuple[float, float] | None:
        """Return when the first and the last change on disk come; ``None`` where no run tells."""
        return aim(self.steps, self.runs)

    def predict(self, window: tuple[float, float]) -> Prediction:
        """Return the rate of kills inside a window, or why none can be told."""
        if not self.bad_at_first and not any(step.bad or step.torn for step in self.steps) and not self.reason:
            return Prediction(rate=0.0, high=0.0)
        if not self.runs:
            return Prediction(reason=self.reason)
        told = predicted(self.steps, self.bad_at_first, self.runs, window)
        return msgspec.structs.replace(told, runs=self.made) if told.is_told else told


class PlainRun(msgspec.Struct, frozen=True, kw_only=True):
    """How long an undisturbed and unwatched run takes: to its arm line (0 without one), and in all.

    ``tail_us``: from its last word on standard output to its end; ``None`` where it says nothing. ``said_us``: when
    that word came, in each of the runs, where the clock begins with the process.
    """

    armed_us: int
    run_us: int
    tail_us: float | None = None
    said_us: tuple[float, ...] = ()


def started_as(plain: PlainRun, run: TimedCalls) -> list[TimedCalls]:
    """Return a timed run as it comes when it starts as each of the unwatched ones did.

    To load what watches is part of the start, and a start takes a different time each time. What has an arm line needs
    none of this.
    """
    run = run.ending(plain.tail_us)
    if run.said_us is None or not plain.said_us:
        return [run]
    return [run.shifted(said_us - run.said_us) for said_us in plain.said_us]


def time_runs(executor: Executor, measured: Measured, plain: PlainRun, in_time: bool) -> Timings:
    """Time plain runs of a case, of which ``plain`` tells how they go when nobody watches."""
    explored = measured.explored.explorations.get("kill")
    if explored is None:
        return Timings([], False, [], "the states that a kill leaves were not explored")
    bad_at_first, steps = steps_of(measured.trace, explored.places)
    if not explored.violated:
        return Timings(steps, False, [])
    if not in_time:
        return Timings(steps, bad_at_first, [], "the budget is used up")
    runs = _runs(executor, measured.case)
    good, reason = usable(steps, runs)
    if len(good) * 2 <= len(runs):
        good = []
    starts = [each for run in good for each in started_as(plain, run)]
    return Timings(steps, bad_at_first, starts, reason, len(good))


def _runs(executor: Executor, case: Case) -> list[TimedCalls]:
    """Return the runs; one alone where the first tells that there is nothing to be told."""
    many = RUNS_MOST if case.timed >= KILLS_FOR_MOST else RUNS_LEAST
    call = Call(time_once, (case.subject.spec,))
    (first,) = [outcome.result() for outcome in executor.run([call])]
    if first.problem:
        return [first]
    calls = [Call(time_once, (case.subject.spec,), str(index)) for index in range(1, many)]
    return [first, *(outcome.result() for outcome in executor.run(calls))]
