"""The sizes of a workload, the most significant first: what a smaller one is measured by, and how it is made. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from harness.catalog.workload import Workload, problem
from harness.explore.shrinking import Parameter

_BYTES_GRAIN = 512
"""Fewer bytes than this less are not worth a run: a page more or less is what a kill can tell."""


class Sizes(NamedTuple):
    """``turns`` are the updates of a workload; ``bytes`` the most of one record, ``result_bytes`` of one tool."""

    tools: int
    interruptions: int
    turns: int
    sessions: int
    bytes: int
    result_bytes: int


_LEAST = Sizes(tools=0, interruptions=0, turns=1, sessions=1, bytes=1, result_bytes=1)


def sizes_of(workload: Workload) -> Sizes:
    """Return the sizes of a workload."""
    played = 1 + max((step.at for step in workload.steps), default=-1)
    return Sizes(
        tools=workload.tools.parallel,
        interruptions=len(workload.interrupt),
        turns=max(workload.updates, played),
        sessions=workload.sessions,
        bytes=workload.record_bytes[1],
        result_bytes=workload.tools.result_bytes[1],
    )


def parameters_of(workload: Workload) -> tuple[Parameter, ...]:
    """Return the sizes of a workload with the least that each can be."""
    grains = Sizes(1, 1, 1, 1, _BYTES_GRAIN, _BYTES_GRAIN)
    return tuple(map(Parameter, sizes_of(workload), _LEAST, grains))


def with_sizes(workload: Workload, sizes: Sizes) -> Workload | None:
    """Return the workload with these sizes, ``None`` where there is none.

    A size that stays keeps its range; one that changes is exact, so that what is drawn from a range is not left to luck.
    """
    before = sizes_of(workload)
    tools = workload.tools
    if sizes.result_bytes != before.result_bytes:
        tools = msgspec.structs.replace(tools, result_bytes=(sizes.result_bytes,) * 2)
    made = msgspec.structs.replace(
        workload,
        sessions=sizes.sessions,
        updates=min(workload.updates, sizes.turns),
        record_bytes=workload.record_bytes if sizes.bytes == before.bytes else (sizes.bytes,) * 2,
        tools=msgspec.structs.replace(tools, parallel=sizes.tools),
        interrupt=workload.interrupt[: sizes.interruptions],
        steps=tuple(step for step in workload.steps if step.at < sizes.turns),
    )
    emptied = workload.steps and not made.steps  # none at all means: made from the numbers
    return None if emptied or problem(made) else made
