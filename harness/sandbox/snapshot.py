"""Reads a directory from disk into a :class:`~harness.core.tree.Tree`.

Symbolic links are never followed, FIFOs, sockets and devices never opened, and nothing on disk is changed (not
even to make a file readable). Hard links share an inode. Meant for a directory nobody writes to any more; one
that changes under the reader is an :class:`UnreadableStateError`.

Non-goals: owners, extended attributes, sparse layout.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from harness.core.content import MAX_FILE_BYTES, content_of
from harness.core.tree import EMPTY_TREE, Directory, File, Node, Special, Symlink, Tree, build_tree

DEFAULT_LIMIT_BYTES = 512 << 20
"""Most bytes of file content one snapshot holds in memory (512 MiB)."""

MAX_ENTRIES = 200_000
"""Most names one snapshot holds; a program that fills a directory is a limit, not a memory leak."""

_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


class UnreadableStateError(Exception):
    """The state directory cannot be read as it is. The message names the place and the reason, in one line."""


class StateTooLargeError(UnreadableStateError):
    """The state directory holds more than a snapshot may."""


class Snapshot(NamedTuple):
    """A tree read from disk, and which kernel inode (``st_dev``, ``st_ino``) each of its inode numbers was.

    ``inodes`` also maps the directory that was read, to 0; trees number their own inodes from 1.
    """

    tree: Tree
    inodes: dict[tuple[int, int], int]


class _Reader:
    """One walk: what it has seen, and how many bytes it may still read."""

    def __init__(self, root: str, limit_bytes: int) -> None:
        self.root = root
        self.limit = limit_bytes
        self.left = limit_bytes
        self.names: dict[str, int] = {}
        self.nodes: dict[int, Node] = {}
        self.inodes: dict[tuple[int, int], int] = {}

    def walk(self) -> None:
        pending = [""]
        while pending:
            directory = pending.pop()
            full = os.path.join(self.root, directory) if directory else self.root
            for name in sorted(os.listdir(full)):
                path = f"{directory}/{name}" if directory else name
                if self._entry(path, os.path.join(full, name)):
                    pending.append(path)
                if len(self.names) > MAX_ENTRIES:
                    raise StateTooLargeError(f"{self.root}: more than {MAX_ENTRIES} names")

    def _entry(self, path: str, full: str) -> bool:
        """Take in one name; return whether it is a directory to descend into."""
        info = os.lstat(full)
        identity = (info.st_dev, info.st_ino)
        is_directory = stat.S_ISDIR(info.st_mode)
        known = None if is_directory else self.inodes.get(identity)
        if known is not None:
            self.names[path] = known
            return False
        number = len(self.nodes) + 1
        self.nodes[number] = self._node(full, info)
        self.inodes[identity] = number
        self.names[path] = number
        return is_directory

    def _node(self, full: str, info: os.stat_result) -> Node:
        mode = stat.S_IMODE(info.st_mode)
        if stat.S_ISREG(info.st_mode):
            return File(content_of(self._read(full, info)), mode, info.st_mtime_ns)
        if stat.S_ISDIR(info.st_mode):
            return Directory(mode, info.st_mtime_ns)
        if stat.S_ISLNK(info.st_mode):
            return Symlink(os.readlink(full))
        return Special(stat.S_IFMT(info.st_mode), mode)

    def _read(self, full: str, info: os.stat_result) -> bytes:
        # The size is checked first: a sparse file of a terabyte costs its writer nothing.
        if info.st_size > self.left or info.st_size > MAX_FILE_BYTES:
            raise StateTooLargeError(
                f"{full}: {info.st_size} bytes; one file may have {MAX_FILE_BYTES}, all files {self.limit}"
            )
        if not info.st_size:
            return b""
        descriptor = os.open(full, _OPEN_FLAGS)
        try:
            now = os.fstat(descriptor)
            if not stat.S_ISREG(now.st_mode) or now.st_size != info.st_size:
                raise UnreadableStateError(f"{full}: changed while it was read")
            parts: list[bytes] = []
            wanted = info.st_size
            while wanted:
                part = os.read(descriptor, min(wanted, 1 << 24))
                if not part:
                    raise UnreadableStateError(f"{full}: changed while it was read")
                parts.append(part)
                wanted -= len(part)
        finally:
            os.close(descriptor)
        self.left -= info.st_size
        return parts[0] if len(parts) == 1 else b"".join(parts)


def read_tree(root: str, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> Snapshot:
    """Return what the directory ``root`` holds; one that does not exist holds nothing.

    Modes are permission bits with set-id and sticky bits; every file and directory carries its ``mtime_ns``.
    Raises :class:`UnreadableStateError` where the reader lacks permission, ``root`` is no directory, or paths are
    too long for the system, and :class:`StateTooLargeError` past ``limit_bytes`` bytes of file content.
    """
    reader = _Reader(root, limit_bytes)
    try:
        info = os.lstat(root)
    except FileNotFoundError:
        return Snapshot(EMPTY_TREE, {})
    except OSError as error:
        raise UnreadableStateError(f"{root}: {error.strerror}") from error
    if not stat.S_ISDIR(info.st_mode):
        raise UnreadableStateError(f"{root}: is not a directory (any more)")
    reader.inodes[info.st_dev, info.st_ino] = 0
    try:
        reader.walk()
    except OSError as error:
        raise UnreadableStateError(f"{error.filename or root}: {error.strerror}") from error
    return Snapshot(build_tree(reader.names, reader.nodes), reader.inodes)
