"""The sizes of a workload, the most significant first: what a smaller one is measured by, and how it is made. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from harness.catalog.workload import Workload, problem
from harness.explore.shrinking import Parameter

_BYTES_GRAIN = 512
"""Fewer bytes than this less are not worth a run: a page more or less is what a kill can tell."""


class Sizes(NamedTuple):
    """``updates`` are turns where tools run; of a record's and a tool's bytes the most that it may have."""

    instances: int
    tools: int
    interruptions: int
    updates: int
    sessions: int
    record_bytes: int
    result_bytes: int


_LEAST = Sizes(instances=1, tools=0, interruptions=0, updates=1, sessions=1, record_bytes=1, result_bytes=1)
_GRAINS = Sizes(1, 1, 1, 1, 1, _BYTES_GRAIN, _BYTES_GRAIN)


def sizes_of(workload: Workload) -> Sizes:
    """Return the sizes of a workload."""
    played = 1 + max((step.at for step in workload.steps), default=-1)
    return Sizes(
        instances=workload.instances,
        tools=workload.tools.parallel,
        interruptions=len(workload.interrupt),
        updates=max(workload.updates, played),
        sessions=workload.sessions,
        record_bytes=workload.record_bytes[1],
        result_bytes=workload.tools.result_bytes[1] if workload.tools.parallel else 0,
    )


def parameters_of(workload: Workload) -> tuple[Parameter, ...]:
    """Return the sizes of a workload with the least that each can be."""
    return tuple(map(Parameter, sizes_of(workload), _LEAST, _GRAINS))


def with_sizes(workload: Workload, sizes: Sizes) -> Workload | None:
    """Return the workload with these sizes, ``None`` where there is none.

    A size that stays keeps its range; one that changes is exact: nothing is left to what would be drawn.
    """
    before = sizes_of(workload)
    tools, record_bytes = workload.tools, workload.record_bytes
    if sizes.record_bytes != before.record_bytes:
        record_bytes = (sizes.record_bytes,) * 2
    if sizes.result_bytes != before.result_bytes:
        tools = msgspec.structs.replace(tools, result_bytes=(sizes.result_bytes,) * 2)
    made = msgspec.structs.replace(
        workload,
        instances=sizes.instances,
        sessions=sizes.sessions,
        updates=min(workload.updates, sizes.updates),
        record_bytes=record_bytes,
        tools=msgspec.structs.replace(tools, parallel=sizes.tools),
        interrupt=workload.interrupt[: sizes.interruptions],
        steps=tuple(step for step in workload.steps if step.at < sizes.updates),
    )
    emptied = workload.steps and not made.steps  # none at all means: made from the numbers
    return None if emptied or problem(made) else made
