"""What each operation of a trace puts on the disk, effect by effect: the raw material of every persistence model.

An *effect* is the smallest thing that reaches the disk or does not: the bytes of one write within one block
(:class:`Data`), a new size of a file (:class:`Size`), a truncation (:class:`Cut`), a change of directory entries
(:class:`Names`; a rename is one, so it is atomic). They are numbered in the order of the run. Of a profile they depend
on the size of a block and on what a size waits for: where it waits for its data, bytes that only extend the file are
one effect with it, for neither is ever seen without the other; where it does not, bytes beyond the old size count only
where the size is there. What may be missing is said by :mod:`harness.explore.power.order`.

Modes, times and attributes are taken as kept, and an inode as made with its first name: what counts is names and
content.

Non-goals: stores through shared mappings (no engine sees them).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from harness.core.apply import apply
from harness.core.operation import (
    AnyOperation,
    Link,
    MakeNode,
    Mkdir,
    Open,
    Rename,
    Sync,
    Truncate,
    Unlink,
    Write,
)
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.core.tree import Directory, File, Tree

MAX_BLOCKS_PER_WRITE = 48
"""A longer write is cut into blocks of several times the size, so that its effects stay countable."""

Entry: TypeAlias = tuple[int, str]
"""A directory entry: (inode of the directory, name); the state directory is inode 0."""


class Data(NamedTuple):
    """Bytes of a write within one block, whose number is ``block``.

    ``grows``: the size that they bring with them, 0 for none. ``hidden``: they are seen only with the effect before
    them, their size. ``fresh``: the write allocated their block.
    """

    op: int
    ino: int
    offset: int
    data: bytes
    block: int
    grows: int = 0
    hidden: bool = False
    fresh: bool = False


class Size(NamedTuple):
    """A file extended to ``size`` by a write. ``after_data``: not without the effect before it, its data."""

    op: int
    ino: int
    size: int
    after_data: bool = False


class Cut(NamedTuple):
    """A file set to ``size`` (O_TRUNC, truncate): what lay beyond is gone. ``shrinks``: it was longer before."""

    op: int
    ino: int
    size: int
    shrinks: bool


class Names(NamedTuple):
    """Directory entries changed together: ``gone`` name nothing any more, ``come`` name an inode.

    ``subject`` is the inode that the operation is about. ``replaces``: the inode of a regular file that lost its name
    to it; ``new_name``: a file with content got a name that named nothing. ``removes``: the second half of a rename
    in two steps, whose first is the effect before it.
    """

    op: int
    subject: int
    gone: tuple[Entry, ...]
    come: tuple[tuple[Entry, int], ...]
    replaces: int | None = None
    new_name: bool = False
    removes: bool = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every directory entry that is touched."""
        return self.gone + tuple(entry for entry, _ in self.come)


Effect: TypeAlias = Data | Size | Cut | Names


class Effects(NamedTuple):
    """All effects of a trace. ``of_op[k]`` are the indices of those of operation ``k``, ``trees[k]`` the tree after it.
    ``upto[n]`` is the mask of the effects of the first ``n`` operations.

    ``coarse`` counts the writes that were cut into larger blocks than the file system's.
    """

    trace: Trace
    items: tuple[Effect, ...]
    of_op: tuple[range, ...]
    trees: tuple[Tree, ...]
    upto: tuple[int, ...]
    coarse: int


def effects_of(trace: Trace, profile: Profile) -> Effects:
    """Return the effects of a trace, in order. Raises :class:`harness.core.apply.ReplayError` as ``apply`` does."""
    block_bytes = profile.block_bytes
    items: list[Effect] = []
    of_op: list[range] = []
    trees: list[Tree] = []
    coarse = 0
    allocated: dict[int, int] = {}
    revealed = _revealed(trace)
    carries = profile.block_writes_ordered
    tree = trace.start
    for op in trace.operations:
        first = len(items)
        if op.error:
            # Where a failed sync takes back what the pages held, later writes to them do not carry it.
            carries = carries and not (isinstance(op, Sync) and profile.failed_fsync == "revert")
        else:
            if isinstance(op, Write) and len(op.data) > block_bytes * MAX_BLOCKS_PER_WRITE:
                coarse += 1
            items.extend(_effects(op, tree, profile, allocated, revealed, carries))
            tree = apply(tree, op)
        of_op.append(range(first, len(items)))
        trees.append(tree)
    upto = (0, *((1 << numbers.stop) - 1 for numbers in of_op))
    return Effects(trace, tuple(items), tuple(of_op), tuple(trees), upto, coarse)


def _size(tree: Tree, ino: int) -> int:
    node = tree.nodes.get(ino)
    return node.content.size if isinstance(node, File) else 0


def _entry(tree: Tree, path: str) -> Entry:
    directory, _, name = path.rpartition("/")
    return (tree.names[directory] if directory else 0), name


def _revealed(trace: Trace) -> frozenset[int]:
    """Return the inodes whose size is set: data without a size of their own are seen below it."""
    return frozenset(op.ino for op in trace.operations if isinstance(op, Truncate) and not op.error and op.size)


def _effects(
    op: AnyOperation,
    tree: Tree,
    profile: Profile,
    allocated: dict[int, int],
    revealed: frozenset[int],
    carries: bool,
) -> Iterator[Effect]:
    if isinstance(op, Open):
        if op.created and op.path is not None:
            yield Names(op.seq, op.ino, (), ((_entry(tree, op.path), op.ino),))
        elif op.truncated:
            yield from _cut(op.seq, op.ino, 0, tree, profile, allocated)
    elif isinstance(op, Write):
        yield from _write(op, op.offset, op.data, tree, profile, allocated, op.ino in revealed, carries)
    elif isinstance(op, Truncate):
        yield from _cut(op.seq, op.ino, op.size, tree, profile, allocated)
    elif isinstance(op, Rename):
        if op.path != op.to and (op.exchange or tree.names.get(op.to) != tree.names[op.path]):
            yield from _rename(op, tree, profile)
    elif isinstance(op, Link):
        if op.ino not in tree.nodes and op.data:
            yield from _write(op, 0, op.data, tree, profile, allocated, op.ino in revealed, carries)
        yield Names(op.seq, op.ino, (), ((_entry(tree, op.path), op.ino),), new_name=True)
    elif isinstance(op, Unlink):
        yield Names(op.seq, tree.names[op.path], (_entry(tree, op.path),), ())
    elif isinstance(op, Mkdir | MakeNode):
        yield Names(op.seq, op.ino, (), ((_entry(tree, op.path), op.ino),))


def _rename(op: Rename, tree: Tree, profile: Profile) -> Iterator[Names]:
    ino, replaced = tree.names[op.path], tree.names.get(op.to)
    source, target = _entry(tree, op.path), _entry(tree, op.to)
    if op.exchange and replaced is not None:
        yield Names(op.seq, ino, (), ((target, ino), (source, replaced)))
        return
    is_file = replaced is not None and isinstance(tree.nodes[replaced], File)
    # A directory has one name; that of a file may be there twice for a while.
    apart = source[0] != target[0] and profile.rename_across_dirs == "target_first"
    apart = apart and not isinstance(tree.nodes[ino], Directory)
    gone = () if apart else (source,)
    yield Names(op.seq, ino, gone, ((target, ino),), replaced if is_file else None, replaced is None)
    if apart:
        yield Names(op.seq, ino, (source,), (), removes=True)


def _blocks_of(size: int, block: int) -> int:
    return -(-size // block)


def _cut(
    op: int, ino: int, size: int, tree: Tree, profile: Profile, allocated: dict[int, int]
) -> Iterator[Data | Cut]:
    """A truncation inside a block fills the rest of that block with zeros first: data, which may go alone."""
    before, block = _size(tree, ino), profile.block_bytes
    blocks = _blocks_of(size, block)
    # An extension allocates nothing: what it adds is a hole.
    allocated[ino] = min(allocated.get(ino, _blocks_of(before, block)), blocks)
    end = min(before, blocks * block)
    if size < end:
        yield Data(op, ino, size, bytes(end - size), size // block)
    yield Cut(op, ino, size, size < before)


def _write(
    op: Write | Link,
    offset: int,
    data: bytes,
    tree: Tree,
    profile: Profile,
    allocated: dict[int, int],
    revealed: bool,
    carries: bool,
) -> Iterator[Data | Size]:
    """Per block: its data, and the size up to where they reach, as a kernel's buffered write does them."""
    seq, ino = op.seq, op.ino
    size, block = _size(tree, ino), profile.block_bytes
    had = allocated.get(ino, _blocks_of(size, block))
    unit = block * max(1, _blocks_of(_blocks_of(len(data), block), MAX_BLOCKS_PER_WRITE))
    at, end = offset, offset + len(data)
    while at < end:
        upto = min(end, (at // unit + 1) * unit)
        part, number = data[at - offset : upto - offset], at // block
        seen_alone = at < size or revealed
        fresh = (upto - 1) // block >= had
        waits = profile.data_before_size == "write" or (profile.data_before_size == "new_blocks" and fresh)
        if seen_alone:
            yield _in_block(Data(seq, ino, at, part, number, fresh=fresh), tree, block if carries else 0)
        if upto > size and seen_alone:
            yield Size(seq, ino, upto, waits)
        elif upto > size and waits:
            yield Data(seq, ino, at, part, number, grows=upto, fresh=fresh)
        elif upto > size:
            yield Size(seq, ino, upto)
            yield Data(seq, ino, at, part, number, hidden=True, fresh=fresh)
        at = upto
    allocated[ino] = max(had, _blocks_of(end, block))


def _in_block(item: Data, tree: Tree, block: int) -> Data:
    """Return data with all that the file held in their blocks before, as a page cache writes them.

    What was appended there goes along without the size that would show it. ``block`` is 0 where nothing is carried.
    """
    node = tree.nodes.get(item.ino)
    if not block or not isinstance(node, File) or item.offset > node.content.size:
        return item
    end = item.offset + len(item.data)
    start = item.offset // block * block
    before = node.content.read(start, item.offset)
    after = node.content.read(end, _blocks_of(end, block) * block)
    return item._replace(offset=start, data=before + item.data + after)


def is_directory(effects: Effects, op: int, ino: int) -> bool:
    """Whether ``ino`` is a directory after operation ``op``; the state directory is one."""
    return ino == 0 or isinstance(effects.trees[op].nodes.get(ino), Directory)
