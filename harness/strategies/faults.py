"""Crash points, faults and fault plans: of a recorded run where there is one, else of any run there could be."""

from __future__ import annotations

import errno
from collections.abc import Collection

import msgspec
from hypothesis import strategies as st

from harness.campaign.timed import CATCHABLE
from harness.catalog.profiles import DEFAULT_PROFILES
from harness.catalog.schema import suggestion
from harness.core.fault import (
    CrashPoint,
    Damaged,
    Errno,
    Fault,
    FaultPlan,
    Kill,
    Phase,
    PowerLoss,
    Short,
    Signal,
    Timed,
)
from harness.core.point import ack_points, at_phase
from harness.core.schedule import AnySchedule
from harness.core.trace import Trace
from harness.explore.places import Places
from harness.explore.plans import FAILURES, errno_plans
from harness.explore.states import crash_states

PHASES: tuple[Phase, ...] = ("before", "torn", "after")
KINDS = ("kill", "short", "errno", "signal", "timed", "damaged", "power")
"""The faults, by their tags in a plan."""
EXACT = KINDS[:4]
"""Those that strike at an operation."""
OPERATIONS = tuple(FAILURES)
NAMES: st.SearchStrategy[str] = st.sampled_from(("a.json", "a.json.tmp", "d/<uuid>.jsonl", "log"))


def points_of(trace: Trace) -> list[CrashPoint]:
    """Return where to kill a run for each distinct state that a kill can leave, in the order of the run."""
    places = Places(trace)
    seen: set[tuple[int, int]] = set()
    found: dict[CrashPoint, None] = {}
    for state in crash_states(trace, "kill"):
        if (state.tree.key, state.acked) in seen:
            continue
        seen.add((state.tree.key, state.acked))
        point = places.of(state.seq, state.phase, state.bytes)[3]
        if point is not None:
            found.setdefault(point)
    return list(found)


def crash_points(
    trace: Trace | None = None,
    *,
    operations: Collection[str] = OPERATIONS,
    roles: st.SearchStrategy[str] = NAMES,
    phases: Collection[Phase] = PHASES,
    actors: Collection[str] = ("p0",),
    occurrences: int = 8,
    most_bytes: int = 1 << 20,
) -> st.SearchStrategy[CrashPoint]:
    """Return the places where a run can be killed; the simplest is before its first operation.

    With a ``trace``: one for each distinct state that a kill can leave, of the ``phases`` asked for. Else any that the
    keywords allow: what is cut (``torn``) is a write, after 1 to ``most_bytes`` bytes.
    """
    if trace is not None:
        return st.sampled_from([point for point in points_of(trace) if point.phase in phases])

    def point(phase: Phase) -> st.SearchStrategy[CrashPoint]:
        torn = phase == "torn"
        return st.builds(
            CrashPoint,
            operation=st.just("write") if torn else st.sampled_from(tuple(operations)),
            role=roles,
            occurrence=st.integers(1, occurrences),
            actor=st.sampled_from(tuple(actors)),
            phase=st.just(phase),
            bytes=st.integers(1, most_bytes) if torn else st.just(0),
        )

    return st.one_of([point(phase) for phase in phases])


def _errors(point: CrashPoint) -> st.SearchStrategy[Errno]:
    """Return what the operation at ``point`` can be met with in the field; a full disk may stay full."""
    known = (errno.ENOSPC, *FAILURES["open"]) if point.operation == "open" else FAILURES[point.operation]
    return st.sampled_from(known).flatmap(
        lambda number: st.builds(
            Errno,
            at=st.just(at_phase(point, "before")),
            errno=st.just(number),
            persistent=st.booleans() if number == errno.ENOSPC else st.just(False),
        )
    )


def _shorts(point: CrashPoint) -> st.SearchStrategy[Short]:
    write = msgspec.structs.replace(at_phase(point, "torn", max(1, point.bytes)), operation="write")
    then = st.sampled_from((0, errno.ENOSPC))
    return st.builds(Short, at=st.just(write), then_errno=then, kill=st.booleans())


def _made_up(kind: str, points: st.SearchStrategy[CrashPoint]) -> st.SearchStrategy[Fault]:
    """Return faults of one kind. A kill draws nothing but its point, so that it is the simplest that strikes there."""
    if kind == "kill":
        return st.builds(Kill, at=points)
    if kind == "short":
        return points.flatmap(_shorts)
    if kind == "errno":
        return points.filter(lambda point: point.operation in FAILURES).flatmap(_errors)
    after = points.map(lambda point: at_phase(point, "after"))
    if kind == "signal":
        return st.builds(Signal, at=after, signal=st.sampled_from(CATCHABLE))
    if kind == "timed":
        return st.builds(Timed, delay_us=st.integers(0, 10**6), signal=st.sampled_from(("SIGKILL", *CATCHABLE)))
    if kind == "damaged":
        return st.builds(Damaged, path=NAMES, damage=st.sampled_from(("torn", "holed", "nul", "empty", "stale")))
    profile = st.sampled_from(DEFAULT_PROFILES)
    return st.builds(PowerLoss, at=st.none() | after, profile=profile, acked=st.integers(0, 8))


def _recorded(kind: str, trace: Trace) -> st.SearchStrategy[Fault]:
    """Return the faults of one kind that are worth a run of the writer that was recorded."""
    if kind == "kill":
        return st.builds(Kill, at=crash_points(trace))
    if kind == "signal":
        points = list(ack_points(trace)) or [at_phase(point, "after") for point in points_of(trace)]
        return st.builds(Signal, at=st.sampled_from(points), signal=st.sampled_from(CATCHABLE))
    if kind in ("short", "errno"):
        wanted = Short if kind == "short" else Errno
        return st.sampled_from(
            [plan.faults[0] for plan in errno_plans(trace) if isinstance(plan.faults[0], wanted)]
        )
    raise ValueError(f"of a recorded run there are {', '.join(EXACT)}, not {kind}")


def faults(
    kinds: Collection[str] = EXACT,
    *,
    trace: Trace | None = None,
    points: st.SearchStrategy[CrashPoint] | None = None,
) -> st.SearchStrategy[Fault]:
    """Return faults of the ``kinds`` asked for (:data:`KINDS`); the simplest is of the first.

    With a ``trace``: those that are worth a run of the writer recorded in it. Else at ``points``, whose phase and bytes
    count where a fault can choose them.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"no kind of fault {kind!r}{suggestion(kind, KINDS)}; valid: {', '.join(KINDS)}")
    places = crash_points() if points is None else points
    return st.one_of([_made_up(kind, places) if trace is None else _recorded(kind, trace) for kind in kinds])


def _place(fault: Fault) -> object:
    return getattr(fault, "at", None) or type(fault)


def fault_plans(
    kinds: Collection[str] = EXACT,
    *,
    trace: Trace | None = None,
    points: st.SearchStrategy[CrashPoint] | None = None,
    least: int = 1,
    most: int = 1,
    schedules: st.SearchStrategy[AnySchedule] | None = None,
) -> st.SearchStrategy[FaultPlan]:
    """Return plans of ``least`` to ``most`` faults, one per crash point, under one of ``schedules`` or none.

    The other keywords are those of :func:`faults`.
    """
    drawn = st.lists(faults(kinds, trace=trace, points=points), min_size=least, max_size=most, unique_by=_place)
    return st.builds(
        FaultPlan,
        faults=drawn.map(lambda found: tuple(sorted(found, key=lambda fault: not isinstance(fault, Damaged)))),
        schedule=st.none() if schedules is None else st.none() | schedules,
    )
