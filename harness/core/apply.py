"""What each operation does to a tree: the semantics of a trace, in one place.

:func:`apply` is total over the operations that succeeded; one that contradicts the tree (a name that is not
there) raises :class:`ReplayError`, which makes the recording *broken*, never a finding.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from harness.core.content import EMPTY, content_of
from harness.core.operation import (
    AnyOperation,
    Link,
    MakeNode,
    Mkdir,
    Open,
    Rename,
    SetMode,
    SetTimes,
    Truncate,
    Unlink,
    Write,
)
from harness.core.trace import Trace
from harness.core.tree import Directory, File, Node, Special, Symlink, Tree


class ReplayError(Exception):
    """An operation does not fit the tree that the operations before it left."""


def _file(tree: Tree, ino: int, op: AnyOperation) -> File:
    node = tree.nodes.get(ino)
    if not isinstance(node, File):
        raise ReplayError(f"operation {op.seq} ({op.kind}): inode {ino} is not a file of this tree")
    return node


def _open(tree: Tree, op: Open) -> Tree:
    if op.created:
        tree = tree.with_node(op.ino, File(EMPTY, op.mode))
        return tree if op.path is None else tree.with_name(op.path, op.ino)
    if op.truncated:
        return tree.with_node(op.ino, _file(tree, op.ino, op)._replace(content=EMPTY, mtime_ns=None))
    if op.ino not in tree.nodes:
        raise ReplayError(f"operation {op.seq} (open): inode {op.ino} is not in this tree")
    return tree


def _write(tree: Tree, op: Write) -> Tree:
    node = _file(tree, op.ino, op)
    if not op.data:
        return tree
    # A write drops set-user-id bits only for unprivileged writers; state files never carry them.
    return tree.with_node(op.ino, File(node.content.write(op.offset, op.data), node.mode, None))


def _truncate(tree: Tree, op: Truncate) -> Tree:
    node = _file(tree, op.ino, op)
    return tree.with_node(op.ino, File(node.content.truncate(op.size), node.mode, None))


def _moved(tree: Tree, source: str, target: str) -> list[tuple[str, int]]:
    """Return the new names of ``source`` and everything below it, as (path, inode)."""
    moved = [(target, tree.names[source])]
    if isinstance(tree.nodes[tree.names[source]], Directory):
        moved += [(target + path[len(source) :], tree.names[path]) for path in tree.below(source)]
    return moved


def _rename(tree: Tree, op: Rename) -> Tree:
    if op.path not in tree.names:
        raise ReplayError(f"operation {op.seq} (rename): no name {op.path!r}")
    if op.path == op.to:
        return tree
    if op.exchange:
        if op.to not in tree.names:
            raise ReplayError(f"operation {op.seq} (rename): no name {op.to!r} to exchange with")
        there, back = _moved(tree, op.path, op.to), _moved(tree, op.to, op.path)
        return tree.edit([op.path, *tree.below(op.path), op.to, *tree.below(op.to)], [*there, *back])
    if tree.names.get(op.to) == tree.names[op.path]:
        return tree  # POSIX: two links to one inode, rename does nothing
    return tree.edit([op.path, *tree.below(op.path)], _moved(tree, op.path, op.to))


def _link(tree: Tree, op: Link) -> Tree:
    if op.ino not in tree.nodes:
        if op.data is None:
            raise ReplayError(f"operation {op.seq} (link): inode {op.ino} is not in this tree")
        tree = tree.with_node(op.ino, File(content_of(op.data), op.mode))
    return tree.with_name(op.path, op.ino)


def _unlink(tree: Tree, op: Unlink) -> Tree:
    if op.path not in tree.names:
        raise ReplayError(f"operation {op.seq} (unlink): no name {op.path!r}")
    return tree.edit([op.path, *tree.below(op.path)], ())


def _mkdir(tree: Tree, op: Mkdir) -> Tree:
    return tree.with_node(op.ino, Directory(op.mode)).with_name(op.path, op.ino)


def _mknod(tree: Tree, op: MakeNode) -> Tree:
    node: Node
    if op.destination is not None:
        node = Symlink(op.destination)
    elif op.type_bits in (0, stat.S_IFREG):
        node = File(EMPTY, op.mode)
    else:
        node = Special(op.type_bits, op.mode)
    return tree.with_node(op.ino, node).with_name(op.path, op.ino)


def _set_mode(tree: Tree, op: SetMode) -> Tree:
    node = tree.nodes.get(op.ino)
    if node is None or isinstance(node, Symlink):
        return tree
    return tree.with_node(op.ino, node._replace(mode=op.mode))


def _set_times(tree: Tree, op: SetTimes) -> Tree:
    node = tree.nodes.get(op.ino)
    if not isinstance(node, File | Directory):
        return tree
    return tree.with_node(op.ino, node._replace(mtime_ns=op.mtime_ns))


_EFFECTS: dict[type, Callable[[Tree, Any], Tree]] = {
    Open: _open,
    Write: _write,
    Truncate: _truncate,
    Rename: _rename,
    Link: _link,
    Unlink: _unlink,
    Mkdir: _mkdir,
    MakeNode: _mknod,
    SetMode: _set_mode,
    SetTimes: _set_times,
}


def _touch_parents(tree: Tree, op: Open | Rename | Link | Unlink | Mkdir | MakeNode) -> Tree:
    """A directory whose entries change gets the clock's time: one that was set explicitly is gone."""
    for path in (op.path, op.to) if isinstance(op, Rename) else (op.path,):
        ino = tree.names.get(path.rpartition("/")[0]) if path else None
        parent = None if ino is None else tree.nodes[ino]
        if ino is not None and isinstance(parent, Directory) and parent.mtime_ns is not None:
            tree = tree.with_node(ino, parent._replace(mtime_ns=None))
    return tree


def apply(tree: Tree, op: AnyOperation) -> Tree:
    """Return the tree after ``op``. Raises :class:`ReplayError` where the operation does not fit."""
    effect = _EFFECTS.get(type(op))
    if effect is None or op.error:
        return tree
    after = effect(tree, op)
    if isinstance(op, Rename | Link | Unlink | Mkdir | MakeNode) or (isinstance(op, Open) and op.created):
        return _touch_parents(after, op)
    return after


def trees_before(trace: Trace) -> Iterator[Tree]:
    """Yield the tree just before each operation of ``trace``. Raises :class:`ReplayError` as :func:`apply` does."""
    tree = trace.start
    for op in trace.operations:
        yield tree
        tree = apply(tree, op)


def replay(start: Tree, operations: Iterable[AnyOperation]) -> Tree:
    """Return the tree after all ``operations``."""
    tree = start
    for op in operations:
        tree = apply(tree, op)
    return tree
