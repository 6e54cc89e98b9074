"""A tree's key is that of its names and content, however it came about; differences name every deviation."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.content import EMPTY, content_of
from harness.core.tree import (
    EMPTY_TREE,
    Directory,
    File,
    Node,
    Special,
    Symlink,
    Tree,
    build_tree,
    differences,
    tree_of,
)

_NAME = st.sampled_from(["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "\udcff"])
_INO = st.integers(1, 5)
_NODE = st.one_of(
    st.builds(File, st.binary(max_size=4).map(content_of), st.sampled_from([0o600, 0o644])),
    st.builds(Directory),
    st.builds(Symlink, st.sampled_from(["a", "../x"])),
    st.builds(Special, st.just(0o010000)),
)
_EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("node"), _INO, _NODE),
        st.tuples(st.just("name"), _NAME, _INO),
        st.tuples(st.just("unname"), _NAME),
        st.tuples(st.just("edit"), st.lists(_NAME, max_size=3), st.lists(st.tuples(_NAME, _INO), max_size=3)),
    ),
    max_size=30,
)


def _edited(edits: list[tuple]) -> Tree:
    tree = EMPTY_TREE
    for edit in edits:
        match edit:
            case ("node", ino, node):
                tree = tree.with_node(ino, node)
            case ("name", path, ino) if ino in tree.nodes:
                tree = tree.with_name(path, ino)
            case ("unname", path):
                tree = tree.without_name(path)
            case ("edit", gone, come):
                tree = tree.edit(gone, [(path, ino) for path, ino in come if ino in tree.nodes])
    return tree


@given(_EDITS)
def test_key_and_links_equal_those_of_a_rebuilt_tree(edits: list[tuple]) -> None:
    tree = _edited(edits)
    rebuilt = build_tree(tree.names, tree.nodes)
    assert tree.key == rebuilt.key
    assert tree == rebuilt
    for ino in tree.nodes:
        expected = sorted(path for path, named in tree.names.items() if named == ino)
        assert sorted(tree.names_of(ino)) == sorted(rebuilt.names_of(ino)) == expected
    assert differences(tree, rebuilt) == []
    assert pickle.loads(pickle.dumps(tree)) == tree


@given(_EDITS, _EDITS)
def test_equal_keys_mean_equal_names_and_content(left_edits: list[tuple], right_edits: list[tuple]) -> None:
    def plain(tree: Tree) -> dict[str, tuple]:
        out: dict[str, tuple] = {}
        for path, ino in tree.names.items():
            node = tree.nodes[ino]
            data = node.content.to_bytes() if isinstance(node, File) else getattr(node, "destination", "")
            out[path] = (type(node), data)
        return out

    left, right = _edited(left_edits), _edited(right_edits)
    assert (left == right) == (plain(left) == plain(right))


def test_an_edit_leaves_the_old_tree_alone() -> None:
    old = tree_of({"a": b"1", "d/b": b"2"})
    key, names = old.key, dict(old.names)
    old.with_node(old.names["a"], File(content_of(b"other"))).without_name("d/b").with_name("x", old.names["a"])
    assert (old.key, dict(old.names)) == (key, names)
    assert old.names_of(old.names["a"]) == ("a",)


def test_metadata_and_unnamed_inodes_are_not_in_the_key() -> None:
    tree = tree_of({"a": b"1"})
    ino = tree.names["a"]
    assert tree.with_node(ino, tree.nodes[ino]._replace(mode=0o400, mtime_ns=5)).key == tree.key
    assert tree.with_node(99, File(content_of(b"unlinked but open"))).key == tree.key


def test_kinds_of_node_and_names_are_told_apart() -> None:
    nodes: list[Node] = [File(EMPTY), Directory(), Symlink(""), Special(0o010000)]
    keys = {build_tree({"a": 1}, {1: node}).key for node in nodes}
    assert len(keys) == len(nodes)
    assert tree_of({"ab": b"c"}).key != tree_of({"a": b"bc"}).key


def test_tree_of_makes_the_directories_above_a_file() -> None:
    tree = tree_of({"a/b/c": b"1", "a/d": b"2"})
    assert sorted(tree.names) == ["a", "a/b", "a/b/c", "a/d"]
    assert sorted(tree.below("a")) == ["a/b", "a/b/c", "a/d"]
    assert dict(tree.files()).keys() == {"a/b/c", "a/d"}


def test_below_does_not_take_names_that_only_begin_alike() -> None:
    assert tree_of({"a/x": b"", "ab/x": b"", "a.b": b""}).below("a") == ["a/x"]


def test_a_name_needs_an_inode() -> None:
    with pytest.raises(KeyError):
        build_tree({"a": 1}, {})


_BASE = build_tree(
    {"f": 1, "g": 1, "d": 2, "l": 3, "p": 4},
    {1: File(content_of(b"abc"), 0o644, 7), 2: Directory(0o755), 3: Symlink("f"), 4: Special(0o010000, 0o600)},
)


@pytest.mark.parametrize(
    ("found", "expected_line"),
    [
        (_BASE.without_name("f"), "f: missing"),
        (_BASE.with_name("new", 1), "new: unexpected"),
        (_BASE.with_node(1, File(content_of(b"abd"), 0o644, 7)), "f: expected Content(3 bytes"),
        (_BASE.with_node(1, File(content_of(b"abc"), 0o600, 7)), "f: expected mode 644, found 600"),
        (_BASE.with_node(1, File(content_of(b"abc"), 0o644, 8)), "f: expected mtime_ns 7, found 8"),
        (_BASE.with_node(2, Directory(0o700)), "d: expected mode 755, found 700"),
        (_BASE.with_node(2, File()), "d: expected a directory, found a file"),
        (_BASE.with_node(3, Symlink("g")), "l: symbolic link leads elsewhere"),
        (_BASE.with_node(4, Special(0o140000, 0o600)), "p: expected type 10000, found 140000"),
        (
            _BASE.with_node(5, File(content_of(b"abc"), 0o644, 7)).with_name("g", 5),
            "g: expected hard links ['f', 'g'], found ['g']",
        ),
    ],
)
def test_differences_names_every_deviation(found: Tree, expected_line: str) -> None:
    lines = differences(_BASE, found)
    assert any(line.startswith(expected_line) for line in lines), lines
    assert not any("abc" in line for line in lines)  # content is never quoted


def test_differences_of_equal_trees_is_empty_and_ignored_content_is_ignored() -> None:
    assert differences(_BASE, _BASE) == []
    other = _BASE.with_node(1, File(content_of(b"zzz"), 0o644, 7))
    assert differences(_BASE, other, frozenset({"f", "g"})) == []
    assert differences(_BASE, other, frozenset({"f"})) != []  # g is still compared
    clock = build_tree({"f": 1}, {1: File(EMPTY, 0o644, None)})
    assert differences(clock, build_tree({"f": 1}, {1: File(EMPTY, 0o644, 123)})) == []
