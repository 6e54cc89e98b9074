"""From the kernel's inodes to the trace's own numbers.

The kernel reuses an inode number as soon as its file is gone, so a creation always gives a new trace number.
The state directory is 0; files of the starting tree keep the numbers of that tree.
"""

from __future__ import annotations

import os

from harness.core.tree import Tree

Key = tuple[int, int]
"""(st_dev, st_ino)."""


class Inodes:
    """The trace numbers of the files that are, or were, in the state directory."""

    def __init__(self, root: str, start: Tree) -> None:
        info = os.stat(root)
        self.device = info.st_dev
        self._numbers: dict[Key, int] = {(info.st_dev, info.st_ino): 0}
        for path, number in start.names.items():
            entry = os.lstat(os.path.join(root, path))
            self._numbers[entry.st_dev, entry.st_ino] = number
        self._next = max(start.nodes, default=0) + 1

    def get(self, key: Key) -> int | None:
        """Return the number of a file of the state directory, ``None`` for one that never was in it."""
        return self._numbers.get(key)

    def create(self, key: Key) -> int:
        """Return a new number for a file that was just made or has just come in."""
        number = self._numbers[key] = self._next
        self._next += 1
        return number

    def forget(self, key: Key) -> None:
        """Note that a file outside was made with this inode: whatever had it inside is gone."""
        self._numbers.pop(key, None)
