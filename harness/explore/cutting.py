"""Where a recording is worth cutting: every different state of the files that matter, with all moments that leave it.

What is done with a state costs a real run, and most operations of a program change nothing that the run looks at. So
moments with one ``key`` are one cut. The last of them is the hardest: nothing that was owed before is owed no more.

Pure; what matters of a tree is an argument. Non-goals: carrying anything out on a state.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from harness.core.fault import CrashPoint, FaultClass
from harness.core.point import at_phase
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.explore.places import Places
from harness.explore.states import CrashState, crash_states, last_byte_states

_T = TypeVar("_T")


class Cut(NamedTuple):
    """All moments of a recording that leave one state, in order; ``point`` is where the last of them is struck.

    Where nothing that can be struck comes behind it, that is after the last operation that can.
    """

    states: tuple[CrashState, ...]
    point: CrashPoint | None

    @property
    def last(self) -> CrashState:
        """The moment at which the most is owed."""
        return self.states[-1]

    @property
    def fault_class(self) -> FaultClass:
        """Whether a kill leaves it or a short write."""
        return self.last.fault_class


def cuts_of(trace: Trace, key: Callable[[Tree], Hashable | None]) -> list[Cut]:
    """Return the cuts of ``trace``: those of a kill, then writes short of their last byte. ``None`` is no cut.

    A short write that leaves what a kill leaves too is no cut of its own.
    """
    places = Places(trace)
    known: dict[int, Hashable | None] = {}

    def named(state: CrashState) -> Hashable | None:
        if state.tree.key not in known:
            known[state.tree.key] = key(state.tree)
        return known[state.tree.key]

    killed = _grouped(crash_states(trace, "kill"), named)
    left = {named(group[0]) for group in killed}
    short = [state for state in last_byte_states(trace) if named(state) not in left]
    groups = (*killed, *_grouped(short, named))
    return [Cut(tuple(group), _struck_at(trace, places, group[-1])) for group in groups]


def _grouped(
    states: Iterable[CrashState], named: Callable[[CrashState], Hashable | None]
) -> list[list[CrashState]]:
    """Return the states by name, in order of their first moment; a name that comes back later is another group."""
    groups: list[list[CrashState]] = []
    last: Hashable | None = None
    for state in states:
        name = named(state)
        if name is not None:
            if name == last:
                groups[-1].append(state)
            else:
                groups.append([state])
        last = name
    return groups


def _struck_at(trace: Trace, places: Places, state: CrashState) -> CrashPoint | None:
    """Return where a run is struck to get this state: before the operation that would change it, where there is one."""
    if state.phase == "torn":  # of another run the same write may be longer, and its last byte is its last byte
        return places.of(state.seq, "torn", -1 if state.fault_class == "short" else state.bytes)[3]
    points = [(op.seq, places.point(op.seq)) for op in trace.operations]
    for seq, point in points:
        if point is not None and (seq > state.seq or state.phase == "before"):
            return at_phase(point, "before")
    last = next((point for _, point in reversed(points) if point is not None), None)
    return at_phase(last, "after") if last is not None else None


def thinned(items: Sequence[_T], most: int) -> list[_T]:
    """Return at most ``most`` of ``items``, evenly spaced, the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[(index + 1) * len(items) // most - 1] for index in range(most)]
