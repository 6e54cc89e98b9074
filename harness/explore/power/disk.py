"""The tree that a set of lost effects leaves: content by content and name by name, each worked out once.

A state is *all effects up to an operation, but for the lost ones*. Content depends only on the lost effects of its
inode, names only on the lost changes of names; both are remembered for the operation before, so the next operation
costs what it changes.

Data that reached the disk beyond a file's size are there and not seen, until the size is. Blocks below the size that
no data reached read as zeros here; where a profile says that they read as what was there before, :meth:`Disk.stale`
gives that tree.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.core.content import EMPTY, Content
from harness.core.profile import Profile
from harness.core.tree import File, Tree
from harness.explore.power.effects import Cut, Data, Effects, Names, Size
from harness.explore.power.names import NameChanges
from harness.explore.power.order import bits

_KEPT_CONTENTS = 50_000
"""Contents of one inode that are remembered: they share their chunks."""


class _Blocks(NamedTuple):
    """What a file has on the disk: the bytes of its blocks, the size that says how many of them are seen."""

    data: Content
    size: int

    def seen(self) -> Content:
        return self.data if self.data.size == self.size else self.data.truncate(self.size)


class _Inode:
    """The content effects of one inode, and the contents that sets of them make."""

    __slots__ = ("base", "effects", "emptied", "mask", "memo", "seen")

    def __init__(self, base: Content) -> None:
        self.base = base
        self.effects: dict[int, Data | Size | Cut] = {}
        self.mask = 0
        self.emptied = 0
        """The truncations to nothing: of what came before a kept one, nothing shows."""
        self.memo: dict[int, _Blocks] = {0: _Blocks(base, base.size)}
        self.seen: dict[int, Content] = {0: base}

    def blocks(self, kept: int) -> _Blocks:
        """Return the blocks that the effects ``kept`` make, from those without the last of them."""
        memo, pending = self.memo, []
        kept = self.telling(kept)
        found = memo.get(kept)
        while found is None:
            last = kept.bit_length() - 1
            pending.append((kept, last))
            kept ^= 1 << last
            found = memo.get(kept)
        if len(memo) > _KEPT_CONTENTS:
            self.memo = memo = {0: memo[0]}
            self.seen = {0: self.base}
        for mask, number in reversed(pending):
            data, size = found
            item = self.effects[number]
            if isinstance(item, Data):
                data = data.write(item.offset, item.data)
                size = max(size, item.grows)
            elif isinstance(item, Size):
                size = max(size, item.size)
            else:
                data = data.truncate(min(item.size, data.size))
                size = item.size
            found = memo[mask] = _Blocks(data, size)
        return found

    def telling(self, kept: int) -> int:
        """Return ``kept`` without what the last truncation to nothing has made invisible."""
        emptied = kept & self.emptied
        if not emptied:
            return kept
        last = emptied.bit_length() - 1
        return kept >> last << last

    def content(self, kept: int) -> Content:
        """Return what a reader of the file sees."""
        kept = self.telling(kept)
        content = self.seen.get(kept)
        if content is None:
            blocks = self.blocks(kept)
            content = self.seen[kept] = blocks.seen()
        return content


class Disk:
    """Trees of one trace's effects. Operations may be asked for in any order; ascending is fast."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._start = effects.trace.start
        self._inodes: dict[int, _Inode] = {}
        self._owner: list[int] = []
        self._names = NameChanges(effects)
        self._op = -1
        self._trees: dict[int, Tree] = {}
        for number, item in enumerate(effects.items):
            if isinstance(item, Names):
                self._owner.append(item.subject)
                continue
            self._owner.append(item.ino)
            inode = self._inodes.get(item.ino)
            if inode is None:
                node = self._start.nodes.get(item.ino)
                inode = _Inode(node.content if isinstance(node, File) else EMPTY)
                self._inodes[item.ino] = inode
            inode.effects[number] = item
            inode.mask |= 1 << number
            if isinstance(item, Cut) and item.size == 0:
                inode.emptied |= 1 << number

    def tree(self, op: int, lost: int) -> Tree:
        """Return the tree after operation ``op`` (-1: at the start) without the ``lost`` effects."""
        if op < 0:
            return self._start
        tree = self._effects.trees[op]
        if not lost:
            return tree
        lost_names = lost & self._names.mask
        if lost_names:
            tree = self._renamed(op, lost_names)
        rest, upto = lost ^ lost_names, self._effects.upto[op + 1]
        while rest:
            ino = self._owner[(rest & -rest).bit_length() - 1]
            inode = self._inodes[ino]
            mine = rest & inode.mask
            rest ^= mine
            if not tree.names_of(ino):
                continue
            content = inode.content(inode.mask & upto & ~mine)
            node = tree.nodes[ino]
            if type(node) is File and content is not node.content:
                tree = tree.with_node(ino, File(content, node.mode, None))
        return tree

    def _renamed(self, op: int, lost_names: int) -> Tree:
        """Return the tree after ``op`` with all content and without some changes of names."""
        if op != self._op:
            self._op, self._trees = op, {}
        names = self._names.names(op, lost_names)
        tree = self._trees.get(names.number)
        if tree is None:
            tree = self._effects.trees[op]
            gone, come = self._names.difference(op, names)
            if gone or come:
                tree = tree.edit(gone, come)
            self._trees[names.number] = tree
        return tree

    def content(self, ino: int, kept: int) -> Content:
        """Return what a reader of a file sees when just its effects ``kept`` are on the disk."""
        inode = self._inodes.get(ino)
        if inode is None:
            node = self._start.nodes.get(ino)
            return node.content if isinstance(node, File) else EMPTY
        return inode.content(kept)

    def stale(self, op: int, lost: int, profile: Profile) -> Tree | None:
        """Return :meth:`tree` with the blocks that no data reached full of what was there before; ``None`` if none.

        What was there before is taken to be what the file held before it was truncated, or, where a profile gives
        blocks of any file, what the file it replaced held: blocks freed last are given out first.
        """
        tree, changed = self.tree(op, lost), False
        missing = (self._effects.items[number] for number in bits(lost))
        for ino in dict.fromkeys(item.ino for item in missing if type(item) is Data):
            node = tree.nodes[ino]
            freed = self._freed(ino, own=profile.unwritten_reads == "own")
            if not isinstance(node, File) or not freed.size or not tree.names_of(ino):
                continue
            content = node.content
            for start, end in self.unwritten(op, ino, lost):
                content = content.write(start, _stale_bytes(freed, start, end, profile.block_bytes))
            if content != node.content:
                tree, changed = tree.with_node(ino, File(content, node.mode, None)), True
        return tree if changed else None

    def unwritten(self, op: int, ino: int, lost: int) -> list[tuple[int, int]]:
        """Return the ranges [start, end) below the size of ``ino`` that no data on the disk covers."""
        inode = self._inodes.get(ino)
        if inode is None:
            return []
        kept = inode.mask & self._effects.upto[op + 1] & ~lost
        covered = [(0, inode.base.size)]
        for number in bits(kept):
            item = inode.effects[number]
            if type(item) is Data:
                covered.append((item.offset, item.offset + len(item.data)))
            elif type(item) is Cut:
                covered = [(start, min(end, item.size)) for start, end in covered if start < item.size]
        size = inode.blocks(kept).size
        at, out = 0, []
        for start, end in [*sorted(covered), (size, size)]:
            if start > at:
                out.append((at, start))
            at = max(at, end)
        return [(start, min(end, size)) for start, end in out if start < size]

    def _freed(self, ino: int, own: bool) -> Content:
        inode = self._inodes[ino]
        if inode.base.size and any(type(item) is Cut and item.shrinks for item in inode.effects.values()):
            return inode.base
        for item in () if own else self._effects.items:
            if type(item) is Names and item.subject == ino and item.replaces is not None:
                node = self._start.nodes.get(item.replaces)
                return node.content if isinstance(node, File) else EMPTY
        return EMPTY


def _stale_bytes(freed: Content, start: int, end: int, block: int) -> bytes:
    """Return what the bytes [start, end) of a file read as, whose blocks are those of ``freed`` in turn."""
    parts = []
    for number in range(start // block, -(-end // block)):
        at = number % -(-freed.size // block) * block
        parts.append(freed.read(at, at + block).ljust(block, b"\0"))
    first = start // block * block
    return b"".join(parts)[start - first : end - first]
