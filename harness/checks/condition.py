"""What condition a state is in, as far as a repair cares: states that differ only in how much was written are alike.

A target's own programs are real processes and see a sample of the states; this makes it one that has them all: a tail
that is torn, one that lacks nothing but its newline, a turn with two calls open, a document that is gone.

Non-goals: whether anything is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import zip_longest
from typing import TypeVar

from harness.checks.binding import Bindings, FileBinding
from harness.checks.conversation_fold import Conversations
from harness.checks.summary import is_json
from harness.core.content import Content
from harness.core.role import path_role
from harness.core.tree import Directory, Tree

T = TypeVar("T")
_NEWLINE = 10
_SEVERAL = 2


class Conditions:
    """Tells the condition of trees; files of the same content are looked at once."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings
        self._conversations = Conversations()
        self._known: dict[tuple[str, bytes], Hashable] = {}

    def of(self, tree: Tree) -> Hashable:
        """Return what stands for the condition of a tree.

        Per path role, whether one or several files are in which condition; and the directories in which there is
        nothing yet: a program that finds one may take what it is for as there.
        """
        found: Counter[tuple[str, Hashable]] = Counter()
        for path, file in tree.files():
            binding = self._bindings.of(path)
            found[path_role(path), self._condition(binding, file.content)] += 1
        files = frozenset((*key, min(number, _SEVERAL)) for key, number in found.items())
        return files, frozenset(path_role(path) for path in _empty_directories(tree))

    def _condition(self, binding: FileBinding | None, content: Content) -> Hashable:
        if binding is None or binding.litter or not content.size:
            return "something" if content.size else "empty"
        key = (binding.glob, content.digest)
        if key not in self._known:
            self._known[key] = self._look(binding, content)
        return self._known[key]

    def _look(self, binding: FileBinding, content: Content) -> Hashable:
        if binding.holds_records:
            calls = self._open_calls(content) if binding.format == "transcript" else ()
            return _tail(content), calls
        return is_json(content.to_bytes()) if binding.holds_document else True

    def _open_calls(self, content: Content) -> Hashable:
        judged = self._conversations.of(content)
        return tuple((fault.invariant, len(fault.ids)) for fault in judged.faults)


def _empty_directories(tree: Tree) -> set[str]:
    """Return the directories that hold no file, not even further below."""
    filled: set[str] = set()
    for path, _ in tree.files():
        above = path.rpartition("/")[0]
        while above and above not in filled:
            filled.add(above)
            above = above.rpartition("/")[0]
    return {path for path, ino in tree.names.items() if type(tree.nodes[ino]) is Directory} - filled


def _tail(content: Content) -> str:
    if content.chunk[-1] == _NEWLINE:
        return "whole"
    data = content.to_bytes()
    return "unterminated" if is_json(data[data.rfind(b"\n") + 1 :]) else "torn"


def by_condition(items: Sequence[T], conditions: Iterable[Hashable]) -> list[T]:
    """Return the items so that any beginning has each condition as often as any other; those alike keep their order."""
    groups: dict[Hashable, list[T]] = {}
    for item, condition in zip(items, conditions, strict=True):
        groups.setdefault(condition, []).append(item)
    rounds = zip_longest(*groups.values(), fillvalue=None)
    return [item for each in rounds for item in each if item is not None]
