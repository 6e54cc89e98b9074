"""Where in a recorded run a finding is to be looked for again, the earliest place first.

Of a kill or a cut write an exploration has judged every state, and its first is the place; what only real programs or
real runs can show is looked for at the first few operations that are like the token's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from harness.campaign.context import Measured
from harness.core.apply import trees_before
from harness.core.fault import CrashPoint, Errno, Fault, FaultPlan, Kill, Short, Signal
from harness.core.operation import Write
from harness.core.point import ack_points, at_phase, crash_points
from harness.core.role import path_role
from harness.core.verdict import Finding
from harness.explore import errno_plans
from harness.explore.exploration import Group
from harness.explore.states import page_cuts

_RUN = 6
"""The most places that real runs are tried at in one workload."""


def known_place(measured: Measured, finding: Finding) -> Group | None:
    """Return what the exploration of a recording has found first that is this finding."""
    groups = [
        group
        for name, exploration in measured.explored.explorations.items()
        if name == finding.fault_class
        for group in exploration.groups
    ]
    return next((group for group in groups if group.point is not None and _is_of(group, finding)), None)


def _is_of(group: Group, finding: Finding) -> bool:
    same = (group.invariant, group.operation, group.phase, path_role(group.violation.path)) == (
        finding.invariant,
        finding.operation,
        finding.phase,
        finding.role,
    )
    return same and group.severity == "violation" and finding.damage in ("", group.damage)


def earliest_plans(measured: Measured, finding: Finding, plan: FaultPlan, explored: bool) -> list[FaultPlan]:
    """Return the plans to run in this recording's workload. ``explored``: an exploration shows the finding, or nothing.

    A plan without one fault of its own place is the same in every workload.
    """
    fault = plan.faults[0] if len(plan.faults) == 1 and plan.schedule is None else None
    if not isinstance(fault, Kill | Short | Errno | Signal):
        return [plan]
    if explored:
        group = known_place(measured, finding)
        points = [group.point] if group is not None and group.point is not None else []
        return [FaultPlan(faults=(msgspec.structs.replace(fault, at=point),)) for point in points]
    if isinstance(fault, Errno) or (isinstance(fault, Short) and not fault.kill):
        return _like(measured, fault)
    places = ack_points(measured.trace) if fault.at.operation == "ack" else _points(measured, fault.at)
    return [FaultPlan(faults=(msgspec.structs.replace(fault, at=each),)) for each in islice(places, _RUN)]


def place_measure(plan: FaultPlan) -> tuple[int, int]:
    """Return how early a plan strikes: the occurrence of its operation, and the bytes of it that land."""
    fault = plan.faults[-1] if plan.faults else None
    at = getattr(fault, "at", None)
    return (at.occurrence, at.bytes) if isinstance(at, CrashPoint) else (0, 0)


def _like(measured: Measured, fault: Errno | Short) -> list[FaultPlan]:
    """Return the plans of the recording that fail the same operation in the same way."""
    found = [plan for plan in errno_plans(measured.trace) if _same_kind(plan.faults[0], fault)]
    return sorted(found, key=place_measure)[:_RUN]


def _same_kind(fault: Fault, other: Errno | Short) -> bool:
    if not isinstance(fault, Errno | Short) or type(fault) is not type(other):
        return False
    here, there = (msgspec.structs.replace(each, at=_anywhere(each.at)) for each in (fault, other))
    return here == there


def _anywhere(point: CrashPoint) -> CrashPoint:
    return msgspec.structs.replace(point, occurrence=0, bytes=0)


def _points(measured: Measured, like: CrashPoint) -> Iterator[CrashPoint]:
    """Yield the points of the recording that differ from ``like`` in the occurrence alone, and in where it is torn."""
    trace = measured.trace
    for op, point in zip(trace.operations, crash_points(trace, trees_before(trace)), strict=False):
        if point is None or _anywhere(point) != _anywhere(at_phase(like, "before")):
            continue
        cuts = page_cuts(op) if isinstance(op, Write) and like.phase == "torn" else (0,)
        yield from (at_phase(point, like.phase, cut) for cut in cuts[:1])
