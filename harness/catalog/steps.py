"""The steps of a workload: who says what in which turn, which tools run, and when the user interrupts.

Pure: a function of the seed and the workload's numbers. A scenario whose tools run in parallel has its steps made
here; steps that stand in its file are taken as they are, completed and checked.

Per turn and session: ``user``, ``assistant``, a ``tool_start`` for each tool, then each ``tool_done`` in the order of
the tools' seeded durations. An interruption stands between two ``tool_done``; after ``escape`` and ``ctrl_c`` those
that are still open never come. ``ctrl_c`` ends the program, so it is the last step of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec

from harness.catalog.schema import suggestion
from harness.core.derived import number, words
from harness.core.run import ToolPlan, ToolStep

Interruption = Literal["new_message", "mode_switch", "escape", "ctrl_c"]
Doing = Literal[
    "user",
    "assistant",
    "tool_start",
    "tool_done",
    "new_message",
    "mode_switch",
    "escape",
    "ctrl_c",
    "update",
]
INTERRUPTIONS: frozenset[str] = frozenset(get_args(Interruption))
_OF_TOOLS = frozenset({"tool_start", "tool_done"})
_ENDS_TURN = frozenset({"escape", "ctrl_c"})
_SERVED: frozenset[str] = INTERRUPTIONS | _OF_TOOLS
MAX_STEPS = 10_000
MAX_RESULT_BYTES = 16 << 20


class Tools(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tools that run beside the writer: how many at once, how long each takes, how much each returns.

    ``result_bytes`` counts characters, as ``result_bytes`` of a step does.
    """

    parallel: int = 0
    duration_ms: tuple[int, int] = (5, 80)
    result_bytes: tuple[int, int] = (20, 60_000)


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One step. ``at`` counts turns from 0; the tool's keys stand at ``tool_start`` and ``tool_done`` only.

    A tool's result is the first ``result_bytes`` characters of ``words(seed, tool_id, result_bytes)``;
    ``result_sha256`` is that of its UTF-8.
    """

    at: int = 0
    do: Doing
    session: str = "s0"
    tool_id: str = ""
    result_sha256: str = ""
    result_bytes: int | None = None


def as_data(step: Step) -> dict[str, Any]:
    """Return a step as it stands in the workload file: what a target reads is always there."""
    data: dict[str, Any] = {"at": step.at, "do": step.do, "session": step.session}
    if step.do in _OF_TOOLS:
        data["tool_id"] = step.tool_id
    if step.do == "tool_done":
        data |= {"result_sha256": step.result_sha256, "result_bytes": step.result_bytes}
    return data


def completed(step: Step, seed: int, tools: Tools) -> Step:
    """Return a ``tool_done`` with its size, where the file does not say it, and its digest."""
    if step.do != "tool_done":
        return step
    size = step.result_bytes
    if size is None:
        size = number(seed, step.tool_id, *tools.result_bytes)
    digest = hashlib.sha256(words(seed, step.tool_id, size).encode("utf-8")).hexdigest()
    return msgspec.structs.replace(step, result_bytes=size, result_sha256=digest)


def _duration_ms(seed: int, tool_id: str, tools: Tools) -> int:
    return number(seed, f"{tool_id} duration", *tools.duration_ms)


def _interrupted(
    seed: int, sessions: int, updates: int, kinds: tuple[Interruption, ...]
) -> dict[tuple[int, int], Interruption]:
    """Return which interruption comes in which (turn, session): one at most; ``ctrl_c`` in the last of all."""
    free = [(turn, session) for turn in range(updates) for session in range(sessions)]
    chosen: dict[tuple[int, int], Interruption] = {}
    if "ctrl_c" in kinds:
        chosen[free.pop()] = "ctrl_c"
    for index, kind in enumerate(kinds):
        if kind != "ctrl_c" and free:
            chosen[free.pop(number(seed, f"interruption {index} {kind}", 0, len(free) - 1))] = kind
    return chosen


@lru_cache(maxsize=32)
def generate(
    seed: int,
    sessions: int,
    updates: int,
    tools: Tools,
    interrupt: tuple[Interruption, ...] = (),
    life: int = 0,
) -> tuple[Step, ...]:
    """Return the steps of ``updates`` turns in each of ``sessions`` sessions; ids of tools differ from life to life."""
    interrupted = _interrupted(seed, sessions, updates, interrupt)
    out: list[Step] = []
    for turn in range(updates):
        for index in range(sessions):
            out += _turn(seed, turn, f"s{index}", tools, interrupted.get((turn, index)), life)
    return tuple(out)


def _turn(
    seed: int, turn: int, session: str, tools: Tools, interruption: Interruption | None, life: int
) -> Iterator[Step]:
    yield Step(at=turn, do="user", session=session)
    yield Step(at=turn, do="assistant", session=session)
    names = [f"{session}/{life}/{turn}/{index}" for index in range(max(1, tools.parallel))]
    ids = [f"toolu_{hashlib.blake2b(f'{seed}/{name}'.encode()).hexdigest()[:24]}" for name in names]
    for tool_id in ids:
        yield Step(at=turn, do="tool_start", session=session, tool_id=tool_id)
    ids.sort(key=lambda tool_id: _duration_ms(seed, tool_id, tools))
    # Between two that are done; with one tool alone, while it is open.
    place = number(seed, f"place {session}/{life}/{turn}", 1, len(ids) - 1) if len(ids) > 1 else 0
    for count, tool_id in enumerate(ids):
        if interruption is not None and count == place:
            yield Step(at=turn, do=interruption, session=session)
            if interruption in _ENDS_TURN:
                return
        yield completed(Step(at=turn, do="tool_done", session=session, tool_id=tool_id), seed, tools)


def tool_plan(steps: Iterable[Step], seed: int, tools: Tools) -> ToolPlan:
    """Return what the tool service is to do for these steps."""
    return ToolPlan(
        seed=seed,
        duration_ms=tools.duration_ms,
        steps=tuple(
            ToolStep(
                do=step.do,  # type: ignore[arg-type]
                tool_id=step.tool_id,
                session=step.session,
                at=step.at,
                duration_ms=_duration_ms(seed, step.tool_id, tools) if step.do == "tool_start" else 0,
                result_bytes=_size(step, seed, tools),
            )
            for step in steps
            if step.do in _SERVED
        ),
    )


def _size(step: Step, seed: int, tools: Tools) -> int:
    return completed(step, seed, tools).result_bytes or 0 if step.do == "tool_done" else 0


def problem_of_numbers(sessions: int, updates: int, tools: Tools, interrupt: tuple[str, ...]) -> str:
    """Return what is wrong with the numbers that steps are made from, or an empty string."""
    if not interrupt and not tools.parallel:
        return ""
    if not tools.parallel:
        return "interrupt: needs tools.parallel of at least 1: an interruption comes while a tool is open"
    if len(interrupt) > sessions * updates:
        return f"interrupt: {len(interrupt)} interruptions do not fit in {sessions * updates} turns, one each"
    if interrupt.count("ctrl_c") > 1:
        return "interrupt: 'ctrl_c' ends the program, so it comes once"
    count = sessions * updates * (2 + 2 * tools.parallel)
    if count > MAX_STEPS:
        return f"tools.parallel: {sessions} sessions of {updates} turns make {count} steps; at most {MAX_STEPS}"
    return ""


def problem_of_steps(steps: tuple[Step, ...], sessions: int) -> str:
    """Return what is wrong with steps that stand in a file, or an empty string: what, where, what is valid."""
    if len(steps) > MAX_STEPS:
        return f"steps: {len(steps)} steps; at most {MAX_STEPS}"
    names = tuple(f"s{index}" for index in range(sessions))
    checker = _Checker(names)
    for index, step in enumerate(steps, 1):
        wrong = checker.problem(step)
        if wrong:
            return f"steps {index} {wrong}"
    return ""


class _Checker:
    """What the steps so far allow the next one to be."""

    def __init__(self, sessions: tuple[str, ...]) -> None:
        self._sessions = sessions
        self._turns: dict[str, int] = {}
        self._open: dict[str, str] = {}
        self._started: set[str] = set()
        self._over = False

    def problem(self, step: Step) -> str:
        """Return what is wrong with the next step."""
        if step.session not in self._sessions:
            hint = suggestion(step.session, self._sessions[:8])
            return f"session: no session {step.session!r}{hint}"
        if self._over:
            return f"do: {step.do!r} after 'ctrl_c', which ends the program"
        if step.at < self._turns.get(step.session, 0):
            return f"at: turn {step.at} after turn {self._turns[step.session]} of {step.session!r}; turns go on"
        self._turns[step.session] = step.at
        if step.do in _OF_TOOLS:
            return self._problem_of_tool(step)
        if step.tool_id or step.result_sha256 or step.result_bytes is not None:
            return f"tool_id: {step.do!r} is no step of a tool; only tool_start and tool_done carry its keys"
        if step.do in _ENDS_TURN:
            self._open = {name: session for name, session in self._open.items() if session != step.session}
            self._over = step.do == "ctrl_c"
        return ""

    def _problem_of_tool(self, step: Step) -> str:
        name = step.tool_id
        if not name or not name.isascii() or not name.isprintable() or len(name) > 128:
            return f"tool_id: {name!r} is not 1 to 128 printable ASCII characters"
        if step.do == "tool_start":
            if name in self._started:
                return f"tool_id: {name!r} is started twice"
            self._started.add(name)
            self._open[name] = step.session
            return ""
        if self._open.get(name) != step.session:
            hint = suggestion(name, [each for each, session in self._open.items() if session == step.session][:8])
            return f"tool_id: {name!r} is not running in {step.session!r} at this step{hint}"
        del self._open[name]
        if step.result_bytes is not None and not 0 <= step.result_bytes <= MAX_RESULT_BYTES:
            return f"result_bytes: {step.result_bytes} is not between 0 and {MAX_RESULT_BYTES}"
        return ""
