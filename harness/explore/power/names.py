"""The names that a set of lost changes of names leaves: from effects to "these paths are gone, these have come".

A change is made in the order of the run on whatever names there are then. Entries of a directory that has no name
itself are not seen; a directory takes what is below along.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple, TypeAlias

from harness.core.tree import Directory, Tree
from harness.explore.power.effects import Effects, Names

Difference: TypeAlias = tuple[list[str], list[tuple[str, int]]]
"""Paths that are gone, and (path, inode) of those that have come."""

_KEPT = 4096


class _Map(NamedTuple):
    """All names of a state: path to inode, and each directory's own path."""

    paths: dict[str, int]
    directories: dict[int, str]


class NameChanges:
    """The changes of names of one trace. ``mask`` are their effect numbers."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._numbers = [number for number, item in enumerate(effects.items) if type(item) is Names]
        self._ops = [effects.items[number].op for number in self._numbers]
        self.mask = sum(1 << number for number in self._numbers)
        trees = [effects.trace.start, *effects.trees]
        self._directories = {
            ino
            for tree in (trees[0], *(trees[op + 1] for op in self._ops))
            for ino in tree.names.values()
            if isinstance(tree.nodes[ino], Directory)
        }
        self._maps: dict[tuple[int, int], _Map] = {(0, 0): self._map_of(effects.trace.start)}
        self._differences: dict[tuple[int, int], Difference] = {}

    def _map_of(self, tree: Tree) -> _Map:
        directories = {ino: path for path, ino in tree.names.items() if ino in self._directories}
        return _Map(dict(tree.names), directories)

    def difference(self, op: int, lost: int) -> Difference:
        """Return how the names after operation ``op`` without the ``lost`` changes differ from all of them."""
        count = bisect_right(self._ops, op)
        key = (count, lost)
        found = self._differences.get(key)
        if found is None:
            full, mine = self._effects.trees[op].names, self._map(count, lost).paths
            gone = [path for path in full if path not in mine]
            come = [(path, ino) for path, ino in mine.items() if full.get(path) != ino]
            found = gone, come
            if len(self._differences) > _KEPT:
                self._differences = {}
            self._differences[key] = found
        return found

    def _map(self, count: int, lost: int) -> _Map:
        maps = self._maps
        found = maps.get((count, lost))
        if found is not None:
            return found
        begin, missing = count, lost
        while found is None:
            begin -= 1
            missing &= ~(1 << self._numbers[begin])
            if missing or not begin:
                found = maps.get((begin, missing))
            else:
                found = self._map_of(self._effects.trees[self._ops[begin - 1]])
        if len(maps) > _KEPT:
            start = maps[0, 0]
            self._maps = maps = {key: value for key, value in maps.items() if key[0] >= count - 1}
            maps[0, 0] = start
        for index in range(begin, count):
            number = self._numbers[index]
            if lost >> number & 1:
                missing |= 1 << number
            else:
                item = self._effects.items[number]
                found = changed(found, item, self._directories) if type(item) is Names else found
            maps[index + 1, missing] = found
        return found


def changed(names: _Map, item: Names, directories: set[int]) -> _Map:
    """Return ``names`` with one change made."""
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
        if path is not None and path in paths:
            gone.append(path)
            if paths[path] in directories and paths[path] != item.subject:
                gone += [each for each in paths if each.startswith(path + "/")]
            elif paths[path] in directories and not item.come:
                gone += [each for each in paths if each.startswith(path + "/")]
    touched = [paths.pop(path, None) for path in gone]
    paths.update(come)
    if any(ino in directories for _, ino in come) or not directories.isdisjoint(touched):
        own = {ino: path for path, ino in paths.items() if ino in directories}
    return _Map(paths, own)


def _path(own: dict[int, str], directory: int, name: str) -> str | None:
    if directory == 0:
        return name
    path = own.get(directory)
    return None if path is None else f"{path}/{name}"
