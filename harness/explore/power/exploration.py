"""Judge every distinct state that a power loss can leave under one profile, and group what fails.

Two states are the same when their names and content and the number of acknowledgements agree. A group is one cause:
invariant × severity × role of the file × damage. Its state is made minimal: of what is lost there, as much is put back
as can be while the same is still violated. What is lost then is the cause: the earliest operation of it names the
group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from harness.core.fault import FaultClass, Loss, PowerLoss
from harness.core.point import at_phase
from harness.core.profile import Profile
from harness.core.role import path_role
from harness.core.strip import PlaceTallies, PlaceTally
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Damage, Severity, Violation
from harness.explore.places import Places
from harness.explore.power.effects import Cut, Data, Effects, Names, Size, effects_of
from harness.explore.power.order import Order, bits, order_of
from harness.explore.power.states import EXHAUSTIVE, Coverage, Explorer, Kind, PowerState

PowerPredicate: TypeAlias = Callable[[Tree, int, FaultClass], Sequence[Violation]]
"""(tree, acknowledgements so far, "power") → what is violated there."""

_TRIES = 200
"""Judgements that making one state minimal may cost."""

_Key: TypeAlias = tuple[str, Severity, str, Damage]


class PowerGroup(msgspec.Struct, kw_only=True):
    """All violations of one exploration with one cause.

    ``fault`` is the smallest state that shows it: when the power goes, and what is lost then; ``operation`` and
    ``role`` are those of the earliest operation of which something is lost, or of the one after which the power goes
    where nothing needs to be. ``seq`` is where the power goes (-1: before the first operation). ``states`` counts
    the distinct states of the group.
    """

    invariant: str
    severity: Severity
    operation: str
    role: str
    damage: Damage
    violation: Violation
    fault: PowerLoss
    seq: int
    lost: int
    tree: Tree
    states: int = 0


class PowerSample(NamedTuple):
    """One of the distinct states, for programs to look at; ``fault`` names it."""

    tree: Tree
    seq: int
    acked: int
    fault: PowerLoss


class PowerExploration(msgspec.Struct, frozen=True, kw_only=True):
    """What exploring a trace under one profile found. ``violated`` counts distinct violated states.

    ``coverage`` says, per kind of lost sets, how many were explored of how many; ``coarse`` how many writes were cut
    into larger blocks than the file system's. ``points`` are the operations after which the power was cut.
    ``samples`` are some of the distinct states, evenly spread over the run. ``stopped_at``: the operation at which it
    was stopped before its end, -1 if it was not. ``places`` counts by moment, a state seen before once more.
    """

    profile: str
    enumerated: int
    distinct: int
    violated: int
    points: int = 0
    groups: tuple[PowerGroup, ...] = ()
    coverage: Mapping[Kind, Coverage] = {}
    coarse: int = 0
    samples: tuple[PowerSample, ...] = ()
    stopped_at: int = -1
    places: tuple[PlaceTally, ...] = ()

    @property
    def exhaustive(self) -> bool:
        """Whether every state that the profile allows was judged."""
        return self.stopped_at < 0 and not self.coarse and set(self.coverage) <= {"exhaustive", "kept"}


class _Found:
    """A group while the exploration lasts: the state with the least lost, and the count."""

    __slots__ = ("size", "state", "states", "violation")

    def __init__(self, state: PowerState, violation: Violation, size: tuple[bool, int]) -> None:
        self.state, self.violation, self.size, self.states = state, violation, size, 0


class _Sampler:
    """Keeps every n-th of the states it is given, where n doubles as they become too many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._step = 1
        self._given = 0
        self.kept: list[PowerState] = []

    def take(self, state: PowerState) -> None:
        if self._limit and self._given % self._step == 0:
            self.kept.append(state)
            if len(self.kept) > 2 * self._limit:
                self.kept, self._step = self.kept[::2], 2 * self._step
        self._given += 1

    def spread(self) -> list[PowerState]:
        """Return at most ``limit`` of them, the first and the last among them."""
        last = len(self.kept) - 1
        if last < self._limit:
            return self.kept
        return [self.kept[round(index * last / max(1, self._limit - 1))] for index in range(self._limit)]


def explore_power(
    trace: Trace,
    profile: Profile,
    predicate: PowerPredicate,
    seed: int = 0,
    exhaustive: int = EXHAUSTIVE,
    samples: int = 0,
    go_on: Callable[[], bool] = lambda: True,
) -> PowerExploration:
    """Judge the distinct states of ``trace`` under ``profile`` and group their violations; keep ``samples`` of them.

    ``go_on`` is asked before each state: at the first no the exploration ends, and says where.
    Raises :class:`harness.core.apply.ReplayError` where the trace contradicts itself.
    """
    order = order_of(effects_of(trace, profile), profile)
    explorer = Explorer(order, seed, exhaustive)
    found: dict[_Key, _Found] = {}
    seen: dict[tuple[int, int], bool] = {}
    tallies = PlaceTallies()
    enumerated = points = 0
    sampler = _Sampler(samples)
    at, stopped_at = -2, -1
    for state in explorer.states():
        if not go_on():
            stopped_at = max(0, state.seq)
            break
        enumerated += 1
        if state.seq != at:
            at, points = state.seq, points + 1
        identity = (state.tree.key, state.acked)
        bad = seen.get(identity)
        if bad is None:
            sampler.take(state)
            violations = predicate(state.tree, state.acked, "power")
            bad = seen[identity] = bool(violations) and _note(found, state, violations)
        tallies.add(max(0, state.seq), "after" if state.seq >= 0 else "before", bad)
    places = Places(trace)
    return PowerExploration(
        profile=profile.name,
        enumerated=enumerated,
        distinct=len(seen),
        violated=sum(seen.values()),
        points=points,
        groups=tuple(_groups(explorer, places, found, predicate)),
        coverage=explorer.coverage,
        coarse=order.effects.coarse,
        stopped_at=stopped_at,
        places=tallies.told(),
        samples=tuple(
            PowerSample(state.tree, state.seq, state.acked, power_loss(order, places, state))
            for state in sampler.spread()
        ),
    )


def _note(found: dict[_Key, _Found], state: PowerState, violations: Sequence[Violation]) -> bool:
    """Count each violation once per state; return whether any is more than information."""
    serious = False
    size = _loss_count(state)
    for key, violation in {_key(violation): violation for violation in violations}.items():
        serious = serious or violation.severity == "violation"
        group = found.get(key)
        if group is None:
            group = found[key] = _Found(state, violation, size)
        elif size < group.size:
            group.state, group.violation, group.size = state, violation, size
        group.states += 1
    return serious


def _key(violation: Violation) -> _Key:
    return violation.invariant, violation.severity, path_role(violation.path), violation.damage


def _loss_count(state: PowerState) -> tuple[bool, int]:
    return state.stale, state.lost.bit_count()


def _groups(
    explorer: Explorer, places: Places, found: Mapping[_Key, _Found], predicate: PowerPredicate
) -> Iterable[PowerGroup]:
    for (invariant, severity, _, damage), group in found.items():
        state, violation = _minimal(explorer, group.state, group.violation, predicate)
        fault = power_loss(explorer.order, places, state)
        cause = _cause(explorer.order, state.lost)
        if cause is None:  # nothing needs to be lost: a kill there leaves the same
            operation, role = places.of(state.seq, "after")[:2] if state.seq >= 0 else ("none", "")
        else:
            path = places.path(cause)
            operation = explorer.effects.trace.operations[cause].kind
            role = path_role(path) if path else ""
        yield PowerGroup(
            invariant=invariant,
            severity=severity,
            operation=operation,
            role=role,
            damage=damage,
            violation=violation,
            fault=fault,
            seq=state.seq,
            lost=state.lost,
            tree=state.tree,
            states=group.states,
        )


def _minimal(
    explorer: Explorer, state: PowerState, violation: Violation, predicate: PowerPredicate
) -> tuple[PowerState, Violation]:
    """Return the state with as little lost as still shows the same violation: whole operations first."""
    if state.stale:
        return state, violation
    effects, wanted = explorer.effects, _key(violation)
    tries = 0
    for whole in (True, False):
        for number in bits(state.lost):
            if not state.lost >> number & 1 or tries >= _TRIES:
                continue
            back = 1 << number
            if whole:
                back = sum(1 << other for other in effects.of_op[effects.items[number].op])
            lost = state.lost & ~explorer.order.closed(back)
            tree = explorer.disk.tree(state.seq, lost)
            tries += 1
            same = [item for item in predicate(tree, state.acked, "power") if _key(item) == wanted]
            if same:
                state, violation = state._replace(tree=tree, lost=lost), same[0]
    return state, violation


def _cause(order: Order, lost: int) -> int | None:
    """Return the earliest operation of which something is lost that needs nothing lost; ``None`` if nothing is."""
    roots = (number for number in bits(lost) if not order.needs[number] & lost)
    first = next(roots, None)
    return None if first is None else order.effects.items[first].op


def power_loss(order: Order, places: Places, state: PowerState) -> PowerLoss:
    """Return the fault that names ``state``: what a token carries and a report prints."""
    at = places.of(state.seq, "after")[3] if state.seq >= 0 else None
    return PowerLoss(
        at=at,
        profile=order.profile.name,
        losses=tuple(_losses(order.effects, places, state.lost)),
        acked=state.acked,
        stale=state.stale,
    )


def _losses(effects: Effects, places: Places, lost: int) -> Iterable[Loss]:
    """Yield what is lost; of each write its data as one range per gap, and the largest of its sizes."""
    found: dict[tuple[int, str, int], Loss] = {}
    for number in bits(lost):
        item = effects.items[number]
        point = places.point(item.op)
        if point is None:
            continue
        at = at_phase(point, "after")
        match item:
            case Data():
                end = item.offset + len(item.data)
                before = found.pop((item.op, "data", item.offset), None)
                start = item.offset if before is None else before.start
                found[item.op, "data", end] = Loss(at=at, part="data", start=start, end=end)
            case Size():
                before = found.pop((item.op, "size", 0), None)
                start = item.size if before is None else before.start
                found[item.op, "size", 0] = Loss(at=at, part="size", start=start, end=item.size)
            case Cut():
                found[item.op, "truncation", 0] = Loss(at=at, part="truncation", end=item.size)
            case Names():
                found[item.op, "names", 0] = Loss(at=at, part="names")
    return found.values()
