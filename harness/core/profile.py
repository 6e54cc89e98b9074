"""A persistence model as data: what one file system may lose or reorder when the power goes.

A profile is a set of switches over one model (:mod:`harness.explore.power`): what an operation leaves on the disk is
a set of *effects* (blocks of data, a size, directory entries), each of which reaches the disk or does not; the
switches say which effect waits for which other, and what a barrier makes durable. Adding a file system is a file in
``harness/profiles`` (:mod:`harness.catalog.profiles`), no code.

Non-goals: what a disk does that ignores a flush, bit rot, and file systems that are mounted with barriers off.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Flushes = Literal["nothing", "size", "data"]
"""What an operation on names waits for: nothing; the size of the file, so that it is never found empty; or also its
data in blocks that were allocated for them (overwritten blocks are waited for by no file system)."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One persistence model. ``source`` says where its rules come from.

    ``filesystem`` and ``mount_options`` are what the block engine mounts to observe it; empty where no kernel at hand
    has it: then the profile is ``from_documents`` and its findings are predictions. ``min_kernel`` is the oldest
    Linux the rules are stated for.
    """

    name: str
    title: str
    source: str
    filesystem: str = ""
    mount_options: str = ""
    min_kernel: str = ""
    from_documents: bool = False

    block_bytes: int = 4096
    """The unit in which data reaches the disk: a write is cut and lost at multiples of it, never within."""
    block_writes_ordered: bool = True
    """Whether a later write to a block carries the earlier ones along (a page cache writes whole pages)."""
    data_before_size: Literal["write", "new_blocks", "never"] = "never"
    """What of its data a write's new size waits for: its own (``write``); that in blocks it allocated; none."""
    unwritten_reads: Literal["zeros", "own", "any"] = "zeros"
    """What is read below the size where no data came: zeros; or what the file itself held there before it was
    truncated; or what the blocks held for any file."""
    truncate_flushes: bool = False
    """Whether setting a size (ftruncate to the size or beyond) writes the data before it first."""
    rename_over_flushes: Flushes = "nothing"
    """What a rename over an existing file waits for of its source."""
    new_name_flushes: Flushes = "nothing"
    """What a rename or link to a new name waits for of its source."""
    truncate_replace_flushes: Flushes = "nothing"
    """What operations on names after the close of a file that was truncated and rewritten wait for of that file."""
    dir_ops_ordered: Literal["none", "name", "dir"] = "none"
    """Which operations on names reach the disk in their order: none, those that share a name, those that share a
    directory."""
    rename_across_dirs: Literal["atomic", "target_first"] = "atomic"
    """Whether a rename into another directory may reach the disk with its new name there and its old one still there.
    Within a directory a rename is atomic in any case."""
    fsync_file_persists_its_name: bool = False
    """Whether fsync of a file makes durable the names it was given before, without a sync of the directory."""
    fsync_dir: bool = True
    """Whether fsync of a directory makes its entries durable."""
    fsync_persists_parents: bool = True
    """Whether a sync of what stands in a new directory makes the directory's own name durable as well."""
    sync_waits: bool = True
    """Whether sync returns when everything before it is durable; POSIX lets it return earlier. syncfs always waits."""
    failed_fsync: Literal["clean", "revert"] = "clean"
    """After a failed fsync: pages are marked clean with the new data kept in memory, or go back to what they held."""
    flush: Literal["fsync", "fullfsync"] = "fsync"
    """The call that empties the drive's cache. A recording made on Linux cannot show F_FULLFSYNC: its fsync stands
    for the strongest flush of the platform."""
