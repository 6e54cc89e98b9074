"""The phase of timed signals: the rate that people meet in the wild, beside the exhaustive answer.

Kills, and the signals that a program can catch (a closed window, a supervisor's stop, Ctrl-C), are aimed at a window
around the mutating operations. The fractions of the window at which they strike come from the seed alone; where the
window lies is measured once per campaign, in plain runs made one after the other on an otherwise idle harness, and
kept, so a resumed campaign aims at the same moments.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from harness.campaign.context import Case, Context, Measured
from harness.campaign.errors import judge_error_run as judge_timed_run
from harness.campaign.executor import Call, Executor
from harness.campaign.predicting import PlainRun, time_runs
from harness.campaign.programs import ExamineRequest, run_and_examine
from harness.campaign.record import changes_state
from harness.campaign.streams import stream
from harness.campaign.trials import Trial, run_trials, within_budget
from harness.campaign.work import run_once
from harness.core.fault import FaultPlan, Timed
from harness.core.json_record import decode_record, encode_document
from harness.core.prediction import Prediction
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.explore.undisturbed import plain_moments

WINDOW_MARGIN_US = 5_000
"""The window opens this long before the first mutating operation and closes as long after the last."""

CATCHABLE = ("SIGTERM", "SIGINT", "SIGHUP")
"""The signals of fault class ``signal``, tried in turn: each has its share of the trials."""

_PLAIN_RUNS = 3
_WINDOW_FORMAT_VERSION = 1


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Where timed kills are aimed, in microseconds of the run's clock; ``run_us`` is a plain run's length.

    The clock starts at the arm line where a target has one, else at the start of the process; ``run_us`` counts from
    the start of the process, for that is what a kill in the wild meets. ``prediction``: how many of the kills will do
    damage; ``None`` where nobody asked.
    """

    start_us: int
    end_us: int
    run_us: int
    prediction: Prediction | None = None

    @property
    def length_us(self) -> int:
        """The length of the window."""
        return self.end_us - self.start_us


def window_of(trace: Trace, armed_us: int | None, wall_us: int, plain: PlainRun) -> Window:
    """Return where to aim timed kills: around the mutating operations of the recording.

    ``wall_us`` is the recording's own length; when its operations come in a plain run is
    :mod:`harness.explore.undisturbed`'s to say.
    """
    moments = plain_moments(trace, armed_us or 0, wall_us, max(1, plain.run_us - plain.armed_us))
    changing = [moment for op, moment in zip(trace.operations, moments, strict=True) if changes_state(op)]
    return _around(min(changing, default=0), max(changing, default=0), plain)


def _around(first_us: float, last_us: float, plain: PlainRun) -> Window:
    """Return the window around the first and the last change."""
    start = max(0, int(first_us) - WINDOW_MARGIN_US)
    return Window(start_us=start, end_us=max(start + 1, int(last_us) + WINDOW_MARGIN_US), run_us=plain.run_us)


def moments(seed: int, case: Case, window: Window, count: int, phase: str = "timed") -> list[int]:
    """Return the planned moments, in microseconds of the run's clock: the seed chooses the fraction of the window."""
    return [
        window.start_us + int(stream(seed, phase, case.id, str(index)).random() * window.length_us)
        for index in range(count)
    ]


def timed_plans(seed: int, case: Case, window: Window) -> Iterator[tuple[str, FaultPlan]]:
    """Yield the timed trials of a case, each with the end of its id: the kills, then the signals."""
    for index, moment in enumerate(moments(seed, case, window, case.timed)):
        yield f"timed/{index}", FaultPlan(faults=(Timed(delay_us=moment),))
    for index, moment in enumerate(moments(seed, case, window, case.signals, "signal")):
        name = CATCHABLE[index % len(CATCHABLE)]
        yield f"signal/{index}", FaultPlan(faults=(Timed(delay_us=moment, signal=name),))


def plain_run(executor: Executor, case: Case) -> PlainRun:
    """Measure plain runs, one at a time, while nothing else runs here; return the median of each length."""
    runs: list[Recording] = []
    for _ in range(_PLAIN_RUNS):
        (outcome,) = executor.run([Call(run_once, ("timed", case.subject.spec))])
        runs.append(outcome.result())
    tails = [run.tail_us for run in runs if run.tail_us is not None]
    return PlainRun(
        armed_us=int(statistics.median(run.armed_us or 0 for run in runs)),
        run_us=int(statistics.median(run.wall_ms * 1000 for run in runs)),
        tail_us=statistics.fmean(tails)
        if tails
        else None,  # word and end are both heard late: that cancels in the mean
        said_us=() if case.subject.spec.arm else tuple(run.said_us for run in runs if run.said_us is not None),
    )


def measure_window(executor: Executor, measured: Measured, *, in_time: bool = True) -> Window:
    """Return the window of one case, measured now; ``in_time``: there is budget for what a prediction costs."""
    recording, case = measured.explored.recording, measured.case
    plain = plain_run(executor, case)
    window = window_of(measured.trace, recording.armed_us, int(recording.wall_ms * 1000), plain)
    if not case.timed or case.control:
        return window
    timings = time_runs(executor, measured, plain, in_time)
    aimed = timings.aim()
    if aimed is not None:
        window = _around(*aimed, plain)
    prediction = timings.predict((window.start_us, window.end_us))
    return msgspec.structs.replace(window, prediction=prediction)


def _window(ctx: Context, measured: Measured) -> Window:
    """Return the window of a case: as an interrupted run of this campaign measured it, else measured now and kept."""
    path = f"windows/{measured.case.file_name}.json"
    raw = ctx.store.read_artifact(path)
    if raw is not None:
        return decode_record(raw, Window)
    window = measure_window(ctx.executor, measured, in_time=not ctx.expired())
    document: dict[str, Any] = {"format_version": _WINDOW_FORMAT_VERSION, **msgspec.to_builtins(window)}
    ctx.store.write_artifact(path, encode_document(document).encode("ascii"))
    return window


def timed_phase(ctx: Context, cases: Iterable[Measured]) -> dict[str, Window]:
    """Kill or signal each case at random moments of its window; return the windows by case id."""
    cases = list(cases)
    windows: dict[str, Window] = {}
    trials: list[Trial] = []
    for measured in cases:
        case = measured.case
        planned = case.timed + case.signals
        if not planned or not ctx.split.takes_any(case, (("timed", case.timed), ("signal", case.signals))):
            continue
        if ctx.expired() and not case.control:
            ctx.notice("no kills and signals at random moments were made: the budget is used up", case)
            ctx.leave_out(case, "kill", case.timed)
            ctx.leave_out(case, "signal", case.signals)
            continue
        ctx.phase("timed", case, planned)
        windows[case.id] = _window(ctx, measured)
        request = ExamineRequest(check=case.subject.check)
        for name, plan in timed_plans(ctx.seed, case, windows[case.id]):
            args = ("timed", case.subject.spec, plan, request)
            trials.append(Trial(f"{case.id}/{name}", measured, "timed", run_and_examine, args, plan=plan))
    left = run_trials(ctx, trials, judge_timed_run, within_budget(ctx))
    if left:
        what = "timed signals" if any(case.case.signals for case in cases) else "timed kills"
        ctx.notice(f"{len(left)} of {len(trials)} {what} were not made: the budget is used up")
    return windows
