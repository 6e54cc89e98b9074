"""States that a profile must not have in its set, by name: what a user relies on, and what keeps the model tight.

Each row: the name, the script of a writer, the tree that must not be there, from which operation on, and the profiles
(all Linux ones where none is named). ``Old`` and ``New`` are 10,000 and 20,000 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from harness.core.tree import Tree, tree_of
from harness.explore.script import Script

OLD, NEW, NEXT = b"o" * 10_000, b"n" * 20_000, b"m" * 12_000
PAGE = 4096
START = {"f": OLD}

EXT4 = (
    "ext4",
    "ext4-writeback",
    "ext4-noauto_da_alloc",
    "ext4-nodelalloc",
    "ext4-writeback-nodelalloc-dioread_lock",
)
LINUX = (*EXT4, "xfs", "btrfs")
FLUSHING = ("ext4", "ext4-writeback")
_NOT_STALE = tuple(name for name in LINUX if name != "btrfs" and not name.endswith("dioread_lock"))
"""Where blocks without data read as zeros: elsewhere they may show the old file's own."""
NODELALLOC = ("ext4-nodelalloc", "ext4-writeback-nodelalloc-dioread_lock")


class Forbidden(NamedTuple):
    """One state that must not be allowed when at least ``after`` of the script's operations were done."""

    name: str
    script: Callable[[Script], None]
    tree: dict[str, bytes]
    after: int = 0
    profiles: tuple[str, ...] = LINUX

    def trace_script(self) -> Script:
        """Return the script, run."""
        script = Script(tree_of(START))
        self.script(script)
        return script

    def forbidden_tree(self) -> Tree:
        """Return the tree."""
        return tree_of(self.tree)


def _in_place(script: Script) -> None:
    script.put("f", NEW)
    script.ack(1)


def _in_place_fsync(script: Script) -> None:
    fd = script.open("f", truncate=True)
    script.write(fd, NEW)
    script.fsync(fd)
    script.ack(1)


def _replace(script: Script) -> None:
    script.put("f.tmp", NEW)
    script.rename("f.tmp", "f")
    script.ack(1)


def _replace_fsync(script: Script) -> None:
    script.replace("f", NEW)
    script.ack(1)


def _replace_dirsync(script: Script) -> None:
    script.replace("f", NEW)
    script.sync_directory()
    script.ack(1)


def _replace_twice(script: Script) -> None:
    _replace_dirsync(script)
    script.replace("f", NEXT)
    script.sync_directory()
    script.ack(2)


def _new_name(script: Script) -> None:
    script.put("g.tmp", NEW)
    script.rename("g.tmp", "g")
    script.ack(1)


def _create_fsync(script: Script) -> None:
    fd = script.open("g")
    script.write(fd, NEW)
    script.fsync(fd)
    script.ack(1)


def _append(script: Script) -> None:
    fd = script.open("f", append=True)
    script.write(fd, NEW[:5000])
    script.ack(1)


def _append_fsync(script: Script) -> None:
    fd = script.open("f", append=True)
    script.write(fd, NEW[:5000])
    script.fsync(fd)
    script.ack(1)


def _unlink_dirsync(script: Script) -> None:
    script.unlink("f")
    script.sync_directory()
    script.ack(1)


def _in_place_then_another(script: Script) -> None:
    script.put("f", NEW)
    script.open("g")


def _replaced_by_two(script: Script) -> None:
    script.replace("f", NEW, suffix=".a")
    script.replace("f", NEXT, suffix=".b")


def _new_directory(script: Script) -> None:
    script.mkdir("d")
    fd = script.open("d/g")
    script.write(fd, NEW)
    script.fsync(fd)
    script.ack(1)


def _page_written_twice(script: Script) -> None:
    fd = script.open("f")
    script.write(fd, b"x" * 100, at=0)
    script.write(fd, b"y" * 100, at=200)


def _size_set_after_writing(script: Script) -> None:
    fd = script.open("f")
    script.write(fd, NEW[:5000], at=len(OLD))
    script.truncate(fd, len(OLD) + 5000)


_ALL_NUL = bytes(len(NEW))
_CUT = NEW[: 2 * PAGE]
_DONE = 99

FORBIDDEN = (
    Forbidden("old after a directory fsync and the acknowledgement", _replace_dirsync, {"f": OLD}, _DONE),
    Forbidden("empty after a directory fsync and the acknowledgement", _replace_dirsync, {"f": b""}, _DONE),
    Forbidden("empty after fsync and rename", _replace_fsync, {"f": b""}),
    Forbidden("all NUL after fsync and rename", _replace_fsync, {"f": _ALL_NUL}),
    Forbidden("cut short after fsync and rename", _replace_fsync, {"f": _CUT}),
    Forbidden("no name at all after a rename over it", _replace, {}),
    Forbidden("both names after a rename", _replace, {"f": NEW, "f.tmp": NEW}),
    Forbidden("the version before last after two updates", _replace_twice, {"f": OLD}, _DONE),
    Forbidden(
        "a version skipped: the older one after the newer was there", _replace_twice, {"f": OLD, "f.tmp": NEXT}, 6
    ),
    Forbidden("old after fsync in place and the acknowledgement", _in_place_fsync, {"f": OLD}, _DONE),
    Forbidden("empty after fsync in place and the acknowledgement", _in_place_fsync, {"f": b""}, _DONE),
    Forbidden("the old file cut short by O_TRUNC", _in_place, {"f": OLD[:PAGE]}, 0, _NOT_STALE),
    Forbidden("a write cut inside a block", _in_place, {"f": NEW[:2500]}),
    Forbidden("longer than it ever was", _in_place, {"f": NEW + b"n"}),
    Forbidden("an appended record lost after fsync and the acknowledgement", _append_fsync, {"f": OLD}, _DONE),
    Forbidden("old bytes changed by an append", _append, {"f": bytes(PAGE) + OLD[PAGE:]}),
    Forbidden(
        "the name back after unlink, directory fsync and the acknowledgement", _unlink_dirsync, {"f": OLD}, _DONE
    ),
    Forbidden("no name after fsync of a new file", _create_fsync, {"f": OLD}, _DONE),
    Forbidden("empty after a rename over an existing file", _replace, {"f": b""}, 0, (*FLUSHING, *NODELALLOC)),
    Forbidden(
        "cut short after a rename over an existing file", _replace, {"f": _CUT}, 0, (*FLUSHING, *NODELALLOC)
    ),
    Forbidden("empty after a rename to a new name", _new_name, {"f": OLD, "g": b""}, 0, NODELALLOC),
    Forbidden("all NUL in place", _in_place, {"f": _ALL_NUL}, 0, ("ext4-nodelalloc", "xfs")),
    Forbidden("all NUL after a rename", _replace, {"f": _ALL_NUL}, 0, ("ext4-nodelalloc", "xfs")),
    Forbidden("a NUL tail after an append", _append, {"f": OLD + NEW[:2288] + bytes(2712)}, 0, ("xfs",)),
    Forbidden(
        "a NUL tail in a new block", _append, {"f": OLD + NEW[:2288] + bytes(2712)}, 0, ("ext4-nodelalloc",)
    ),
    Forbidden(
        "empty in place with a name that came after the close",
        _in_place_then_another,
        {"f": b"", "g": b""},
        0,
        tuple(name for name in EXT4 if name != "ext4-noauto_da_alloc"),
    ),
    Forbidden(
        "the second replacement without the first, whose source is back",
        _replaced_by_two,
        {"f": NEXT, "f.a": NEW},
        0,
        (*EXT4, "xfs"),
    ),
    Forbidden("no directory after fsync of a file in it", _new_directory, START, _DONE),
    Forbidden(
        "of two writes to a page the later alone",
        _page_written_twice,
        {"f": OLD[:200] + b"y" * 100 + OLD[300:]},
    ),
    Forbidden(
        "a NUL tail under a size that was set",
        _size_set_after_writing,
        {"f": OLD + bytes(5000)},
        0,
        ("xfs",),
    ),
)
