"""The lives of a scenario: starts of the target one after the other, at moments of a calendar, each with its own end.

Pure but for what :func:`compile_subject` does. Two instances at once are two lives with one moment and one end: each
has an index of its own, so that their ids stay apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from harness.catalog.manifest import Target, Variant
from harness.catalog.subject import WORKLOAD_NAME, compile_subject
from harness.catalog.workload import MAX_INSTANCES, Workload
from harness.core.run import RunSpec
from harness.sandbox.workspace import Workspace

Exit = Literal["graceful", "sighup", "sigterm", "sigint", "sigkill", "power", "suspend_resume"]
IDLE = "^IDLE$"
"""The line by which a target says that it is through its steps and waits for its end."""

_ADVANCE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
MAX_LIVES = 200


class Life(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[life]]``: one start of the target, how it ends, and how far time moves before the next.

    ``instances``: so many of the target run at once, on one state; they end together.
    """

    exit: Exit = "graceful"
    advance: str = "0s"
    instances: int = 1


class LifeRun(msgspec.Struct, frozen=True, kw_only=True):
    """A life ready to run: one spec per instance. ``index`` counts the ``[[life]]`` tables from 0."""

    index: int
    exit: Exit
    now_ms: int
    specs: tuple[RunSpec, ...]


def problem_of_lives(lives: tuple[Life, ...]) -> str:
    """Return what is wrong with the lives of a file, or an empty string."""
    if len(lives) > MAX_LIVES:
        return f"[life] {len(lives)} lives; at most {MAX_LIVES}"
    for number, life in enumerate(lives, 1):
        if not _ADVANCE.fullmatch(life.advance):
            return f"[life {number}] advance: {life.advance!r} is not a time such as '7d' or '90s'"
        if not 1 <= life.instances <= MAX_INSTANCES:
            return f"[life {number}] instances: {life.instances} is not between 1 and {MAX_INSTANCES}"
    return ""


def advance_ms(text: str) -> int:
    """Return a time such as ``7d`` or ``90s`` in milliseconds."""
    found = _ADVANCE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time such as '7d' or '90s'")
    return round(float(found[1]) * _UNIT_MS[found[2]])


def _starts(lives: Iterable[Life], now_ms: int) -> Iterator[tuple[Life, int]]:
    for life in lives:
        yield life, now_ms
        now_ms += advance_ms(life.advance)


def life_data(lives: Iterable[Life], now_ms: int) -> tuple[dict[str, Any], ...]:
    """Return ``life`` of the workload file: one entry per instance, in the order of their indices.

    ``instance`` counts those that run at once, so that a program may have each do work of its own.
    """
    entries = [
        {"exit": life.exit, "now_ms": moment, "instance": number}
        for life, moment in _starts(lives, now_ms)
        for number in range(life.instances)
    ]
    return tuple({"index": index, **entry} for index, entry in enumerate(entries))


def compile_lives(
    target: Target,
    variant: Variant,
    workspace: Workspace,
    workload: Workload,
    seed: int,
    lives: tuple[Life, ...],
) -> tuple[LifeRun, ...]:
    """Return the lives of a variant ready to run in ``workspace``, in order."""
    data = life_data(lives, workload.now_ms)
    out, first = [], 0
    for index, (life, moment) in enumerate(_starts(lives, workload.now_ms)):
        specs = []
        for instance in range(life.instances):
            name = WORKLOAD_NAME if not instance else f"{instance}-{WORKLOAD_NAME}"
            subject = compile_subject(
                target, variant, workspace, workload, seed, life=data, index=first + instance, file_name=name
            )
            specs.append(msgspec.structs.replace(subject.spec, arm=IDLE, arm_times=life.instances))
        first += life.instances
        out.append(LifeRun(index=index, exit=life.exit, now_ms=moment, specs=tuple(specs)))
    return tuple(out)
