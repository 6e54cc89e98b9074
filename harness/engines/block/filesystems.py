"""The file systems of the block engine, how small ones are made, and which mount options may be asked for.

Pure. Sizes are the smallest that the tools of today make without complaint; a small journal keeps states small.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

MIB = 1 << 20


class BlockOptionError(ValueError):
    """No such file system, or mount options that cannot be used. One line: what, and the valid values."""


class FileSystem(NamedTuple):
    """One kind of file system; ``make`` is its mkfs command without the place, ``size`` in bytes."""

    name: str
    size: int
    make: tuple[str, ...]
    always: tuple[str, ...] = ()
    """Mount options that every mount of it needs."""


FILESYSTEMS: Mapping[str, FileSystem] = MappingProxyType(
    {
        "ext4": FileSystem(
            "ext4",
            64 * MIB,
            (
                *("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4"),
                *("-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"),
            ),
        ),
        "xfs": FileSystem(
            "xfs",
            320 * MIB,
            ("mkfs.xfs", "-q", "-K", "-f"),
            ("nouuid",),  # the recorded disk and its cuts have one UUID
        ),
        "btrfs": FileSystem("btrfs", 256 * MIB, ("mkfs.btrfs", "-q", "-K", "-f", "-m", "single", "-d", "single")),
    }
)


def filesystem(name: str) -> FileSystem:
    """Return the file system called ``name``. Raises :class:`BlockOptionError`."""
    found = FILESYSTEMS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, FILESYSTEMS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise BlockOptionError(f"file system {name!r}: the block engine knows {', '.join(FILESYSTEMS)}{hint}")
    return found


def mount_options(kind: FileSystem, options: str) -> tuple[tuple[str, str | None], ...]:
    """Return (key, value or ``None``) per mount option of ``options``, comma-separated as mount(8) takes them."""
    pairs: list[tuple[str, str | None]] = []
    for option in (*kind.always, *filter(None, (part.strip() for part in options.split(",")))):
        key, sign, value = option.partition("=")
        if not key or "\0" in option:
            raise BlockOptionError(f"mount option {option!r} of {kind.name}: not NAME or NAME=VALUE")
        pairs.append((key, value if sign else None))
    return tuple(pairs)
