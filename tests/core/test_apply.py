"""apply does to a tree what the operating system does to a directory."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.apply import ReplayError, apply, replay
from harness.core.content import content_of
from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    Lock,
    MakeNode,
    Map,
    Mkdir,
    Open,
    Outside,
    Rename,
    SetAttribute,
    SetMode,
    SetTimes,
    Sync,
    Truncate,
    Unlink,
    Write,
)
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

posix_only = pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="keeps inodes alive through O_PATH (Linux)")

_PATH = st.sampled_from(["a", "b", "d", "d/a", "d/b", "e", "e/a", "e/d"])
_BYTES = st.binary(min_size=1, max_size=12)
_CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), _PATH, st.booleans()),
        st.tuples(st.just("write"), _PATH, st.integers(0, 20), _BYTES),
        st.tuples(st.just("truncate"), _PATH, st.integers(0, 25)),
        st.tuples(st.just("rename"), _PATH, _PATH),
        st.tuples(st.just("link"), _PATH, _PATH),
        st.tuples(st.just("unlink"), _PATH),
        st.tuples(st.just("rmdir"), _PATH),
        st.tuples(st.just("mkdir"), _PATH),
        st.tuples(st.just("symlink"), _PATH),
        st.tuples(st.just("chmod"), _PATH, st.sampled_from([0o600, 0o640])),
        st.tuples(st.just("utimens"), _PATH, st.integers(10**9, 10**9 + 5)),
    ),
    min_size=5,
    max_size=40,
)


def _open_file(path: str, truncate: bool) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if truncate else 0), 0o600))


def _write_file(path: str, offset: int, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        assert os.pwrite(fd, data, offset) == len(data)
    finally:
        os.close(fd)


class _Recorder:
    """Performs calls on a real directory and writes down what a recorder would have seen."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.inodes: dict[int, int] = {}
        self.kept: list[int] = []  # descriptors that keep the kernel from giving an inode number twice
        self.operations: list[AnyOperation] = []

    def ino(self, path: str) -> int:
        full = os.path.join(self.root, path)
        number = os.lstat(full).st_ino
        if number not in self.inodes:
            self.inodes[number] = len(self.inodes) + 1
            if stat.S_ISREG(os.lstat(full).st_mode) or stat.S_ISDIR(os.lstat(full).st_mode):
                self.kept.append(os.open(full, os.O_RDONLY))
            else:
                self.kept.append(os.open(full, os.O_PATH | os.O_NOFOLLOW))
        return self.inodes[number]

    def close(self) -> None:
        for fd in self.kept:
            os.close(fd)

    def call(self, name: str, path: str, *rest: object) -> None:
        full = os.path.join(self.root, path)
        existed = os.path.lexists(full)
        seq = len(self.operations)
        operation: AnyOperation
        if existed and name in {"truncate", "chmod", "utimens", "link"} and os.path.islink(full):
            return
        try:
            match name, rest:
                case "open", (truncate,):
                    _open_file(full, bool(truncate))
                    cut = bool(truncate) and existed  # of an empty file too: it sets the modification time
                    operation = Open(
                        seq=seq, path=path, ino=self.ino(path), mode=0o600, created=not existed, truncated=cut
                    )
                case "write", (offset, data):
                    _write_file(full, offset, data)
                    operation = Write(seq=seq, ino=self.ino(path), offset=offset, data=data)
                case "truncate", (new_size,):
                    os.truncate(full, new_size)
                    operation = Truncate(seq=seq, ino=self.ino(path), size=new_size)
                case "rename", (to,):
                    os.rename(full, os.path.join(self.root, to))
                    operation = Rename(seq=seq, path=path, to=to)
                case "link", (to,):
                    os.link(full, os.path.join(self.root, to))
                    operation = Link(seq=seq, ino=self.ino(to), path=to)
                case (("unlink" | "rmdir"), ()):
                    (os.unlink if name == "unlink" else os.rmdir)(full)
                    operation = Unlink(seq=seq, path=path)
                case "mkdir", ():
                    os.mkdir(full, 0o750)
                    operation = Mkdir(seq=seq, ino=self.ino(path), path=path, mode=0o750)
                case "symlink", ():
                    os.symlink("nowhere", full)
                    operation = MakeNode(seq=seq, ino=self.ino(path), path=path, destination="nowhere")
                case "chmod", (mode,):
                    mode |= 0o100 if os.path.isdir(full) else 0
                    os.chmod(full, mode)
                    operation = SetMode(seq=seq, ino=self.ino(path), mode=mode)
                case "utimens", (mtime_ns,):
                    os.utime(full, ns=(0, mtime_ns))
                    operation = SetTimes(seq=seq, ino=self.ino(path), mtime_ns=mtime_ns)
                case _:
                    raise AssertionError(name)
        except OSError as error:
            operation = Unlink(
                seq=seq, path=path, error=error.errno or 1
            )  # any kind: a failed one changes nothing
        self.operations.append(operation)

    def found(self) -> Tree:
        names: dict[str, int] = {}
        nodes: dict[int, Node] = {}
        for directory, subdirectories, files in os.walk(self.root):
            for entry in subdirectories + files:
                full = os.path.join(directory, entry)
                path = os.path.relpath(full, self.root)
                names[path] = self.ino(path)
                nodes[names[path]] = self._node(full)
        return build_tree(names, nodes)

    def _node(self, full: str) -> Node:
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            return Symlink(os.readlink(full))
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            return Directory(mode, status.st_mtime_ns)
        with open(full, "rb") as file:
            return File(content_of(file.read()), mode, status.st_mtime_ns)


def _without_directory_times(tree: Tree) -> Tree:
    """Drop directory mtimes: an entry made or removed changes them, and no rule asks for them."""
    for ino, node in list(tree.nodes.items()):
        if isinstance(node, Directory):
            tree = tree.with_node(ino, node._replace(mtime_ns=None))
    return tree


@posix_only
@given(_CALLS)
def test_apply_follows_the_real_file_system(calls: list[tuple]) -> None:
    root = tempfile.mkdtemp(prefix="apply-")
    recorder = _Recorder(root)
    try:
        for call in calls:
            recorder.call(*call)
        expected = _without_directory_times(replay(EMPTY_TREE, recorder.operations))
        assert differences(expected, recorder.found()) == []
        assert build_tree(expected.names, expected.nodes).key == expected.key
    finally:
        recorder.close()
        shutil.rmtree(root)


def test_exchange_swaps_names_and_what_is_below() -> None:
    tree = tree_of({"d/x": b"1", "d/y/z": b"2", "f": b"3"})
    swapped = apply(tree, Rename(seq=0, path="d", to="f", exchange=True))
    assert swapped == tree_of({"f/x": b"1", "f/y/z": b"2", "d": b"3"})
    assert apply(swapped, Rename(seq=1, path="f", to="d", exchange=True)) == tree
    both = tree_of({"d/x": b"1", "e/y": b"2"})
    assert apply(both, Rename(seq=0, path="d", to="e", exchange=True)) == tree_of({"e/x": b"1", "d/y": b"2"})


def test_a_rename_over_an_empty_directory_or_a_file_replaces_it() -> None:
    tree = apply(tree_of({"d/x": b"1"}), Mkdir(seq=0, ino=9, path="e"))
    assert apply(tree, Rename(seq=1, path="d", to="e")) == tree_of({"e/x": b"1"})
    assert apply(tree_of({"a": b"1", "b": b"2"}), Rename(seq=0, path="a", to="b")) == tree_of({"b": b"1"})


def test_renaming_one_link_over_the_other_does_nothing() -> None:
    tree = tree_of({"a": b"1"})
    tree = apply(tree, Link(seq=0, ino=tree.names["a"], path="b"))
    assert apply(tree, Rename(seq=1, path="a", to="b")) == tree
    assert apply(tree, Rename(seq=1, path="a", to="a")) == tree


def test_an_unlinked_file_stays_writable_and_invisible_and_can_be_linked_again() -> None:
    tree = tree_of({"a": b"1"})
    ino = tree.names["a"]
    gone = apply(tree, Unlink(seq=0, path="a"))
    written = apply(gone, Write(seq=1, ino=ino, offset=1, data=b"2"))
    assert written == EMPTY_TREE
    assert apply(written, Link(seq=2, ino=ino, path="b")) == tree_of({"b": b"12"})


def test_a_file_without_a_name_is_made_visible_by_a_link() -> None:
    tree = apply(EMPTY_TREE, Open(seq=0, path=None, ino=1, created=True))
    tree = apply(tree, Write(seq=1, ino=1, offset=0, data=b"x"))
    assert tree == EMPTY_TREE
    assert apply(tree, Link(seq=2, ino=1, path="a")) == tree_of({"a": b"x"})


def test_a_name_moved_in_from_outside_brings_its_content() -> None:
    tree = apply(EMPTY_TREE, Link(seq=0, ino=3, path="a", mode=0o600, data=b"from outside"))
    assert tree == tree_of({"a": b"from outside"})
    assert tree.nodes[3] == File(content_of(b"from outside"), 0o600)


def test_nodes_of_every_kind() -> None:
    tree = apply(EMPTY_TREE, MakeNode(seq=0, ino=1, path="fifo", type_bits=stat.S_IFIFO, mode=0o600))
    tree = apply(tree, MakeNode(seq=1, ino=2, path="file", type_bits=0, mode=0o600))
    tree = apply(tree, MakeNode(seq=2, ino=3, path="link", destination="file"))
    assert tree.nodes == {1: Special(stat.S_IFIFO, 0o600), 2: File(mode=0o600), 3: Symlink("file")}
    assert apply(tree, SetMode(seq=3, ino=1, mode=0o644)).nodes[1] == Special(stat.S_IFIFO, 0o644)


def test_a_write_clears_an_explicit_mtime_and_keeps_the_mode() -> None:
    tree = build_tree({"a": 1}, {1: File(content_of(b"1"), 0o600)})
    tree = apply(tree, SetTimes(seq=0, ino=1, mtime_ns=5))
    assert tree.nodes[1] == File(content_of(b"1"), 0o600, 5)
    assert apply(tree, Write(seq=1, ino=1, offset=0, data=b"2")).nodes[1] == File(content_of(b"2"), 0o600, None)
    assert apply(tree, Truncate(seq=1, ino=1, size=0)).nodes[1] == File(mode=0o600)
    assert apply(tree, Open(seq=1, path="a", ino=1, truncated=True)).nodes[1] == File(mode=0o600)
    assert apply(tree, Open(seq=1, path="a", ino=1)).nodes[1] == File(content_of(b"1"), 0o600, 5)
    assert apply(tree, SetTimes(seq=1, ino=1, mtime_ns=None)).nodes[1] == File(content_of(b"1"), 0o600, None)


@pytest.mark.parametrize(
    "op",
    [
        Ack(seq=0, id="1"),
        Close(seq=0, ino=1),
        Sync(seq=0, ino=1, scope="file"),
        Lock(seq=0, ino=1, what="LOCK_EX"),
        Map(seq=0, ino=1, what="mmap"),
        Outside(seq=0, path="/elsewhere"),
        SetAttribute(seq=0, ino=1, what="chown"),
        Write(seq=0, ino=1, offset=0, data=b""),
        Write(seq=0, ino=1, offset=0, data=b"x", error=28),
        Unlink(seq=0, path="a", error=13),
        SetMode(seq=0, ino=77, mode=0o600),
        SetTimes(seq=0, ino=0, mtime_ns=3),
    ],
)
def test_operations_that_change_no_tree(op: AnyOperation) -> None:
    tree = tree_of({"a": b"1"})
    assert apply(tree, op) is tree


@pytest.mark.parametrize(
    "op",
    [
        Open(seq=7, path="a", ino=77),
        Open(seq=7, path="d", ino=2, truncated=True),
        Write(seq=7, ino=77, offset=0, data=b"x"),
        Write(seq=7, ino=2, offset=0, data=b"x"),
        Truncate(seq=7, ino=77, size=0),
        Rename(seq=7, path="gone", to="a"),
        Rename(seq=7, path="a", to="gone", exchange=True),
        Link(seq=7, ino=77, path="b"),
        Unlink(seq=7, path="gone"),
    ],
)
def test_an_operation_that_does_not_fit_names_itself(op: AnyOperation) -> None:
    tree = build_tree({"a": 1, "d": 2}, {1: File(), 2: Directory()})
    with pytest.raises(ReplayError, match=rf"operation 7 \({op.kind}\)"):
        apply(tree, op)
