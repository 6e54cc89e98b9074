"""Damaging a file of a tree: what a power loss, another program or an older version may have left there. Pure."""

from __future__ import annotations

from harness.core.content import content_of
from harness.core.fault import FileDamage
from harness.core.tree import EMPTY_TREE, File, Tree


def damaged(tree: Tree, path: str, damage: FileDamage, start: Tree = EMPTY_TREE) -> Tree:
    """Return ``tree`` with the file at ``path`` damaged; as it is, where there is no file to damage.

    ``start`` is the tree that the run began with.
    """
    node, old = tree.node_at(path), start.node_at(path)
    if not isinstance(node, File) or (damage == "stale" and not isinstance(old, File)):
        return tree
    size = node.content.size
    if damage == "torn":
        left = node.content.read(0, size // 2)
    elif damage == "holed":
        left = bytes(size // 2) + node.content.read(size // 2, size)
    elif isinstance(old, File) and damage == "stale":
        left = old.content.to_bytes()
    else:
        left = bytes(size) if damage == "nul" else b""
    return tree.with_node(tree.names[path], File(content_of(left), node.mode, node.mtime_ns))
