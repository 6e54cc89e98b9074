"""A file tree as an immutable value: names → inodes, with content and metadata apart.

Paths are relative to the state directory, ``/``-separated, without a leading or trailing slash; names that are
not UTF-8 carry surrogate escapes. The state directory itself is not in the tree. Directories are inodes of
their own, so an empty one is visible. An inode without a name (unlinked but open) stays writable and is
invisible to every comparison.

``key`` identifies *names and content*: a sum over entries, so one operation updates it in constant time.
Metadata (mode, ``mtime_ns``) and link structure are compared by :func:`differences` only.

Non-goals: owners, extended attributes, timestamps that nobody set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from harness.core.content import EMPTY, Content

_KEY_MODULUS = 1 << 128


class File(NamedTuple):
    """A regular file. ``mtime_ns`` is ``None`` until someone sets it explicitly; a later write clears it."""

    content: Content = EMPTY
    mode: int = 0o644
    mtime_ns: int | None = None


class Directory(NamedTuple):
    """A directory; its entries are the names below it."""

    mode: int = 0o755
    mtime_ns: int | None = None


class Symlink(NamedTuple):
    """A symbolic link and its unresolved destination."""

    destination: str


class Special(NamedTuple):
    """A FIFO, socket or device: it has a name and no content."""

    type_bits: int
    mode: int = 0o644


Node: TypeAlias = File | Directory | Symlink | Special


@lru_cache(maxsize=1 << 14)
def _digest_of(text: str) -> int:
    raw = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=16).digest(), "little")


def _entry_key(path: str, node: Node) -> int:
    """Return the share of one entry: what the name holds, times an odd number that the name and its type give.

    Both are digests, so entries collide no sooner than these do; a state costs a product, not a hash.
    """
    if type(node) is File:
        return int.from_bytes(node.content.digest, "little") * (_digest_of(path + "\0f") | 1)
    if type(node) is Directory:
        return _digest_of(path + "\0d")
    if type(node) is Symlink:
        return _digest_of(f"{path}\0l{node.destination}")
    return _digest_of(path + "\0s")


class Tree:
    """Immutable names → inode numbers → nodes. Inode numbers are the trace's own, never the kernel's."""

    __slots__ = ("_links", "key", "names", "nodes")

    def __init__(
        self,
        names: Mapping[str, int],
        nodes: Mapping[int, Node],
        key: int,
        links: Mapping[int, tuple[str, ...]],
    ) -> None:
        self.names = names
        self.nodes = nodes
        self.key = key
        self._links = links

    def node_at(self, path: str) -> Node | None:
        """Return the node that ``path`` names, or ``None``."""
        ino = self.names.get(path)
        return None if ino is None else self.nodes[ino]

    def names_of(self, ino: int) -> tuple[str, ...]:
        """Return every path of inode ``ino``; empty when it is unlinked."""
        return self._links.get(ino, ())

    def files(self) -> Iterator[tuple[str, File]]:
        """Yield (path, file) of every regular file, in no particular order."""
        for path, ino in self.names.items():
            node = self.nodes[ino]
            if type(node) is File:
                yield path, node

    def below(self, directory: str) -> list[str]:
        """Return every path strictly below ``directory``."""
        prefix = directory + "/"
        return [path for path in self.names if path.startswith(prefix)]

    def with_node(self, ino: int, node: Node) -> Tree:
        """Return the tree with inode ``ino`` replaced, or added without a name."""
        key = self.key
        paths = self._links.get(ino)
        if paths:
            old = self.nodes[ino]
            for path in paths:
                key += _entry_key(path, node) - _entry_key(path, old)
            key %= _KEY_MODULUS
        nodes = dict(self.nodes)
        nodes[ino] = node
        return Tree(self.names, nodes, key, self._links)

    def replacing(self, ino: int) -> Callable[[Node], Tree]:
        """Return :meth:`with_node` for one inode, prepared: for many successors of one tree that differ only there."""
        paths = self._links.get(ino, ())
        base, nodes, names, links = self.key, self.nodes, self.names, self._links
        if paths:
            base -= sum(_entry_key(path, nodes[ino]) for path in paths)

        def successor(node: Node) -> Tree:
            key = base
            for path in paths:
                key += _entry_key(path, node)
            changed = dict(nodes)
            changed[ino] = node
            return Tree(names, changed, key % _KEY_MODULUS, links)

        return successor

    def with_name(self, path: str, ino: int) -> Tree:
        """Return the tree with ``path`` naming inode ``ino``, in place of whatever it named."""
        return self.edit((), ((path, ino),))

    def without_name(self, path: str) -> Tree:
        """Return the tree without the name ``path``; the inode stays."""
        return self.edit((path,), ())

    def edit(self, gone: Iterable[str], come: Iterable[tuple[str, int]]) -> Tree:
        """Return the tree with names removed, then names set, in one step."""
        names = dict(self.names)
        links = dict(self._links)
        key = self.key

        def drop(path: str) -> None:
            nonlocal key
            ino = names.pop(path, None)
            if ino is None:
                return
            key -= _entry_key(path, self.nodes[ino])
            rest = tuple(p for p in links[ino] if p != path)
            if rest:
                links[ino] = rest
            else:
                del links[ino]

        for path in gone:
            drop(path)
        for path, ino in come:
            drop(path)
            names[path] = ino
            links[ino] = (*links.get(ino, ()), path)
            key += _entry_key(path, self.nodes[ino])
        return Tree(names, self.nodes, key % _KEY_MODULUS, links)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and other.key == self.key and len(other.names) == len(self.names)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Tree({', '.join(sorted(self.names)) or 'empty'})"

    def __reduce__(self) -> tuple[object, tuple[dict[str, int], dict[int, Node]]]:
        return build_tree, (dict(self.names), dict(self.nodes))


EMPTY_TREE = Tree({}, {}, 0, {})


def build_tree(names: Mapping[str, int], nodes: Mapping[int, Node]) -> Tree:
    """Return the tree with these names and inodes. A name of an unknown inode is a :class:`KeyError`."""
    key = 0
    links: dict[int, tuple[str, ...]] = {}
    for path, ino in names.items():
        key += _entry_key(path, nodes[ino])
        links[ino] = (*links.get(ino, ()), path)
    return Tree(dict(names), dict(nodes), key % _KEY_MODULUS, links)


def tree_of(files: Mapping[str, bytes]) -> Tree:
    """Return a tree of plain files (and the directories above them): the shorthand of tests and damage."""
    names: dict[str, int] = {}
    nodes: dict[int, Node] = {}
    for path, data in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            directory = "/".join(parts[:depth])
            if directory not in names:
                names[directory] = len(nodes) + 1
                nodes[len(nodes) + 1] = Directory()
        names[path] = len(nodes) + 1
        nodes[len(nodes) + 1] = File(EMPTY.append(data))
    return build_tree(names, nodes)


def _node_difference(path: str, expected: Node, found: Node) -> Iterator[str]:
    if type(expected) is not type(found):
        yield f"{path}: expected a {type(expected).__name__.lower()}, found a {type(found).__name__.lower()}"
        return
    if isinstance(expected, File) and isinstance(found, File) and expected.content != found.content:
        yield f"{path}: expected {expected.content!r}, found {found.content!r}"
    if isinstance(expected, Symlink) and expected != found:
        yield f"{path}: symbolic link leads elsewhere"
    if isinstance(expected, Special) and isinstance(found, Special) and expected.type_bits != found.type_bits:
        yield f"{path}: expected type {expected.type_bits:o}, found {found.type_bits:o}"
    if not isinstance(expected, Symlink) and not isinstance(found, Symlink):
        if expected.mode != found.mode:
            yield f"{path}: expected mode {expected.mode:o}, found {found.mode:o}"
        if (
            isinstance(expected, File | Directory)
            and isinstance(found, File | Directory)
            and expected.mtime_ns is not None
            and expected.mtime_ns != found.mtime_ns
        ):
            yield f"{path}: expected mtime_ns {expected.mtime_ns}, found {found.mtime_ns}"


def differences(expected: Tree, found: Tree, ignore_content: frozenset[str] = frozenset()) -> list[str]:
    """Return how ``found`` differs from ``expected``: names, content, modes, explicit mtimes, hard links.

    The content of paths in ``ignore_content`` is not compared (stores through a shared mapping are not seen).
    An ``mtime_ns`` of ``None`` in ``expected`` means "set by the clock" and matches anything.
    """
    out = [f"{path}: missing" for path in sorted(set(expected.names) - set(found.names))]
    out += [f"{path}: unexpected" for path in sorted(set(found.names) - set(expected.names))]
    for path in sorted(set(expected.names) & set(found.names)):
        left, right = expected.nodes[expected.names[path]], found.nodes[found.names[path]]
        if path in ignore_content and isinstance(left, File) and isinstance(right, File):
            left = left._replace(content=right.content)
        out.extend(_node_difference(path, left, right))
        links = sorted(expected.names_of(expected.names[path])), sorted(found.names_of(found.names[path]))
        if links[0] != links[1]:
            out.append(f"{path}: expected hard links {links[0]}, found {links[1]}")
    return out
