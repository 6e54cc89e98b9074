from __future__ import annotations

import os
import stat
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.content import content_of
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
from harness.sandbox.materialise import MaterialiseError, empty_directory, remove_directory, write_tree
from harness.sandbox.snapshot import read_tree

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX modes and links")

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NAMES = [
    "a",
    "b",
    "a b",
    "ä",
    "e\u0301",
    "\udcff\udc80",
    "x" * 200,
    "..a",
    ".hidden",
    "new\nline",
    "-rf",
    "*",
    "a.b",
]

modes = st.integers(0, 0o7777)
times = st.none() | st.integers(0, 4_000_000_000 * 10**9)
contents = st.binary(max_size=200) | st.integers(4000, 9000).map(bytes)
files = st.builds(
    lambda data, mode, mtime: File(content_of(data), mode if ROOT else mode | 0o600, mtime), contents, modes, times
)
directories = st.builds(lambda mode, mtime: Directory(mode if ROOT else mode | 0o700, mtime), modes, times)
links = st.sampled_from(["a", "../../etc/passwd", "/nowhere/\udcff", ".", "loop", "x" * 1000]).map(Symlink)
specials = st.builds(Special, st.sampled_from([stat.S_IFIFO, stat.S_IFSOCK]), modes)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Draw a tree with nested directories, hard links, symbolic links, FIFOs, sockets and names of any bytes."""
    names: dict[str, int] = {}
    nodes: dict[int, Node] = {}
    parents = [""]
    for _ in range(draw(st.integers(0, 12))):
        parent, name = draw(st.sampled_from(parents)), draw(st.sampled_from(NAMES))
        path = f"{parent}/{name}" if parent else name
        if path in names:
            continue
        linkable = [ino for ino, node in nodes.items() if not isinstance(node, Directory)]
        if linkable and draw(st.integers(0, 3)) == 0:
            names[path] = draw(st.sampled_from(linkable))
            continue
        node = draw(files | directories | links | specials)
        names[path] = len(nodes) + 1
        nodes[names[path]] = node
        if isinstance(node, Directory):
            parents.append(path)
    return build_tree(names, nodes)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = str(tmp_path_factory.mktemp("materialise") / "state")
    yield root
    remove_directory(root)


@given(tree=trees())
def test_reading_what_was_written_gives_the_same_tree(shared: str, tree: Tree) -> None:
    write_tree(tree, shared)  # over whatever the example before left
    found = read_tree(shared).tree
    assert differences(tree, found) == []
    assert found == tree
    write_tree(found, shared)
    again = read_tree(shared).tree
    assert differences(found, again) == differences(again, found) == []


def test_emptying_never_follows_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"1")
    (outside / "precious").chmod(0o640)
    root = tmp_path / "state"
    root.mkdir()
    (root / "to_directory").symlink_to(outside)
    (root / "to_file").symlink_to(outside / "precious")
    (root / "inner").mkdir()
    (root / "inner" / "deep").symlink_to(outside)
    os.link(outside / "precious", root / "hard")
    empty_directory(str(root))
    assert os.listdir(root) == []
    assert (outside / "precious").read_bytes() == b"1"
    assert (outside / "precious").stat().st_mode & 0o777 == 0o640
    assert outside.stat().st_mode & 0o777 == 0o755


def test_a_root_replaced_by_a_link_is_unlinked_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (tmp_path / "state").symlink_to(outside)
    write_tree(tree_of({"a": b"1"}), str(tmp_path / "state"))
    assert (outside / "precious").exists()
    assert not (tmp_path / "state").is_symlink()
    assert os.listdir(tmp_path / "state") == ["a"]


def test_a_nest_deeper_than_the_longest_path_is_emptied(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(60):
        for name in ("d" * 200, ".0.removed"):
            os.mkdir(name, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    empty_directory(str(root))
    assert os.listdir(root) == []


def test_directories_that_forbid_it_are_emptied(tmp_path: Path) -> None:
    tree = build_tree(
        {"d": 1, "d/e": 2, "d/e/f": 3}, {1: Directory(0o000), 2: Directory(0o500), 3: File(content_of(b"1"), 0)}
    )
    write_tree(tree, str(tmp_path / "state"))
    (tmp_path / "state").chmod(0o500)
    write_tree(EMPTY_TREE, str(tmp_path / "state"))
    assert os.listdir(tmp_path / "state") == []
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o755


def test_a_device_is_refused_in_one_line(tmp_path: Path) -> None:
    tree = build_tree({"null": 1}, {1: Special(stat.S_IFCHR)})
    with pytest.raises(MaterialiseError, match=r"null: a file of type 20000 cannot be made here$"):
        write_tree(tree, str(tmp_path / "state"))


def test_a_name_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MaterialiseError, match="File name too long") as caught:
        write_tree(tree_of({"x" * 300: b""}), str(tmp_path / "state"))
    assert "\n" not in str(caught.value)


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    remove_directory(str(tmp_path / "nothing"))
    assert sys.platform != "linux" or not (tmp_path / "nothing").exists()


@pytest.mark.real
def test_an_ordinary_user_writes_and_empties_what_forbids_it() -> None:
    """Root passes every permission check, so this runs in a child without rights."""
    tree = build_tree(
        {"d": 1, "d/e": 2, "d/e/f": 3, "d/e/g": 4},
        {1: Directory(0o500), 2: Directory(0o500, 7), 3: File(content_of(b"1"), 0o400, 8), 4: Directory(0o700)},
    )
    base = tempfile.mkdtemp()
    Path(base).chmod(0o777)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if ROOT:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            root = os.path.join(base, "state")
            write_tree(tree, root)
            assert differences(tree, read_tree(root).tree) == []
            write_tree(build_tree({"d": 1, "d/e": 2}, {1: Directory(0), 2: Directory(0, 7)}), root)
            assert os.stat(os.path.join(root, "d")).st_mode & 0o777 == 0
            remove_directory(root)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    remove_directory(base)
    assert status == 0
