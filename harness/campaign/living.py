"""What a worker does with one life of a target: it starts, plays its steps, waits, and ends as the scenario says.

Each life runs twice on the tree that the life before left. Once watched, to its graceful end: what it acknowledges
there is what a state of it owes, even where an instance of it failed. Once unwatched, to the end that is asked for:
that tree is judged, and the next life begins on it. A tree read while the target waits tells what it wrote in its life
from what it wrote because of its end. Instances that exit by themselves do so one after the other, the last started
first, as people close their windows; a tree is read in between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import MappingProxyType

import msgspec

from harness.campaign.context import interleaves
from harness.campaign.observe import died_by
from harness.campaign.trials import serious, tells_without_comparison
from harness.campaign.work import Judged, expectation_for, judge_for
from harness.catalog.lives import Exit, LifeRun
from harness.core.fault import NO_FAULTS, FaultClass, FaultPlan, Timed
from harness.core.run import Recording, RunSpec
from harness.core.tree import EMPTY_TREE, File, Tree
from harness.core.verdict import Verdict, Violation
from harness.engines import engine as engine_named
from harness.engines.base import Engine
from harness.engines.timed import Hooks, TimedEngine
from harness.sandbox.snapshot import StateTooLargeError, read_tree
from harness.services.together import Program, as_one, ended_file
from harness.services.tools import SOCKET, Service, serving

SUSPENDED_US = 200_000
"""How long a suspended target stands still. Its calendar does not move: TORNWRITE_NOW is a value."""

_SIGNALS: Mapping[Exit, tuple[tuple[int, str], ...]] = MappingProxyType(
    {
        "sighup": ((0, "SIGHUP"),),
        "sigterm": ((0, "SIGTERM"),),
        "sigint": ((0, "SIGINT"),),
        "sigkill": ((0, "SIGKILL"),),
        "suspend_resume": ((0, "SIGSTOP"), (SUSPENDED_US, "SIGCONT")),
    }
)
_SAID: tuple[Exit, ...] = ("graceful", "suspend_resume")
"""The ends that come because the target is asked to exit."""
_END_S = 10.0
"""How long one instance may take to exit before the next is asked to."""
_TICK_S = 2e-3


class LifeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A life, the tree it begins on, and how it is judged; ``comparable``: undisturbed runs write the same bytes."""

    engine: str
    life: LifeRun
    start: Tree
    judged: Judged
    comparable: bool = True


class Lived(msgspec.Struct, frozen=True, kw_only=True):
    """One life that was lived. ``alive`` and ``at_end`` are what it changed while it ran and because of its end:
    sizes before and after by path, ``None`` where there is no file. ``idle`` is the tree when all instances waited,
    ``between`` are those after each but the last had exited."""

    verdict: Verdict
    note: str = ""
    start: Tree = EMPTY_TREE
    tree: Tree = EMPTY_TREE
    idle: Tree | None = None
    between: tuple[Tree, ...] = ()
    alive: Mapping[str, tuple[int | None, int | None]] = {}
    at_end: Mapping[str, tuple[int | None, int | None]] = {}
    acks: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    died_by: str = ""
    wall_ms: float = 0.0
    cpu_ms: float = 0.0


def class_of(life: LifeRun) -> FaultClass:
    """Return the class under which what a life leaves is judged."""
    if life.exit in _SAID:
        return "concurrency" if len(life.specs) > 1 else "none"
    if life.exit == "power":
        return "power"
    return "kill" if life.exit == "sigkill" else "signal"


def plan_of(life: LifeRun) -> FaultPlan:
    """Return the signals that end a life; they are sent when it is idle."""
    faults = (Timed(delay_us=delay, signal=name) for delay, name in _SIGNALS.get(life.exit, ()))
    return FaultPlan(faults=tuple(faults))


def changes(before: Tree, after: Tree) -> dict[str, tuple[int | None, int | None]]:
    """Return the files that differ, by path: their sizes in both trees."""
    old, new = dict(before.files()), dict(after.files())

    def size(file: File | None) -> int | None:
        return None if file is None else file.content.size

    return {
        path: (size(old.get(path)), size(new.get(path)))
        for path in sorted({*old, *new})
        if path not in old or path not in new or old[path].content != new[path].content
    }


def live(request: LifeRequest) -> Lived:
    """Live one life and judge what it left."""
    life, start = request.life, request.start
    if life.exit == "power":
        note = "what a power loss leaves is not measured here; the next life begins as if this one had not been"
        return Lived(verdict="inconclusive", note=note, start=start, tree=start)
    recorded = _run(request, engine_named(request.engine), ask=True)
    idle: list[Tree] = []
    recording = _run(request, None, seen=idle)
    told = Lived(
        verdict="inconclusive",
        start=start,
        tree=recording.final,
        idle=idle[0] if idle else None,
        between=tuple(idle[1:]),
        alive=changes(start, idle[0]) if idle else changes(start, recording.final),
        at_end=changes(idle[0], recording.final) if idle else {},
        acks=recording.acks,
        died_by=died_by(recording),
        wall_ms=recording.wall_ms,
        cpu_ms=recording.cpu_ms,
    )
    problem = _problem(life, recording, bool(idle))
    if problem:
        return msgspec.structs.replace(told, note=problem)
    if recorded.differences:
        note = f"not judged: its recording does not verify: {'; '.join(recorded.differences[:3])}"
        return msgspec.structs.replace(told, verdict="broken", note=note)
    if recorded.trace is None or recorded.ending in ("timeout", "limit"):
        note = f"not judged: its recording {recorded.ending_detail or 'has no operations'}"
        return msgspec.structs.replace(told, note=note)
    expectation = expectation_for(recorded, request.judged)
    judged = judge_for(expectation, request.judged).judge(recording.final, recording.acks, class_of(life))
    if not request.comparable or interleaves(recorded.trace):
        # Another order of threads or instances makes other versions: bytes of the recording prove nothing.
        judged = tuple(item for item in judged if tells_without_comparison(expectation, recording.final, item))
    found = serious(judged)
    return msgspec.structs.replace(
        told,
        verdict="violated" if found else "held",
        violations=found,
    )


def _problem(life: LifeRun, recording: Recording, idle: bool) -> str:
    """Return why a life did not end as it was to, or an empty string."""
    if recording.ending in ("timeout", "limit"):
        return recording.ending_detail or recording.ending
    if not idle:
        return f"it ended ({died_by(recording)}) before it said IDLE"
    if len(recording.delivered) < len(plan_of(life).faults):
        return "it ended before its signal"
    return ""


def _run(
    request: LifeRequest, engine: Engine | None, *, ask: bool = False, seen: list[Tree] | None = None
) -> Recording:
    """Run a life: to its graceful end where ``engine`` is given, else to its own, under the timed engine.

    ``seen`` receives the tree that was there when all instances waited, and those between their exits.
    """
    life = request.life
    with ExitStack() as stack:
        services = []
        for number, spec in enumerate(life.specs):
            tools = msgspec.structs.replace(spec.tools, exit=ask) if spec.tools is not None else None
            name = f"{number}-{SOCKET}" if number else SOCKET
            services.append(stack.enter_context(serving(msgspec.structs.replace(spec, tools=tools), name)))
        spec = _together(life, services, request.start)
        if engine is not None:
            return engine.run(spec)

        def look() -> None:
            try:
                tree = read_tree(spec.root, spec.limits.state_bytes).tree
            except StateTooLargeError:
                return
            if seen is not None:
                seen.append(tree)

        def say_exit() -> None:
            for count, service in enumerate(reversed(services), 1):
                service.say_exit()
                if count < len(services):
                    _wait_for_ends(ended_file(spec), count)
                    look()

        hooks = Hooks(at_clock=look, after_faults=say_exit if life.exit in _SAID else None)
        return TimedEngine(hooks).run(spec, plan_of(life) if life.exit in _SIGNALS else NO_FAULTS)


def _wait_for_ends(path: str, count: int) -> None:
    """Wait until so many instances have ended, but not for ever: one that hangs is for the run's limit to end."""
    end = time.monotonic() + _END_S
    while time.monotonic() < end:
        with suppress(OSError):
            if os.path.getsize(path) >= count:
                return
        time.sleep(_TICK_S)


def _together(life: LifeRun, services: list[Service], start: Tree) -> RunSpec:
    """Return the one run that all instances of a life are."""
    environments = [
        {**spec.environment, **service.environment} for spec, service in zip(life.specs, services, strict=True)
    ]
    first = life.specs[0]
    if len(life.specs) == 1:
        return msgspec.structs.replace(first, environment=environments[0], start=start)
    programs = [
        Program(spec.argv, environment) for spec, environment in zip(life.specs, environments, strict=True)
    ]
    files = {name: data for spec in life.specs for name, data in spec.files.items()}
    return as_one(msgspec.structs.replace(first, files=files, start=start), programs, ended=ended_file(first))
