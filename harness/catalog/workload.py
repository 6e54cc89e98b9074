"""The work a target is asked to do, as the JSON file that every target reads.

Contents are not in it: a target derives them from ``seed``, so a file of a few hundred bytes describes any
amount of data. Units: ``now_ms`` and durations in milliseconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.catalog.steps import (
    Interruption,
    Step,
    Tools,
    as_data,
    completed,
    generate,
    problem_of_numbers,
    problem_of_steps,
)

WORKLOAD_FORMAT_VERSION = 1
DEFAULT_NOW_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: time is a value, so that two runs of one seed write the same bytes."""


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[workload]`` of a scenario.

    ``sessions``: documents or conversations in the state; ``updates``: acknowledged updates of one run;
    ``record_bytes``: least and greatest size of one record, inclusive; ``instances``: so many of the target work on one
    state, each at all of this: at once where that is what is tried, else one after the other; ``readers``: so many
    programs read that state meanwhile, where they are at once. ``steps`` are made from these numbers where tools run in
    parallel, with one ``interrupt`` of each kind named; steps that stand in the file win.
    """

    sessions: int = 3
    updates: int = 8
    record_bytes: tuple[int, int] = (60, 9_000)
    instances: int = 1
    readers: int = 0
    now_ms: int = DEFAULT_NOW_MS
    tools: Tools = Tools()
    interrupt: tuple[Interruption, ...] = ()
    steps: tuple[Step, ...] = ()


DEFAULT_WORKLOAD = Workload()
MAX_SESSIONS = 10_000
MAX_UPDATES = 100_000
MAX_RECORD_BYTES = 16 << 20
MAX_INSTANCES = 8


def problem(workload: Workload) -> str:
    """Return what is wrong with the values of a workload, or an empty string."""
    if not 1 <= workload.sessions <= MAX_SESSIONS:
        return f"sessions: {workload.sessions} is not between 1 and {MAX_SESSIONS}"
    if not 1 <= workload.updates <= MAX_UPDATES:
        return f"updates: {workload.updates} is not between 1 and {MAX_UPDATES}"
    if not 1 <= workload.instances <= MAX_INSTANCES:
        return f"instances: {workload.instances} is not between 1 and {MAX_INSTANCES}"
    if not 0 <= workload.readers <= MAX_INSTANCES:
        return f"readers: {workload.readers} is not between 0 and {MAX_INSTANCES}"
    tools = bool(workload.steps or workload.tools.parallel)
    if tools and workload.instances > 1:
        return "instances: several of them have no tools beside them; leave out tools and steps"
    if tools and workload.readers:
        return "readers: a target with tools has none beside it; leave out tools and steps"
    if not 0 <= workload.now_ms < 1 << 53:
        return f"now_ms: {workload.now_ms} is not a time in milliseconds since 1970"
    ranges = {"record_bytes": workload.record_bytes, "tools.duration_ms": workload.tools.duration_ms}
    ranges["tools.result_bytes"] = workload.tools.result_bytes
    for key, (low, high) in ranges.items():
        if not 0 <= low <= high <= MAX_RECORD_BYTES:
            return f"{key}: [{low}, {high}] is not a range within 0 and {MAX_RECORD_BYTES}"
    if not 0 <= workload.tools.parallel <= 256:
        return f"tools.parallel: {workload.tools.parallel} is not between 0 and 256"
    if workload.steps:
        return problem_of_steps(workload.steps, workload.sessions)
    return problem_of_numbers(workload.sessions, workload.updates, workload.tools, workload.interrupt)


def steps_of(workload: Workload, seed: int, life: int = 0) -> tuple[Step, ...]:
    """Return the steps that a target is to play in one life; none where no tool runs beside it.

    Steps from a file are the same in every life, but for the ids of their tools: one id is started once.
    """
    if workload.steps:
        renamed = (_of_life(step, life) for step in workload.steps)
        return tuple(completed(step, seed, workload.tools) for step in renamed)
    if not workload.tools.parallel:
        return ()
    return generate(seed, workload.sessions, workload.updates, workload.tools, workload.interrupt, life)


def _of_life(step: Step, life: int) -> Step:
    if not life or not step.tool_id:
        return step
    return msgspec.structs.replace(step, tool_id=f"{step.tool_id}_{life}")


def workload_json(workload: Workload, seed: int, life: tuple[dict[str, Any], ...] = (), index: int = 0) -> bytes:
    """Return the file that a target finds at ``{workload}``; ``index`` is the life whose steps it holds."""
    document = {
        "format_version": WORKLOAD_FORMAT_VERSION,
        "seed": seed,
        "now_ms": workload.now_ms,
        "sessions": workload.sessions,
        "updates": workload.updates,
        "record_bytes": workload.record_bytes,
        "tools": workload.tools,
        "life": life,
        "steps": [as_data(step) for step in steps_of(workload, seed, index)],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
