"""Where in a run a state belongs: the crash point of each operation, worked out when the first one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from harness.core.apply import apply
from harness.core.fault import CrashPoint, Phase
from harness.core.operation import AnyOperation
from harness.core.point import at_phase, crash_points, operation_path
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import Tree


class Places:
    """The crash points of one trace, by operation."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._index = {op.seq: index for index, op in enumerate(trace.operations)}

    @cached_property
    def _prepared(self) -> tuple[list[CrashPoint | None], list[str]]:
        operations = self._trace.operations
        paths: list[str] = []
        return list(crash_points(self._trace, self._note_paths(operations, paths))), paths

    def _note_paths(self, operations: Sequence[AnyOperation], paths: list[str]) -> Iterator[Tree]:
        tree = self._trace.start
        for op in operations:
            paths.append(operation_path(op, tree))
            yield tree
            tree = apply(tree, op)

    def path(self, seq: int) -> str:
        """Return the path that operation ``seq`` is about; empty where there is none."""
        return self._prepared[1][self._index[seq]]

    def point(self, seq: int) -> CrashPoint | None:
        """Return the crash point of operation ``seq``, phase ``before``; ``None`` where no fault can be placed."""
        return self._prepared[0][self._index[seq]]

    def of(self, seq: int, phase: Phase, torn_bytes: int = 0) -> tuple[str, str, Phase, CrashPoint | None]:
        """Return (operation kind, role, phase, crash point) of a moment.

        After an acknowledgement (or another operation no fault can strike) the place is "before" the next
        operation that one can strike: the tree is the same, and the acknowledgement is surely out.
        """
        operations = self._trace.operations
        if not operations:
            return "none", "", phase, None
        index = self._index[seq]
        points, paths = self._prepared
        point = points[index]
        if point is not None:
            point = at_phase(point, phase, torn_bytes)
            return point.operation, point.role, phase, point
        for later in points[index + 1 :]:
            if later is not None:
                return later.operation, later.role, "before", later
        path = paths[index]
        return operations[index].kind, path_role(path) if path else "", phase, None
