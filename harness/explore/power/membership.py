"""Whether a profile allows a tree: the model asked the other way round.

An observed disk is held against the model without enumerating its states: the names decide which changes of names were
kept; each file's content which of its effects were; what those need decides whether they go together. The same
effects, order and contents are used as in the enumeration, so the two cannot drift apart.

Non-goals: modes and times; traces of more than some hundred pending effects (:class:`UndecidedError`).
"""

from __future__ import annotations

from typing import NamedTuple

from harness.core.content import Content
from harness.core.tree import File, Tree
from harness.explore.power.disk import Disk
from harness.explore.power.effects import Effects, Names
from harness.explore.power.order import Order, bits

SETS_MAX = 200_000
"""Sets of one file's pending effects, or of the changes of names, that are tried."""


class UndecidedError(Exception):
    """There are too many sets to try."""


class Witness(NamedTuple):
    """How a tree comes about: after ``op`` operations, without the ``lost`` effects."""

    op: int
    lost: int


class Membership:
    """Asks one order. Contents of a file are worked out once per crash point."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.effects: Effects = order.effects
        self._disk = Disk(order.effects)
        self._names_mask = 0
        self._files: dict[int, int] = {}
        for number, item in enumerate(order.effects.items):
            if isinstance(item, Names):
                self._names_mask |= 1 << number
            else:
                self._files[item.ino] = self._files.get(item.ino, 0) | 1 << number
        self._closed: dict[tuple[int, int, int], list[int]] = {}
        self._old: dict[int, tuple[bytes, ...]] = {}

    def find(self, tree: Tree, low: int, high: int) -> Witness | None:
        """Return how ``tree`` can be left by a power loss when between ``low`` and ``high`` operations were done.

        The operation after those that were done may have been under way. ``None``: the profile does not allow it.
        Raises :class:`UndecidedError`.
        """
        for done in range(low, high + 1):
            durable = self.order.durable[done - 1] if done else 0
            begun = min(done + 1, len(self.effects.trace.operations))
            lost = self._lost(tree, begun, durable)
            if lost is not None:
                return Witness(begun, lost)
        return None

    def _lost(self, tree: Tree, begun: int, durable: int) -> int | None:
        every = self.effects.upto[begun]
        paths = set(tree.names)
        for kept in self._sets(every & self._names_mask, durable):
            lost_names = every & self._names_mask & ~kept
            names = self._disk.tree(begun - 1, lost_names)
            if set(names.names) != paths or not self._same_kinds(names, tree):
                continue
            content = self._contents(tree, names, begun, every, durable | self.order.closed(kept))
            if content is not None:
                return every & ~kept & ~content
        return None

    def _same_kinds(self, names: Tree, tree: Tree) -> bool:
        return all(type(names.node_at(path)) is type(tree.node_at(path)) for path in names.names)

    def _sets(self, among: int, durable: int, needed: int = 0) -> list[int]:
        """Return every subset of ``among`` that holds what is durable or needed and, with each effect, its needs."""
        key = (among, among & durable, among & needed)
        found = self._closed.get(key)
        if found is not None:
            return found
        fixed = among & (durable | needed)
        sets = [fixed]
        for number in bits(among & ~fixed):
            bit, need = 1 << number, self.order.needs[number] & among
            sets += [kept | bit for kept in sets if kept & need == need]
            if len(sets) > SETS_MAX:
                raise UndecidedError(f"more than {SETS_MAX} sets of {among.bit_count()} effects")
        self._closed[key] = sets
        return sets

    def _contents(self, tree: Tree, names: Tree, begun: int, every: int, needed: int) -> int | None:
        """Return content effects that give each named file what ``tree`` has there, all that they need among them."""
        inodes = {names.names[path]: path for path in sorted(names.names)}
        choices: list[list[int]] = []
        for ino, path in inodes.items():
            node = tree.node_at(path)
            if not isinstance(node, File):
                continue
            if any(tree.names[other] != tree.names[path] for other in names.names_of(ino)):
                return None  # two names of one file here are two files there
            among = every & self._files.get(ino, 0)
            fits = [
                kept for kept in self._sets(among, needed) if self._fits(node.content, begun, ino, among, kept)
            ]
            if not fits:
                return None
            choices.append(fits)
        return self._together(choices, self._mask(inodes, every), 0, needed & ~self._names_mask)

    def _mask(self, inodes: dict[int, str], every: int) -> int:
        return every & sum(self._files.get(ino, 0) for ino in inodes)

    def _together(self, choices: list[list[int]], named: int, chosen: int, needed: int) -> int | None:
        """Return one choice per file such that nothing is needed of a named file that was not chosen."""
        if not choices:
            closed = self.order.closed(chosen | needed) & ~self._names_mask
            return closed if closed & named == chosen else None
        for kept in choices[0]:
            found = self._together(choices[1:], named, chosen | kept, needed)
            if found is not None:
                return found
        return None

    def _fits(self, content: Content, begun: int, ino: int, among: int, kept: int) -> bool:
        mine = self._disk.content(ino, kept)
        if mine == content:
            return True
        if self.order.profile.unwritten_reads == "zeros" or mine.size != content.size:
            return False
        return self._same_but_for_stale(mine.to_bytes(), content.to_bytes(), begun, ino, among & ~kept)

    def _same_but_for_stale(self, mine: bytes, seen: bytes, begun: int, ino: int, lost: int) -> bool:
        """Whether the two differ only where no data came, and there by blocks that were on the disk before."""
        block = self.order.profile.block_bytes
        end = 0
        for start, stop in [*self._disk.unwritten(begun - 1, ino, lost), (len(mine), len(mine))]:
            if mine[end:start] != seen[end:start]:
                return False
            for at in range(start // block * block, stop, block):
                first, last = max(start, at), min(stop, at + block)
                if any(seen[first:last]) and not self._was_there(ino, seen[first:last], first - at):
                    return False
            end = stop
        return True

    def _was_there(self, ino: int, data: bytes, offset: int) -> bool:
        own = self.order.profile.unwritten_reads == "own"
        blocks = self._old_blocks(ino if own else -1)
        return any(old[offset : offset + len(data)].ljust(len(data), b"\0") == data for old in blocks)

    def _old_blocks(self, ino: int) -> tuple[bytes, ...]:
        """Return every block that a file had at any time of the run; those of all files for -1."""
        if ino not in self._old:
            block, found = self.order.profile.block_bytes, dict[bytes, None]()
            for tree in (self.effects.trace.start, *self.effects.trees):
                for node in tree.nodes.values() if ino < 0 else (tree.nodes.get(ino),):
                    if isinstance(node, File):
                        data = node.content.to_bytes()
                        found |= dict.fromkeys(data[at : at + block] for at in range(0, len(data), block))
            self._old[ino] = tuple(found)
        return self._old[ino]
