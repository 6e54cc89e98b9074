"""Every state that a power loss can leave behind a recorded run under one profile, as far as they can be counted.

A crash after operation *k* leaves a set of effects up to *k* that holds what is durable by then and, with each effect,
what it needs. What is missing is the *lost* set. Where there are at most :data:`EXHAUSTIVE` lost sets at a crash point
all of them are explored. Else the sets are sampled, in this order, and :class:`Coverage` says how many of how many:

- everything kept; everything lost that can be;
- *single losses*: each effect, each write's data with its size kept, each write as a whole, each tail of a long
  write's data, with what needs them;
- *single survivals*: each effect with what it needs, all else lost;
- *prefixes*: all effects up to one of them, none after it;
- *pairs* of single losses of related objects (one inode, one directory, a rename and its source), directly before a
  barrier, after an acknowledgement and at the end;
- *random* sets, from the seed, at the same places.

A state that loses the same effects as one at an earlier operation, with none of the later ones kept, is the same tree:
it is yielded again only after an acknowledgement, which changes what is owed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import shake_256
from typing import Literal, NamedTuple

from harness.core.operation import Ack, Sync
from harness.core.tree import Tree
from harness.explore.power.disk import Disk
from harness.explore.power.effects import Data, Effect, Names
from harness.explore.power.order import Order, bits

EXHAUSTIVE = 512
"""Lost sets at one crash point up to which all are explored."""

UNITS = 1_000
"""Single losses of one crash point, at most: the newest half, and the rest evenly spread."""

PAIRS = 256
RANDOM = 16
"""Pairs and random sets of one crash point, at most."""

_TAILS = 6
"""Tails of one long write's data, at most."""

Kind = Literal["exhaustive", "kept", "lost", "single loss", "single survival", "prefix", "pair", "random"]


class PowerState(NamedTuple):
    """One tree that a power loss after operation ``seq`` (-1: before the first) can leave.

    ``lost`` is the mask of the effects that did not reach the disk; ``stale`` whether blocks without data read as
    what was there before. ``acked`` counts the acknowledgements before that moment.
    """

    tree: Tree
    seq: int
    acked: int
    lost: int
    kind: Kind
    stale: bool = False


class Coverage(NamedTuple):
    """Of one kind of lost sets: how many crash points had it, how many sets were explored, how many there were."""

    points: int = 0
    explored: int = 0
    possible: int = 0

    def plus(self, explored: int, possible: int) -> Coverage:
        """Return the coverage with one crash point more."""
        return Coverage(self.points + 1, self.explored + explored, self.possible + possible)


class Explorer:
    """Enumerates the states of one order. ``coverage`` is complete when the enumeration has ended."""

    def __init__(self, order: Order, seed: int = 0, exhaustive: int = EXHAUSTIVE) -> None:
        self.order = order
        self.effects = order.effects
        self.disk = Disk(order.effects)
        self.coverage: dict[Kind, Coverage] = {}
        self._seed = seed
        self._limit = exhaustive
        self._wanted: list[int] = [1 << number for number in range(len(self.effects.items))]
        self._pending = 0
        self._sets: list[int] | None = [0]
        self._losses: list[int] = []
        """The single losses of what is pending, each with all that needs it."""
        self._about: dict[int, frozenset[int]] = {}
        self._stale = order.profile.unwritten_reads != "zeros"

    def states(self) -> Iterator[PowerState]:
        """Yield every state that is explored, in the order of the run; some trees come more than once."""
        operations = self.effects.trace.operations
        acked, durable = 0, 0
        yield PowerState(self.effects.trace.start, -1, 0, 0, "kept")
        for index, op in enumerate(operations):
            numbers = self.effects.of_op[index]
            is_ack = isinstance(op, Ack)
            acked += is_ack
            if numbers:
                revoked = durable & ~self.order.durable[index]
                if revoked:
                    durable ^= revoked
                    self._forget(revoked)
                self._arrive(numbers)
                yield from self._at(index, acked, numbers, self._is_telling(index))
            elif is_ack:
                yield from self._at(index, acked, None, True)
            if self.order.durable[index] != durable:
                durable = self.order.durable[index]
                self._settle(durable)

    def _is_telling(self, index: int) -> bool:
        """Whether the next operation is a barrier, or there is none: what can be lost here can be lost for good."""
        operations = self.effects.trace.operations
        return index + 1 == len(operations) or isinstance(operations[index + 1], Sync)

    def _arrive(self, numbers: range) -> None:
        """Take up the effects of the next operation."""
        for number in numbers:
            need, bit = self.order.needs[number] & self._pending, 1 << number
            for needed in bits(need):
                self._wanted[needed] |= bit
            self._pending |= bit
            if need:
                self._losses = [loss | bit if loss & need else loss for loss in self._losses]
        if self._sets is not None:
            self._sets = self._extended(self._sets, numbers)
        self._losses += dict.fromkeys(map(self._up, self._units_of(numbers)))

    def _forget(self, revoked: int) -> None:
        """Take up again what was durable and is not any more; see :mod:`harness.explore.power.order`."""
        self._pending |= revoked
        for number in bits(self._pending):
            for needed in bits(self.order.needs[number] & revoked):
                self._wanted[needed] |= 1 << number
        self._losses += dict.fromkeys(self._up(1 << number) for number in bits(revoked))
        self._sets = self._all_sets() if self._sets is not None else None

    def _settle(self, durable: int) -> None:
        """Drop what cannot be lost any more."""
        self._pending &= ~durable
        self._losses = [loss for loss in self._losses if not loss & durable]
        if self._sets is not None:
            self._sets = [lost for lost in self._sets if not lost & durable]
        elif self._pending.bit_count() <= 2 * self._limit.bit_length():
            self._sets = self._all_sets()

    def _all_sets(self) -> list[int] | None:
        sets: list[int] | None = [0]
        for number in bits(self._pending):
            sets = self._extended(sets, range(number, number + 1)) if sets is not None else None
        return sets

    def _extended(self, sets: list[int], numbers: range) -> list[int] | None:
        """Return every lost set with every choice of the effects ``numbers``; ``None`` where they are too many."""
        needs = self.order.needs
        for number in numbers:
            bit, need = 1 << number, needs[number]
            # An effect whose need is lost is lost itself.
            sets = [lost for lost in sets if not lost & need] + [lost | bit for lost in sets]
            if len(sets) > self._limit:
                return None
        return sets

    def _units_of(self, numbers: range) -> list[int]:
        """Return the single losses that an operation offers."""
        items = self.effects.items
        data = [number for number in numbers if type(items[number]) is Data]
        units = {1 << number: None for number in _spread(numbers, 2 * _TAILS)}
        if len(data) < len(numbers):
            units[_mask(data)] = None
        units[_mask(numbers)] = None
        for begin in _spread(range(1, len(data)), _TAILS):
            units[_mask(data[begin:])] = None
        units.pop(0, None)
        return list(units)

    def _up(self, unit: int) -> int:
        """Return a loss with all pending effects that need what is lost."""
        out = unit
        for number in bits(unit):
            out |= self._wanted[number]
        return out & self._pending

    def _at(self, index: int, acked: int, numbers: range | None, telling: bool) -> Iterator[PowerState]:
        """Yield the states after operation ``index``; with ``numbers``, those that keep one of its effects."""
        fresh = _mask(numbers) if numbers is not None else 0
        if self._sets is not None:
            chosen = [lost for lost in self._sets if numbers is None or lost & fresh != fresh]
            self._count("exhaustive", len(chosen), len(chosen))
            yield from self._states(index, acked, chosen, "exhaustive")
            return
        seen: set[int] = set()
        for kind, sets, possible in self._sampled(index, numbers, fresh, telling):
            new = dict.fromkeys(
                lost for lost in sets if lost not in seen and not (fresh and lost & fresh == fresh)
            )
            seen.update(new)
            self._count(kind, len(new), max(len(new), possible))
            yield from self._states(index, acked, new, kind)

    def _count(self, kind: Kind, explored: int, possible: int) -> None:
        self.coverage[kind] = self.coverage.get(kind, Coverage()).plus(explored, possible)

    def _states(self, index: int, acked: int, sets: Iterable[int], kind: Kind) -> Iterator[PowerState]:
        whole = self.effects.trees[index]
        for lost in sets:
            tree = self.disk.tree(index, lost)
            if tree is not whole or not lost:  # the loss of what nobody sees leaves what is there without it
                yield PowerState(tree, index, acked, lost, kind)
            if self._stale and lost:
                stale = self.disk.stale(index, lost, self.order.profile)
                if stale is not None:
                    yield PowerState(stale, index, acked, lost, kind, stale=True)

    def _sampled(
        self, index: int, numbers: range | None, fresh: int, telling: bool
    ) -> Iterator[tuple[Kind, Iterator[int], int]]:
        pending = self._pending
        losses = self._losses if len(self._losses) <= UNITS else self._chosen_losses()
        yield "kept", iter((0,)), 1
        yield "lost", iter((pending & ~self.order.closed(fresh) if fresh else pending,)), 1
        yield "single loss", iter(losses), len(self._losses)
        survivors: Sequence[int] = numbers if numbers is not None else list(bits(pending))
        chosen = _spread(survivors, UNITS)
        yield "single survival", (pending & ~self.order.closed(1 << number) for number in chosen), len(survivors)
        if numbers is None:
            yield "prefix", (self._up(pending >> number << number) for number in chosen), len(survivors)
        if telling:
            yield "pair", self._pairs(losses), self._related()
            yield "random", self._randoms(index), 2 ** min(64, pending.bit_count())

    def _chosen_losses(self) -> list[int]:
        half = UNITS // 2
        return [*_spread(self._losses[:-half], half), *self._losses[-half:]]

    def _objects(self, loss: int) -> frozenset[int]:
        """Return what a loss is about: inodes, and directories as negative numbers."""
        found = self._about.get(loss)
        if found is None:
            if len(self._about) > 4 * UNITS:
                self._about = {}
            objects = (objects_of(self.effects.items[number]) for number in bits(loss))
            found = self._about[loss] = frozenset().union(*objects)
        return found

    def _pairs(self, losses: Sequence[int]) -> Iterator[int]:
        """Yield pairs of losses of related objects, the newest first."""
        taken = 0
        recent = [(loss, self._objects(loss)) for loss in losses[: -PAIRS - 1 : -1]]
        for first, (loss, objects) in enumerate(recent):
            for other, others in recent[first + 1 :]:
                if taken == PAIRS:
                    return
                if not objects.isdisjoint(others):
                    taken += 1
                    yield loss | other

    def _related(self) -> int:
        return len(self._losses) * (len(self._losses) - 1) // 2

    def _randoms(self, index: int) -> Iterator[int]:
        """Yield lost sets with a quarter, a half or three quarters of what is pending as their beginning."""
        width = self._pending.bit_length()
        for draw in range(RANDOM):
            first, second = (_noise(f"{self._seed}/{index}/{draw}/{half}", width) for half in "ab")
            chosen = (first & second, first, first | second)[draw % 3]
            yield self._up(chosen & self._pending)


def _noise(name: str, width: int) -> int:
    """Return ``width`` bits that depend on ``name`` alone."""
    return int.from_bytes(shake_256(name.encode()).digest(width // 8 + 1), "little")


def objects_of(item: Effect) -> set[int]:
    """Return the inode of an effect, and the directories whose entries it changes, as -1 - inode."""
    if not isinstance(item, Names):
        return {item.ino}
    return {item.subject, *(-1 - directory for directory, _ in item.entries)}


def _mask(numbers: Sequence[int]) -> int:
    out = 0
    for number in numbers:
        out |= 1 << number
    return out


def _spread(numbers: Sequence[int], count: int) -> Sequence[int]:
    """Return at most ``count`` of ``numbers``, evenly spaced, the first and the last among them."""
    if len(numbers) <= count:
        return numbers
    step = (len(numbers) - 1) / max(1, count - 1)
    return [numbers[round(index * step)] for index in range(count)]
