from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from harness.core.tree import Directory, File, Special, Symlink
from harness.sandbox import snapshot
from harness.sandbox.snapshot import StateTooLargeError, UnreadableStateError, read_tree
from tests.forked_child import in_a_child

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")


def test_hard_links_share_an_inode_and_kernel_inodes_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "d").mkdir()
    os.link(tmp_path / "a", tmp_path / "d" / "b")
    found = read_tree(str(tmp_path))
    assert sorted(found.tree.names_of(found.tree.names["a"])) == ["a", "d/b"]
    info = (tmp_path / "a").stat()
    assert found.inodes[info.st_dev, info.st_ino] == found.tree.names["a"]
    info = tmp_path.stat()
    assert found.inodes[info.st_dev, info.st_ino] == 0
    assert 0 not in found.tree.nodes


def test_special_files_are_named_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    (tmp_path / "link").symlink_to("fifo")
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(snapshot.os, "open", lambda path, *rest: opened.append(path) or real(path, *rest))
    tree = read_tree(str(tmp_path)).tree
    assert tree.node_at("fifo") == Special(stat.S_IFIFO, 0o600)
    node = tree.node_at("socket")
    assert isinstance(node, Special) and node.type_bits == stat.S_IFSOCK
    assert tree.node_at("link") == Symlink("fifo")
    assert opened == []


def test_modes_and_times_are_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    (tmp_path / "f").chmod(0o4711)
    os.utime(tmp_path / "f", ns=(5, 123_456_789_012_345_678))
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o1770)
    tree = read_tree(str(tmp_path)).tree
    node = tree.node_at("f")
    assert isinstance(node, File) and (node.mode, node.mtime_ns) == (0o4711, 123_456_789_012_345_678)
    node = tree.node_at("d")
    assert isinstance(node, Directory) and node.mode == 0o1770


def test_a_missing_directory_holds_nothing(tmp_path: Path) -> None:
    assert read_tree(str(tmp_path / "gone")).tree.names == {}


def test_a_root_that_is_no_directory_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(UnreadableStateError, match="is not a directory"):
            read_tree(str(tmp_path / name))


def test_the_bound_counts_all_files_and_sparse_ones_before_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(600))
    (tmp_path / "b").write_bytes(bytes(600))
    assert len(read_tree(str(tmp_path), 1200).tree.names) == 2
    with pytest.raises(StateTooLargeError):
        read_tree(str(tmp_path), 1199)
    with open(tmp_path / "c", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(StateTooLargeError, match="1099511627776 bytes"):
        read_tree(str(tmp_path))


def test_too_many_names_are_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_ENTRIES", 3)
    for name in "abc":
        (tmp_path / name).touch()
    read_tree(str(tmp_path))
    (tmp_path / "d").touch()
    with pytest.raises(StateTooLargeError, match="more than 3 names"):
        read_tree(str(tmp_path))


def test_paths_too_long_for_the_system_are_one_clear_line(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(UnreadableStateError, match="File name too long") as caught:
        read_tree(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.real
def test_what_an_ordinary_user_may_not_read_is_unreadable_and_stays_as_it_is(tmp_path: Path) -> None:
    """A directory without permission is reported, not chmod-ed open. Dropping rights needs a child."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "f").write_bytes(b"1")
    closed.chmod(0o000)

    def body() -> str:
        try:
            if os.geteuid() == 0:
                os.chdir(tmp_path)
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                read_tree(".")
            else:
                read_tree(str(tmp_path))
        except UnreadableStateError as error:
            return str(error)
        return "no error"

    message = in_a_child(body)
    mode = closed.stat().st_mode & 0o777
    closed.chmod(0o700)
    assert message.endswith("Permission denied")
    assert mode == 0
