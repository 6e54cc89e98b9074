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
from harness.core.tree import File, Tree
from harness.explore.power.effects import Cut, Data, Effects, Names, Size
from harness.explore.power.names import NameChanges
from harness.explore.power.order import bits


class _Blocks(NamedTuple):
    """What a file has on the disk: the bytes of its blocks, the size that says how many of them are seen."""

    data: Content
    size: int

    def seen(self) -> Content:
        return self.data if self.data.size == self.size else self.data.truncate(self.size)


class _Inode:
    """The content effects of one inode, and the contents they make."""

    __slots__ = ("base", "effects", "mask", "memo", "numbers", "seen")

    def __init__(self, base: Content) -> None:
        self.base = base
        self.numbers: list[int] = []
        self.effects: list[Data | Size | Cut] = []
        self.mask = 0
        self.memo: dict[tuple[int, int], _Blocks] = {(0, 0): _Blocks(base, base.size)}
        self.seen: dict[tuple[int, int], Content] = {}

    def blocks(self, count: int, lost: int) -> _Blocks:
        """Return the blocks after the first ``count`` effects, without the ``lost`` ones."""
        memo = self.memo
        found = memo.get((count, lost))
        if found is not None:
            return found
        begin, missing = count, lost
        while found is None:
            begin -= 1
            missing &= ~(1 << self.numbers[begin])
            found = memo.get((begin, missing))
        data, size = found
        for index in range(begin, count):
            if lost >> self.numbers[index] & 1:
                missing |= 1 << self.numbers[index]
            else:
                item = self.effects[index]
                if type(item) is Data:
                    data = data.write(item.offset, item.data)
                    size = max(size, item.grows)
                elif type(item) is Size:
                    size = max(size, item.size)
                else:
                    data = data.truncate(min(item.size, data.size))
                    size = item.size
            memo[index + 1, missing] = _Blocks(data, size)
        return memo[count, lost]

    def content(self, count: int, lost: int) -> Content:
        """Return what a reader of the file sees."""
        key = (count, lost)
        content = self.seen.get(key)
        if content is None:
            content = self.seen[key] = self.blocks(count, lost).seen()
        return content

    def forget(self, count: int) -> None:
        """Drop what only states before the first ``count`` effects need."""
        if len(self.memo) > 64:
            self.memo = {key: value for key, value in self.memo.items() if key[0] >= count or key == (0, 0)}
            self.seen = {key: value for key, value in self.seen.items() if key[0] >= count}


class Disk:
    """Trees of one trace's effects. Operations may be asked for in any order; ascending is fast."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._start = effects.trace.start
        self._inodes: dict[int, _Inode] = {}
        self._owner: list[int] = []
        self._names = NameChanges(effects)
        for number, item in enumerate(effects.items):
            if type(item) is Names:
                self._owner.append(item.subject)
                continue
            self._owner.append(item.ino)
            inode = self._inodes.get(item.ino)
            if inode is None:
                node = self._start.nodes.get(item.ino)
                inode = _Inode(node.content if isinstance(node, File) else EMPTY)
                self._inodes[item.ino] = inode
            inode.numbers.append(number)
            inode.effects.append(item)
            inode.mask |= 1 << number
        self._counts: dict[int, int] = dict.fromkeys(self._inodes, 0)
        self._at = -1

    def _advance(self, op: int) -> None:
        """Count the content effects of each inode up to operation ``op``, and drop what is behind."""
        if op < self._at:
            self._counts = dict.fromkeys(self._inodes, 0)
            self._at = -1
        for index in range(self._at + 1, op + 1):
            for number in self._effects.of_op[index]:
                item = self._effects.items[number]
                if type(item) is not Names:
                    self._counts[item.ino] += 1
                    self._inodes[item.ino].forget(self._counts[item.ino] - 1)
        self._at = op

    def tree(self, op: int, lost: int) -> Tree:
        """Return the tree after operation ``op`` (-1: at the start) without the ``lost`` effects."""
        if op < 0:
            return self._start
        tree = self._effects.trees[op]
        if not lost:
            return tree
        if op != self._at:
            self._advance(op)
        lost_names = lost & self._names.mask
        if lost_names:
            gone, come = self._names.difference(op, lost_names)
            if gone or come:
                tree = tree.edit(gone, come)
        rest = lost ^ lost_names
        while rest:
            ino = self._owner[(rest & -rest).bit_length() - 1]
            inode = self._inodes[ino]
            mine = rest & inode.mask
            rest ^= mine
            if not tree.names_of(ino):
                continue
            content = inode.content(self._counts[ino], mine)
            node = tree.nodes[ino]
            if type(node) is File and content is not node.content:
                tree = tree.with_node(ino, File(content, node.mode, None))
        return tree

    def stale(self, op: int, lost: int) -> Tree | None:
        """Return :meth:`tree` with the blocks that no data reached full of what was there before; ``None`` if none.

        What was there before is taken to be what the file held before it was truncated, or what the file it
        replaced held: blocks freed last are given out first.
        """
        tree, changed = self.tree(op, lost), False
        missing = (self._effects.items[number] for number in bits(lost))
        for ino in dict.fromkeys(item.ino for item in missing if type(item) is Data):
            node = tree.nodes[ino]
            freed = self._freed(ino)
            if not isinstance(node, File) or not freed.size or not tree.names_of(ino):
                continue
            content = node.content
            for start, end in self.unwritten(op, ino, lost):
                old = (freed.to_bytes() * (1 + (end - start) // freed.size))[: end - start]
                content = content.write(start, old)
            if content != node.content:
                tree, changed = tree.with_node(ino, File(content, node.mode, None)), True
        return tree if changed else None

    def unwritten(self, op: int, ino: int, lost: int) -> list[tuple[int, int]]:
        """Return the ranges [start, end) below the size of ``ino`` that no data on the disk covers."""
        inode = self._inodes.get(ino)
        if inode is None:
            return []
        if op != self._at:
            self._advance(op)
        count, mine = self._counts[ino], lost & inode.mask
        covered = [(0, inode.base.size)]
        for index in range(count):
            item = inode.effects[index]
            if mine >> inode.numbers[index] & 1:
                continue
            if type(item) is Data:
                covered.append((item.offset, item.offset + len(item.data)))
            elif type(item) is Cut:
                covered = [(start, min(end, item.size)) for start, end in covered if start < item.size]
        at, out = 0, []
        for start, end in [*sorted(covered), (inode.blocks(count, mine).size,) * 2]:
            if start > at:
                out.append((at, start))
            at = max(at, end)
        size = inode.blocks(count, mine).size
        return [(start, min(end, size)) for start, end in out if start < size]

    def _freed(self, ino: int) -> Content:
        inode = self._inodes[ino]
        if inode.base.size:
            return inode.base
        for item in self._effects.items:
            if type(item) is Names and item.subject == ino and item.replaces is not None:
                node = self._start.nodes.get(item.replaces)
                return node.content if isinstance(node, File) else EMPTY
        return EMPTY
