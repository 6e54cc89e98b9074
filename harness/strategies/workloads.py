"""Workloads: how many sessions, updates and tools a target is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from hypothesis import strategies as st

from harness.catalog.steps import Interruption, Tools
from harness.catalog.workload import Workload, problem

INTERRUPTIONS: tuple[Interruption, ...] = get_args(Interruption)


@st.composite
def _ranges(draw: st.DrawFn, least: int, most: int) -> tuple[int, int]:
    low = draw(st.integers(least, most))
    return low, draw(st.integers(low, most))


@st.composite
def workloads(
    draw: st.DrawFn,
    *,
    sessions: int = 3,
    updates: int = 8,
    record_bytes: tuple[int, int] = (0, 9_000),
    parallel: int = 0,
    result_bytes: tuple[int, int] = (0, 60_000),
    duration_ms: tuple[int, int] = (0, 80),
    interrupt: Iterable[Interruption] = INTERRUPTIONS,
) -> Workload:
    """Draw a workload of at most so many ``sessions``, ``updates`` of each and tools in ``parallel``.

    The ranges of sizes and durations lie within those given. With tools, it may be interrupted in the ways named.
    Every one is valid; the simplest has one session, one update, no tool and the smallest records.
    """
    tools = draw(st.integers(0, parallel))
    kinds: list[Interruption] = []
    most = draw(st.integers(1, sessions)), draw(st.integers(1, updates))
    if tools and (known := tuple(interrupt)):
        kinds = draw(st.lists(st.sampled_from(known), unique=True, max_size=min(len(known), most[0] * most[1])))
    made = Workload(
        sessions=most[0],
        updates=most[1],
        record_bytes=draw(_ranges(*record_bytes)),
        tools=Tools(
            parallel=tools,
            duration_ms=draw(_ranges(*duration_ms)) if tools else duration_ms,
            result_bytes=draw(_ranges(*result_bytes)) if tools else result_bytes,
        ),
        interrupt=tuple(kinds),
    )
    wrong = problem(made)
    if wrong:
        raise ValueError(f"workloads: {wrong}")
    return made
