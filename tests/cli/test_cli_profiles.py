"""``tornwrite profiles``: every shipped profile with its source, and one line for what is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import in_process, one_line

from harness.catalog.profiles import list_profiles

SHIPPED = (
    *("apfs", "btrfs", "ext4", "ext4-noauto_da_alloc", "ext4-nodelalloc", "ext4-writeback"),
    *("ext4-writeback-nodelalloc-dioread_lock", "ntfs", "posix", "xfs"),
)


def test_the_shipped_ones_are_listed_and_say_where_they_come_from() -> None:
    assert list_profiles() == SHIPPED
    ended = in_process("profiles", "list", "--json")
    rows = {row["name"]: row for row in ended.document["result"]}
    assert tuple(rows) == SHIPPED
    assert all(row["source"] and row["title"] for row in rows.values())
    assert {name for name, row in rows.items() if row["from_documents"]} == {"apfs", "ntfs", "posix"}
    text = in_process("profiles", "list").out
    assert text.count("from documents, not from a running kernel") == 3
    assert max(map(len, text.splitlines())) <= 80


def test_one_is_shown_with_its_switches() -> None:
    text = in_process("profiles", "show", "ext4-nodelalloc").out
    assert "data_before_size" in text
    assert "new_blocks" in text
    assert in_process("profiles", "show", "xfs", "--json").document["result"]["data_before_size"] == "write"


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('extends = "ext4"\ntitle = "mine"\nsource = "me"\ndir_ops_ordered = "dir"\n')
    fields = in_process("profiles", "show", str(own), "--json").document["result"]
    assert (fields["name"], fields["dir_ops_ordered"], fields["filesystem"]) == ("mine", "dir", "ext4")


def test_a_profile_does_not_steer_the_terminal(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('title = "t\\u001b[31m"\nsource = "s\\u001b]0;x"\n')
    text = in_process("profiles", "show", str(own)).out
    assert "\x1b" not in text
    assert "\\x1b]0;x" in text


def test_a_profile_that_is_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert "not a regular file" in one_line(in_process("profiles", "show", str(tmp_path / "pipe.toml")))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("ext5", None, ["'ext5'", "did you mean 'ext4'"]),
        (
            "mine.toml",
            "dir_ops_orderd = 'dir'\ntitle = 'x'\nsource = 'y'\n",
            ["dir_ops_orderd", "dir_ops_ordered"],
        ),
        ("mine.toml", "dir_ops_ordered = 'all'\ntitle = 'x'\nsource = 'y'\n", ["'all'", "dir, name, none"]),
        ("mine.toml", "extends = 'ext5'\n", ["ext5", "ext4"]),
        ("mine.toml", "title = 'x'\n", ["source"]),
        ("missing.toml", None, ["missing.toml", "cannot be read"]),
    ],
)
def test_what_is_none_is_one_line(tmp_path: Path, name: str, text: str | None, words: list[str]) -> None:
    path = str(tmp_path / name) if name.endswith(".toml") else name
    if text is not None:
        Path(path).write_text(text)
    ended = in_process("profiles", "show", path)
    assert ended.exit_code == 2
    line = one_line(ended)
    assert all(word in line for word in words), line
