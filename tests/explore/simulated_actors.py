"""Actors with a shared memory, run one step at a time under a scheduler: what a real engine does, without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.explore.schedule import Scheduler

Memory = dict[str, Any]
Step = Callable[[Memory], None]
Program = Sequence[Step]


def simulate(
    programs: Mapping[str, Program], scheduler: Scheduler, memory: Memory
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Run the programs to their ends; return the decisions and who waited at each."""
    done = dict.fromkeys(programs, 0)
    decisions: list[str] = []
    offered: list[tuple[str, ...]] = []
    while waiting := tuple(label for label, program in programs.items() if done[label] < len(program)):
        chosen = scheduler.choose(waiting)
        assert chosen in waiting
        programs[chosen][done[chosen]](memory)
        done[chosen] += 1
        decisions.append(chosen)
        offered.append(waiting)
    return decisions, offered


def put(name: str, value: Any) -> Step:
    def step(memory: Memory) -> None:
        memory[name] = value

    return step


def keep(source: str, name: str) -> Step:
    def step(memory: Memory) -> None:
        memory[name] = memory.get(source)

    return step


def rung(depth: int) -> tuple[dict[str, Program], Callable[[Memory], bool]]:
    """Return programs with a bug of this depth, and what says that it was met.

    One actor sets x to 1, 2, 3; another looks at it; a third has nothing to do with them. Depth 2: it saw 1. Depth 3:
    it saw 1, and later something else. Depth 4: it saw 1, then 2.
    """
    writer = [put("x", 1), put("x", 2), put("x", 3)]
    looks = [keep("x", "first")] + [keep("x", "second")] * (depth > 2)
    programs: dict[str, Program] = {"p0": writer, "p0.t1": looks, "p0.t2": [put("y", 1), put("y", 2)]}

    def met(memory: Memory) -> bool:
        seen = (memory["first"], memory.get("second"))
        return seen[0] == 1 and (depth < 3 or seen[1] in ((2, 3) if depth == 3 else (2,)))

    return programs, met
