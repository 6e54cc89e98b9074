"""How often kills at random moments do damage, from exact verdicts and from when operations come in plain runs.

The recording says of each moment between two operations whether a kill there does damage; plain runs say how long each
moment lasts. Both are needed: a recording takes its time, and differently for every operation. A kill that arrives
during a call takes effect when the call is done, so the moment behind an operation begins where the call begins; but a
write stops at its next page, so while a long one runs each of its cuts has its share of the time.

A run counts as far as its operations come in the recorded order; where another thread was first, the state is one that
nobody explored. Kills that come after the end of a run strike nothing and are not counted, here as in the measurement.
Pure.

Non-goals: when kills arrive late (a machine that is busy beyond its cores), other durations of tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from harness.core.apply import trees_before
from harness.core.fault import CrashPoint
from harness.core.operation import Ack, AnyOperation, Lock, Map, Open, SetAttribute, Sync
from harness.core.point import crash_points, is_strikeable, process_label
from harness.core.prediction import Prediction
from harness.core.strip import PlaceTally
from harness.core.timing import CallTime, TimedCalls
from harness.core.trace import Trace

MOST_UNKNOWN = 0.1
"""The greatest share of the time in states that were not explored with which a rate is still predicted."""

_Key = tuple[str, str, int, str]


class Step(NamedTuple):
    """One change of the recorded run: which call it is, and where a kill does damage while it runs and behind it."""

    key: _Key
    torn: float
    """Of the time of the call, the share in which it is cut such that damage is done; 0 for what cannot be cut."""
    torn_any: float
    """Of the time of the call, the share in which it is cut at all."""
    bad: bool


class Share(NamedTuple):
    """Of the time of one run inside the window, in microseconds: where a kill does damage, where nobody knows, all."""

    exposed: float
    unknown: float
    alive: float


def changes(op: AnyOperation) -> bool:
    """Whether an operation can lead to another state: what is on disk, or what is owed."""
    if op.error or isinstance(op, Lock | Map | Sync | SetAttribute):
        return False
    if isinstance(op, Ack):
        return True
    return is_strikeable(op) and not (isinstance(op, Open) and not op.created and not op.truncated)


def _keys(trace: Trace) -> Iterator[_Key]:
    """Yield what each operation is called in every run; acknowledgements are counted over all processes."""
    acks = 0
    for op, point in zip(trace.operations, crash_points(trace, trees_before(trace)), strict=True):
        if isinstance(op, Ack):
            acks += 1
            yield "ack", "", acks, ""
        else:
            yield _key(point) if point is not None else ("", "", 0, process_label(trace.actors, op.actor))


def _key(at: CrashPoint | CallTime) -> _Key:
    return at.operation, at.role, at.occurrence, at.actor


def steps_of(trace: Trace, places: Iterable[PlaceTally]) -> tuple[bool, list[Step]]:
    """Return whether a kill before the first change does damage, and the changes of a recorded run in their order."""
    tallies = {(tally.seq, tally.phase): tally for tally in places}
    first = tallies.get((0, "before"))
    steps = []
    for op, key in zip(trace.operations, _keys(trace), strict=True):
        if not changes(op):
            continue
        torn, after = tallies.get((op.seq, "torn")), tallies.get((op.seq, "after"))
        pieces = torn.states + 1 if torn is not None else 1
        steps.append(
            Step(
                key=key,
                torn=torn.violated / pieces if torn is not None else 0.0,
                torn_any=1 - 1 / pieces,
                bad=after is not None and after.violated > 0,
            )
        )
    return first is not None and first.violated > 0, steps


def missing(steps: Sequence[Step], run: TimedCalls) -> str:
    """Return why a run is not the recorded one: an operation that it has not, or has more often; empty where it is."""
    seen = {_key(call) for call in _counted(run)}
    for step in steps:
        if step.key not in seen:
            operation, role, occurrence, _ = step.key
            place = f" of {role}" if role else ""
            return f"a plain run has no {operation} #{occurrence}{place}"
    return ""


def _counted(run: TimedCalls) -> Iterator[CallTime]:
    """Yield the calls of a run, acknowledgements counted over all processes."""
    acks = 0
    for call in run.calls:
        if call.operation == "ack":
            acks += 1
            yield CallTime(
                operation="ack", role="", occurrence=acks, actor="", begin_us=call.begin_us, end_us=call.end_us
            )
        else:
            yield call


def usable(steps: Sequence[Step], runs: Iterable[TimedCalls]) -> tuple[list[TimedCalls], str]:
    """Return the runs that are the recorded one, and why the first of the others is not."""
    good, reason = [], ""
    for run in runs:
        problem = run.problem or missing(steps, run)
        reason = reason or problem
        if not problem:
            good.append(run)
    return good, reason


def aim(steps: Sequence[Step], runs: Sequence[TimedCalls]) -> tuple[float, float] | None:
    """Return when plain runs make their first and their last change on disk, as a rule; ``None`` where none tells."""
    ends = []
    for run in runs:
        wanted = {step.key for step in steps} - {step.key for step in steps if step.key[0] == "ack"}
        moments = [call.begin_us for call in run.calls if _key(call) in wanted]
        if moments:
            ends.append((moments[0], moments[-1]))
    if not ends:
        return None
    return median(first for first, _ in ends), median(last for _, last in ends)


def share_of(steps: Sequence[Step], bad_at_first: bool, run: TimedCalls, window: tuple[float, float]) -> Share:
    """Return how the time of one run inside a window divides."""
    order = {step.key: index for index, step in enumerate(steps)}
    mine = [(call, order[_key(call)]) for call in _counted(run) if _key(call) in order]
    low, high = window[0], min(window[1], run.end_us)

    def inside(begin: float, end: float) -> float:
        return max(0.0, min(end, high) - max(begin, low))

    first = mine[0][0].begin_us if mine else high
    exposed = inside(low, first) if bad_at_first else 0.0
    unknown, furthest = 0.0, -1
    begins = [call.begin_us for call, _ in mine] + [max(high, first)]
    for done, ((call, place), (begin, until)) in enumerate(zip(mine, pairwise(begins), strict=True), 1):
        furthest = max(furthest, place)
        whole = inside(begin, until)
        if furthest + 1 != done:
            unknown += whole
            continue
        step = steps[place]
        during = inside(begin, min(call.end_us, until))
        exposed += during * step.torn
        if step.bad:
            exposed += whole - during * step.torn_any
    return Share(exposed=exposed, unknown=unknown, alive=max(0.0, high - low))


def predicted(
    steps: Sequence[Step],
    bad_at_first: bool,
    runs: Sequence[TimedCalls],
    window: tuple[float, float],
) -> Prediction:
    """Return the rate of kills inside a window from plain runs that are the recorded one, or why there is none."""
    shares = [share_of(steps, bad_at_first, run, window) for run in runs]
    alive, unknown = sum(share.alive for share in shares), sum(share.unknown for share in shares)
    if alive <= 0:
        return Prediction(reason="plain runs have ended before the window")
    if unknown > MOST_UNKNOWN * alive:
        return Prediction(reason="plain runs do what they do in other orders than the recorded one")
    each = [share.exposed / (share.alive - share.unknown) for share in shares if share.alive > share.unknown]
    return Prediction(
        rate=min(1.0, sum(share.exposed for share in shares) / (alive - unknown)),
        low=min(1.0, *each),
        high=min(1.0, max(each)),
        runs=len(each),
    )
