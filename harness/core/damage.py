"""Damaging a file of a tree: what a power loss, another program or an older version may have left there. Pure."""

from __future__ import annotations

from harness.core.content import content_of
from harness.core.fault import FileDamage
from harness.core.tree import File, Tree


def damaged(tree: Tree, path: str, damage: FileDamage) -> Tree:
    """Return ``tree`` with the file at ``path`` damaged; as it is, where there is no file to damage."""
    node = tree.node_at(path)
    if not isinstance(node, File):
        return tree
    size = node.content.size
    left = {"torn": node.content.read(0, size // 2), "nul": bytes(size), "empty": b""}[damage]
    return tree.with_node(tree.names[path], File(content_of(left), node.mode, node.mtime_ns))
