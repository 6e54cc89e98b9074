"""Writes a :class:`~harness.core.tree.Tree` to disk, and empties directories without ever following a link.

The inverse of :mod:`harness.sandbox.snapshot`: names, contents, hard links, symbolic links, modes, FIFOs and
sockets, and last of all the modification times that the tree states.

Non-goals: devices (a tree does not hold their numbers), owners, durability.
"""

from __future__ import annotations

import os
import stat

from harness.core.tree import Directory, File, Node, Special, Symlink, Tree

_CREATE_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_FOLLOW_TIMES = os.utime in os.supports_follow_symlinks
_NO_FOLLOW_LINK = os.link in os.supports_follow_symlinks


class MaterialiseError(Exception):
    """A tree cannot be put on disk here. The message names the place and the reason, in one line."""


def _is_directory(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except PermissionError:
        os.chmod(path, 0o600)  # Windows refuses to delete read-only files
        os.unlink(path)


def empty_directory(root: str) -> None:
    """Remove everything below ``root``, which becomes (or stays) a directory of mode 0o755.

    Links are removed, never followed. Directories that forbid it are made writable first. A nest deeper than
    the system's longest path is no obstacle: what is found two levels down moves up before it is looked into.
    Raises :class:`MaterialiseError` where the system refuses.
    """
    try:
        if os.path.lexists(root) and not _is_directory(root):
            _unlink(root)
        os.makedirs(root, exist_ok=True)
        os.chmod(root, 0o755)
        _remove_children(root)
    except OSError as error:
        raise MaterialiseError(f"cannot empty {error.filename or root}: {error.strerror}") from error


def _remove_children(root: str) -> None:
    moved = 0
    pending = os.listdir(root)
    while pending:
        name = pending.pop()
        path = os.path.join(root, name)
        if not _is_directory(path):
            _unlink(path)
            continue
        os.chmod(path, 0o700)
        for inner in os.listdir(path):
            inner_path = os.path.join(path, inner)
            if not _is_directory(inner_path):
                _unlink(inner_path)
                continue
            os.chmod(inner_path, 0o700)  # moving a directory writes its ".." entry
            while os.path.lexists(os.path.join(root, f".{moved}.removed")):
                moved += 1
            os.rename(inner_path, os.path.join(root, f".{moved}.removed"))
            pending.append(f".{moved}.removed")
        os.rmdir(path)


def remove_directory(root: str) -> None:
    """Remove ``root`` and everything below it, as :func:`empty_directory` does; a missing one is fine."""
    if not os.path.lexists(root):
        return
    empty_directory(root)
    try:
        os.rmdir(root)
    except OSError as error:
        raise MaterialiseError(f"cannot remove {root}: {error.strerror}") from error


def _write_file(path: str, node: File) -> None:
    descriptor = os.open(path, _CREATE_FLAGS, 0o600)
    try:
        data = memoryview(node.content.to_bytes())
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def _make_special(path: str, node: Special) -> None:
    if stat.S_ISFIFO(node.type_bits) and hasattr(os, "mkfifo"):
        os.mkfifo(path, 0o600)
    elif stat.S_ISSOCK(node.type_bits) and hasattr(os, "mknod"):
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        raise MaterialiseError(f"{path}: a file of type {node.type_bits:o} cannot be made here")


def _make(path: str, node: Node) -> None:
    if isinstance(node, File):
        _write_file(path, node)
    elif isinstance(node, Directory):
        os.mkdir(path, 0o700)
    elif isinstance(node, Symlink):
        os.symlink(node.destination, path)
    else:
        _make_special(path, node)


def _finish(path: str, node: Node) -> None:
    """Set mode and explicit modification time; links have neither of their own."""
    if isinstance(node, Symlink):
        return
    os.chmod(path, node.mode)
    if isinstance(node, File | Directory) and node.mtime_ns is not None:
        times = (node.mtime_ns, node.mtime_ns)
        if _NO_FOLLOW_TIMES:
            os.utime(path, ns=times, follow_symlinks=False)
        else:
            os.utime(path, ns=times)


def _create(tree: Tree, root: str) -> None:
    made: dict[int, str] = {}
    directories: list[tuple[str, Directory]] = []
    for name in sorted(tree.names):  # a parent's path is a prefix of its children's, so it comes first
        ino = tree.names[name]
        node = tree.nodes[ino]
        path = os.path.join(root, *name.split("/"))
        if isinstance(node, Directory):
            directories.append((path, node))
        elif ino in made:
            if _NO_FOLLOW_LINK:
                os.link(made[ino], path, follow_symlinks=False)
            else:
                os.link(made[ino], path)
            continue
        _make(path, node)
        made[ino] = path
        if not isinstance(node, Directory):
            _finish(path, node)
    for path, node in reversed(directories):  # last and deepest first: an entry made changes its directory
        _finish(path, node)


def write_tree(tree: Tree, root: str) -> None:
    """Make the directory ``root`` hold exactly ``tree``; what it held before is removed.

    Raises :class:`MaterialiseError` where the system refuses (no space, no permission, a device).
    """
    empty_directory(root)
    try:
        _create(tree, root)
    except OSError as error:
        raise MaterialiseError(f"cannot write {error.filename or root}: {error.strerror}") from error
