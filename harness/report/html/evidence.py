"""What a page draws from beside the view: recordings, strips, the states behind findings. And a recording, walked once.

Whoever owns the run directory implements :class:`Evidence`; what it does not have is said, not drawn.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

from harness.core.apply import ReplayError, apply
from harness.core.fault import CrashPoint
from harness.core.operation import Ack
from harness.core.outline import TreeOutline
from harness.core.point import PointCounter, is_strikeable, operation_path, process_label
from harness.core.strip import Strip
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.report.operation import operation_detail

PlaceKey: TypeAlias = tuple[str, str, int, str]


class Evidence(Protocol):
    """The files of a run behind its view. ``case`` is the id of a case, ``key`` the key of a finding."""

    def trace(self, case: str) -> Trace | str:
        """Return the recording of a case, or why there is none."""

    def strip_of(self, case: str) -> Strip | None:
        """Return the crash-point strip of a case."""

    def left(self, key: str) -> TreeOutline | None:
        """Return the outline of the state that a finding was first seen in."""


class NoEvidence:
    """Nothing but the view."""

    def trace(self, case: str) -> Trace | str:
        """Return that there is no recording."""
        return "this report was made without the recordings of its run"

    def strip_of(self, case: str) -> Strip | None:
        """Return nothing."""
        return None

    def left(self, key: str) -> TreeOutline | None:
        """Return nothing."""
        return None


class Step(NamedTuple):
    """One operation of a recording, with the path it is about and the crash point ``before`` it."""

    seq: int
    actor: int
    at_ms: float
    kind: str
    path: str
    detail: str
    failed: str
    point: CrashPoint | None


class Recorded(NamedTuple):
    """A recording, walked once. ``problem``: why it ends early; empty for a whole one."""

    trace: Trace
    steps: tuple[Step, ...]
    end: Tree
    places: Mapping[PlaceKey, int]
    problem: str = ""

    def index_of(self, point: CrashPoint | None) -> int | None:
        """Return the place of the operation at ``point``, whatever the phase."""
        return None if point is None else self.places.get(place_key(point))


def place_key(point: CrashPoint) -> PlaceKey:
    """Return what names an operation in every run, without the phase."""
    return point.operation, point.role, point.occurrence, point.actor


def walk(trace: Trace) -> Recorded:
    """Return the operations of ``trace`` with their paths and points, and the tree at its end."""
    counter, tree, problem = PointCounter(), trace.start, ""
    steps: list[Step] = []
    for op in trace.operations:
        path = operation_path(op, tree)
        counted = is_strikeable(op) or isinstance(op, Ack)
        steps.append(
            Step(
                seq=op.seq,
                actor=op.actor,
                at_ms=op.at_ns / 1e6,
                kind=op.kind,
                path=path,
                detail=operation_detail(op),
                failed=errno.errorcode.get(op.error, f"error {op.error}") if op.error else "",
                point=counter.next(op.kind, path, process_label(trace.actors, op.actor)) if counted else None,
            )
        )
        try:
            tree = apply(tree, op)
        except ReplayError as error:
            problem = f"the recording contradicts itself at operation {op.seq}: {error}"
            break
    places = {place_key(step.point): index for index, step in enumerate(steps) if step.point is not None}
    return Recorded(trace, tuple(steps), tree, places, problem)
