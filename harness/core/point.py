"""From operations to crash points: which path an operation is about, and its occurrence.

Engines count while the target runs, explorers count over a stored trace; both use this counter, so a point found
in a trace is the point an engine strikes.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.core.fault import CrashPoint, Phase
from harness.core.operation import (
    Ack,
    Close,
    Link,
    MakeNode,
    Mkdir,
    Open,
    Operation,
    Outside,
    Rename,
    Unlink,
)
from harness.core.role import path_role
from harness.core.trace import Actor, Trace
from harness.core.tree import Tree

UNNAMED = "<unnamed>"


def path_of_inode(tree: Tree, ino: int) -> str:
    """Return the first name of an inode in sorted order, ``.`` for the state directory, else :data:`UNNAMED`."""
    if ino == 0:
        return "."
    names = tree.names_of(ino)
    return min(names) if names else UNNAMED


def operation_path(op: Operation, before: Tree) -> str:
    """Return the path that ``op`` is about; for a rename the new name; empty where there is none.

    ``before`` is the tree just before the operation.
    """
    if isinstance(op, Rename):
        return op.to
    if isinstance(op, Open):
        return op.path if op.path is not None else UNNAMED
    if isinstance(op, Link | Unlink | Mkdir | MakeNode | Outside):
        return op.path
    if isinstance(op, Ack):
        return ""
    ino = getattr(op, "ino", -1)
    return "" if ino < 0 else path_of_inode(before, ino)


class PointCounter:
    """Counts operations of a kind on a path role by a process, from 1."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], int] = {}

    def next(self, operation: str, path: str, actor: str) -> CrashPoint:
        """Count one operation and return its crash point, phase ``before``."""
        point = self.peek(operation, path, actor)
        self._seen[operation, point.role, actor] = point.occurrence
        return point

    def peek(self, operation: str, path: str, actor: str) -> CrashPoint:
        """Return what :meth:`next` would, without counting: the point of an operation that has not run yet."""
        role = path_role(path) if path else ""
        occurrence = self._seen.get((operation, role, actor), 0) + 1
        return CrashPoint(operation=operation, role=role, occurrence=occurrence, actor=actor)


def process_label(actors: tuple[Actor, ...], index: int) -> str:
    """Return the process label of an actor: threads of one process share it."""
    return f"p{actors[index].process}" if index < len(actors) else "p0"


def at_phase(point: CrashPoint, phase: Phase, torn_bytes: int = 0) -> CrashPoint:
    """Return ``point`` with another phase."""
    return CrashPoint(
        operation=point.operation,
        role=point.role,
        occurrence=point.occurrence,
        actor=point.actor,
        phase=phase,
        bytes=torn_bytes,
    )


def is_strikeable(op: Operation) -> bool:
    """Whether a fault can be placed at ``op``: all but acknowledgements, closes and what is outside."""
    return not isinstance(op, Ack | Close | Outside)


def crash_points(trace: Trace, trees_before: Iterator[Tree]) -> Iterator[CrashPoint | None]:
    """Yield, per operation, its crash point (``before``), or ``None`` where no fault can be placed."""
    counter = PointCounter()
    for op, before in zip(trace.operations, trees_before, strict=False):
        if not is_strikeable(op):
            yield None
            continue
        yield counter.next(op.kind, operation_path(op, before), process_label(trace.actors, op.actor))


def ack_points(trace: Trace) -> Iterator[CrashPoint]:
    """Yield a point after each acknowledgement, in order: where a signal that can be caught is worth a run."""
    counter = PointCounter()
    for op in trace.acks:
        yield at_phase(counter.next(op.kind, "", process_label(trace.actors, op.actor)), "after")
