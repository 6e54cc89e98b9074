"""The trace's own inode numbers."""

from __future__ import annotations

import os
from pathlib import Path

from harness.core.tree import tree_of
from harness.engines.inodes import Inodes


def test_a_creation_is_always_a_new_number(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x")
    start = tree_of({"old": b"x"})
    inodes = Inodes(str(tmp_path), start)
    root, old = os.stat(tmp_path), os.stat(tmp_path / "old")
    assert inodes.get((root.st_dev, root.st_ino)) == 0
    assert inodes.get((old.st_dev, old.st_ino)) == start.names["old"]
    key = (old.st_dev, old.st_ino)
    assert inodes.create(key) == start.names["old"] + 1 == inodes.get(key)
    assert inodes.create(key) == start.names["old"] + 2 == inodes.get(key)
    inodes.forget(key)
    assert inodes.get(key) is None
    assert inodes.create(key) == start.names["old"] + 3
