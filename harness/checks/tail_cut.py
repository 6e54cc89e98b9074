"""What a start that cuts damaged tails off would make of a tree: record files back to their last whole record.

A record file is cut where, beyond what it held when the run began, its first damaged line begins: a line that is no
JSON, a NUL, an end without a newline. What the cut takes away is then judged like anything that is missing.

Non-goals: a repair of anything else, and whether a target does this (its own programs are asked elsewhere).
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.checks.binding import Bindings, FileBinding
from harness.checks.summary import LineFold
from harness.core.content import Content
from harness.core.tree import File, Tree

_KEPT = 50_000


class TailCut:
    """Cuts the files of ``bindings`` whose torn tail the next opener heals; ``start`` is the run's first tree."""

    def __init__(self, bindings: Iterable[FileBinding], start: Tree) -> None:
        self._bindings = Bindings(bindings)
        self._start = start
        self._folds: dict[bool, LineFold] = {}
        self._made: dict[tuple[str, bytes], Content] = {}

    def of(self, tree: Tree) -> Tree:
        """Return the tree with its damaged tails cut off."""
        for path, ino in tree.names.items():
            binding = self._bindings.of(path)
            if binding is None or not binding.holds_records or binding.torn_tail != "healed":
                continue
            node = tree.nodes[ino]
            if type(node) is File:
                content = self._cut(path, node.content, binding)
                if content is not node.content:
                    tree = tree.with_node(ino, node._replace(content=content))
        return tree

    def _cut(self, path: str, content: Content, binding: FileBinding) -> Content:
        key = (path, content.digest)
        made = self._made.get(key)
        if made is None:
            if len(self._made) > _KEPT:
                self._made = {}
            end = self._sound_until(path, content, binding)
            made = self._made[key] = content if end == content.size else content.truncate(end)
        return content if made.size == content.size else made

    def _sound_until(self, path: str, content: Content, binding: FileBinding) -> int:
        node = self._start.node_at(path)
        least = min(content.size, node.content.size if isinstance(node, File) else 0)
        fold = self._folds.setdefault(binding.json, LineFold(parse=binding.json))
        lines = fold.of(content)
        ends = [content.size, lines.tail_start, *(problem.offset for problem in lines.problems)]
        if lines.nul_at >= 0:
            ends.append(content.read(0, lines.nul_at).rfind(b"\n") + 1)
        return min((end for end in ends if end >= least), default=content.size)
