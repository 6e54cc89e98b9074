"""Judge every distinct crash state of a trace once, and group what fails.

Two states are the same when their names and content and the number of acknowledgements agree: the predicate sees
nothing else. A group is one cause: invariant × operation kind × path role × phase × damage; its first state is its
smallest reproduction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from harness.core.fault import CrashPoint, Phase
from harness.core.strip import PlaceTallies, PlaceTally
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Damage, Severity, Violation
from harness.explore.places import Places
from harness.explore.states import CUTS_PER_WRITE, CrashState, Sampled, StateClass, crash_states

Predicate: TypeAlias = Callable[[Tree, int, StateClass], Sequence[Violation]]
"""(tree, acknowledgements so far, fault class) → what is violated there."""

GroupKey: TypeAlias = tuple[str, Severity, str, str, Phase, Damage]


class Group(msgspec.Struct, kw_only=True):
    """All violations of one exploration with one cause.

    ``first`` is the first state that shows it and ``violation`` what was wrong there; ``states`` counts the
    distinct states of the group. ``point`` is where an engine kills a real run to get that state; ``None`` only
    when nothing strikeable follows (the state is then the end of the undisturbed run).
    """

    invariant: str
    severity: Severity
    operation: str
    role: str
    phase: Phase
    damage: Damage
    violation: Violation
    first: CrashState
    point: CrashPoint | None
    states: int = 0


class Exploration(msgspec.Struct, frozen=True, kw_only=True):
    """What exploring a trace under one fault class found. ``violated`` counts distinct violated states.

    ``places`` counts by moment, and there a state that was seen before counts again: each moment has its verdict.
    """

    fault_class: StateClass
    enumerated: int
    distinct: int
    violated: int
    groups: tuple[Group, ...] = ()
    sampled: tuple[Sampled, ...] = ()
    places: tuple[PlaceTally, ...] = ()


def explore(
    trace: Trace,
    fault_class: StateClass,
    predicate: Predicate,
    cuts_per_write: int = CUTS_PER_WRITE,
) -> Exploration:
    """Judge the distinct crash states of ``trace`` under ``fault_class`` and group their violations."""
    sampled: list[Sampled] = []
    groups: dict[GroupKey, Group] = {}
    places = Places(trace)
    seen: dict[tuple[int, int], bool] = {}
    tallies = PlaceTallies()
    enumerated = 0
    for state in crash_states(trace, fault_class, cuts_per_write, on_sample=sampled.append):
        enumerated += 1
        identity = (state.tree.key, state.acked)
        if identity not in seen:
            violations = predicate(state.tree, state.acked, fault_class)
            seen[identity] = bool(violations) and _count(groups, places, state, violations)
        tallies.add(state.seq, state.phase, seen[identity])
    return Exploration(
        fault_class=fault_class,
        enumerated=enumerated,
        distinct=len(seen),
        violated=sum(seen.values()),
        groups=tuple(groups.values()),
        sampled=tuple(sampled),
        places=tallies.told(),
    )


def _count(
    groups: dict[GroupKey, Group], places: Places, state: CrashState, violations: Sequence[Violation]
) -> bool:
    """Put each violation into its group, once per state; return whether any is more than information."""
    operation, role, phase, point = places.of(state.seq, state.phase, state.bytes)
    counted: set[GroupKey] = set()
    serious = False
    for violation in violations:
        serious = serious or violation.severity == "violation"
        key = (violation.invariant, violation.severity, operation, role, phase, violation.damage)
        if key in counted:
            continue
        counted.add(key)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(
                invariant=violation.invariant,
                severity=violation.severity,
                operation=operation,
                role=role,
                phase=phase,
                damage=violation.damage,
                violation=violation,
                first=state,
                point=point,
            )
        group.states += 1
    return serious
