"""The names that a set of lost changes of names leaves: from effects to "these paths are gone, these have come".

A change is made in the order of the run on whatever names there are then. Entries of a directory that has no name
itself are not seen; a directory takes what is below along.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from harness.core.tree import Directory
from harness.explore.power.effects import Effects, Names

_KEPT_NAMES = 1_000_000
"""Names in all remembered maps together: some hundred megabytes."""


_KEPT_MASKS = 1 << 17
"""Sets of changes whose names are remembered."""


class NameMap(NamedTuple):
    """All names of a state: path to inode, and each directory's own path. Equal names have one ``number``."""

    paths: dict[str, int]
    directories: dict[int, str]
    number: int


class Difference(NamedTuple):
    """Paths that are gone, and (path, inode) of those that have come."""

    gone: list[str]
    come: list[tuple[str, int]]


class NameChanges:
    """The changes of names of one trace. ``mask`` are their effect numbers."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._serial = 0
        numbers = [number for number, item in enumerate(effects.items) if type(item) is Names]
        self._ops = [effects.items[number].op for number in numbers]
        self._upto = [0]
        for number in numbers:
            self._upto.append(self._upto[-1] | 1 << number)
        self.mask = self._upto[-1]
        trees = [effects.trace.start, *effects.trees]
        self._directories = {
            ino
            for tree in (trees[0], *(trees[op + 1] for op in self._ops))
            for ino in tree.names.values()
            if isinstance(tree.nodes[ino], Directory)
        }
        # Where all changes up to the last one of an operation are kept, the tree after it has the names.
        self._whole = {0: effects.trace.start}
        for index, op in enumerate(self._ops):
            if self._ops[index + 1 : index + 2] != [op]:
                self._whole[self._upto[index + 1]] = effects.trees[op]
        self._limit = max(256, _KEPT_NAMES // (1 + max(len(tree.names) for tree in trees)))
        self._forget()

    def _forget(self) -> None:
        self._maps: dict[int, NameMap] = {}
        self._known: dict[frozenset[tuple[str, int]], NameMap] = {}
        self._steps: dict[tuple[int, int], NameMap] = {}

    def difference(self, op: int, names: NameMap) -> Difference:
        """Return how ``names`` differ from those after operation ``op`` with all changes."""
        full, mine = self._effects.trees[op].names, names.paths
        gone = [path for path in full if path not in mine]
        return Difference(gone, [(path, ino) for path, ino in mine.items() if full.get(path) != ino])

    def names(self, op: int, lost: int) -> NameMap:
        """Return the names after operation ``op`` without the ``lost`` changes.

        They are those without the last change that is kept, and it. What is lost has often no part in them any more:
        names that are equal are one, so what comes after them is worked out once.
        """
        kept = self._upto[bisect_right(self._ops, op)] & ~lost
        if len(self._maps) > _KEPT_MASKS:
            self._forget()
        maps, pending = self._maps, []
        found = maps.get(kept)
        while found is None:
            tree = self._whole.get(kept)
            if tree is not None:
                directories = {ino: path for path, ino in tree.names.items() if ino in self._directories}
                found = maps[kept] = self._one(dict(tree.names), directories)
                break
            last = kept.bit_length() - 1
            pending.append((kept, last))
            kept ^= 1 << last
            found = maps.get(kept)
        for mask, number in reversed(pending):
            found = maps[mask] = self._step(found, number)
        return found

    def _step(self, names: NameMap, number: int) -> NameMap:
        key = (names.number, number)
        found = self._steps.get(key)
        if found is None:
            item = self._effects.items[number]
            assert type(item) is Names  # ``mask`` holds no others
            found = self._steps[key] = self._one(*changed(names, item, self._directories))
        return found

    def _one(self, paths: dict[str, int], directories: dict[int, str]) -> NameMap:
        key = frozenset(paths.items())
        found = self._known.get(key)
        if found is None:
            if len(self._known) > self._limit:
                self._forget()
            self._serial += 1
            found = self._known[key] = NameMap(paths, directories, self._serial)
        return found


def changed(names: NameMap, item: Names, directories: set[int]) -> tuple[dict[str, int], dict[int, str]]:
    """Return the paths, and those of directories, of ``names`` with one change made."""
    paths, own = dict(names.paths), names.directories
    come: list[tuple[str, int]] = []
    gone: list[str] = []
    for (directory, name), ino in item.come:
        path = _path(own, directory, name)
        if path is None:
            continue
        come.append((path, ino))
        if ino in directories and ino in own:
            source = own[ino]
            below = [each for each in paths if each.startswith(source + "/")]
            gone += [source, *below]
            come += [(path + each[len(source) :], paths[each]) for each in below]
    for directory, name in item.gone:
        path = _path(own, directory, name)
        # An entry goes with the file that it named: where that one never came, what is there stays.
        if path is not None and paths.get(path) == item.subject:
            gone.append(path)
            taken_along = paths[path] == item.subject and bool(item.come)
            if paths[path] in directories and not taken_along:
                gone += [each for each in paths if each.startswith(path + "/")]
    touched = [paths.pop(path, None) for path in gone]
    paths.update(come)
    if any(ino in directories for _, ino in come) or not directories.isdisjoint(touched):
        own = {ino: path for path, ino in paths.items() if ino in directories}
    return paths, own


def _path(own: dict[int, str], directory: int, name: str) -> str | None:
    if directory == 0:
        return name
    path = own.get(directory)
    return None if path is None else f"{path}/{name}"
