"""Count what is violated in the states of an edited trace: under each profile, and under a kill.

The predicate is that of the recorded trace: what is owed does not change with the writer. Names that only an edited
run has (its temporaries) are not held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from harness.core.advice import KILL, AnyEdit, Cause, Tally
from harness.core.fault import FaultClass
from harness.core.profile import Profile
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.explore.power.edits import apply_edits, temporaries_of
from harness.explore.power.effects import effects_of
from harness.explore.power.order import order_of
from harness.explore.power.states import EXHAUSTIVE, Explorer
from harness.explore.states import crash_states

Predicate: TypeAlias = Callable[[Tree, int, FaultClass], Sequence[Violation]]
"""(tree, acknowledgements so far, fault class) → what is violated there."""

LIMIT = 2_000_000
"""States that a search may judge; some minutes."""


class LimitReachedError(Exception):
    """A search may not judge any more states. A predicate may raise it too: when its time is up."""


class CauseKey(NamedTuple):
    """One way to be violated, wherever and under whatever it is found."""

    invariant: str
    damage: str
    role: str


class Measured(NamedTuple):
    """What exploring one trace found: a tally per profile and for ``kill``, and the causes of each."""

    tallies: tuple[Tally, ...]
    causes: tuple[Cause, ...]

    @property
    def violated(self) -> int:
        """Distinct violated states, all profiles together."""
        return sum(tally.violated for tally in self.tallies)

    @property
    def keys(self) -> frozenset[CauseKey]:
        """The ways to be violated."""
        return frozenset(key_of(cause) for cause in self.causes)


def key_of(cause: Cause) -> CauseKey:
    """Return what a cause is apart from where it was counted."""
    return CauseKey(cause.invariant, cause.damage, cause.role)


class Meter:
    """Explores edited traces. ``judged`` counts the states that were judged, which are at most ``limit``."""

    def __init__(
        self,
        trace: Trace,
        profiles: Sequence[Profile],
        seed: int = 0,
        limit: int = LIMIT,
        exhaustive: int = EXHAUSTIVE,
    ) -> None:
        self.trace = trace
        self.profiles = tuple(profiles)
        self.judged = 0
        self._seed = seed
        self._limit = limit
        self._exhaustive = exhaustive

    def measure(self, edits: Sequence[AnyEdit], predicate: Predicate, *, kill: bool = True) -> Measured:
        """Return what is violated with ``edits`` made. Raises :class:`LimitReachedError`."""
        trace, own = apply_edits(self.trace, edits), temporaries_of(edits)
        walks = [self._power(trace, profile) for profile in self.profiles]
        tallies: list[Tally] = []
        causes: list[Cause] = []
        for walk in [*walks, *([_killed(trace)] if kill else [])]:
            tally, found = self._count(walk, predicate, own)
            tallies.append(tally)
            causes += found
        return Measured(tuple(tallies), tuple(causes))

    def within(self, edits: Sequence[AnyEdit], predicate: Predicate, allowed: frozenset[CauseKey]) -> bool:
        """Whether nothing but ``allowed`` is violated with ``edits`` made; ends at the first state that says no."""
        trace, own = apply_edits(self.trace, edits), temporaries_of(edits)
        for walk in [_killed(trace), *(self._power(trace, profile) for profile in self.profiles)]:
            for tree, acked in walk.distinct():
                found = self._judge(predicate, tree, acked, walk.fault_class, own)
                if found and not found <= allowed:
                    return False
        return True

    def _count(self, walk: _Walk, predicate: Predicate, own: frozenset[str]) -> tuple[Tally, list[Cause]]:
        distinct = violated = 0
        states: dict[CauseKey, int] = {}
        for tree, acked in walk.distinct():
            distinct += 1
            found = self._judge(predicate, tree, acked, walk.fault_class, own)
            violated += bool(found)
            for key in found:
                states[key] = states.get(key, 0) + 1
        tally = Tally(under=walk.under, distinct=distinct, violated=violated, exhaustive=walk.exhaustive())
        return tally, [
            Cause(under=walk.under, invariant=key.invariant, damage=key.damage, role=key.role, states=number)  # type: ignore[arg-type]
            for key, number in sorted(states.items(), key=lambda item: (-item[1], item[0]))
        ]

    def _judge(
        self, predicate: Predicate, tree: Tree, acked: int, fault_class: FaultClass, own: frozenset[str]
    ) -> frozenset[CauseKey]:
        if self.judged >= self._limit:
            raise LimitReachedError(f"the search ended after {self._limit:,} states")
        self.judged += 1
        found = predicate(tree, acked, fault_class)
        if not found:
            return frozenset()
        return frozenset(
            CauseKey(item.invariant, item.damage, path_role(item.path))
            for item in found
            if item.severity == "violation" and item.path not in own
        )

    def _power(self, trace: Trace, profile: Profile) -> _Walk:
        effects = effects_of(trace, profile)
        explorer = Explorer(order_of(effects, profile), self._seed, self._exhaustive)
        states = ((state.tree, state.acked) for state in explorer.states())
        return _Walk(
            profile.name,
            "power",
            states,
            lambda: not effects.coarse and set(explorer.coverage) <= {"exhaustive", "kept"},
        )


class _Walk(NamedTuple):
    """The states of one trace under one profile or a kill, some more than once."""

    under: str
    fault_class: FaultClass
    states: Iterator[tuple[Tree, int]]
    exhaustive: Callable[[], bool]

    def distinct(self) -> Iterator[tuple[Tree, int]]:
        """Yield each distinct state once."""
        seen: set[tuple[int, int]] = set()
        for tree, acked in self.states:
            identity = (tree.key, acked)
            if identity not in seen:
                seen.add(identity)
                yield tree, acked


def _killed(trace: Trace) -> _Walk:
    states = ((state.tree, state.acked) for state in crash_states(trace, "kill"))
    return _Walk(KILL, "kill", states, lambda: True)
