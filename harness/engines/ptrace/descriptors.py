"""Descriptor tables of the traced processes, as far as they matter: files opened for writing, and stdout.

A table knows a descriptor from the open that the engine saw, or from one look into ``/proc``; it stays known
until a close, which the engine always sees. So the hot path asks ``/proc`` once per descriptor, not per write.
A :class:`Description` is shared by duplicates, as in the kernel.

Non-goals: read-only descriptors beyond what a lookup needs.
"""

from __future__ import annotations

import os
import stat

from harness.engines.inodes import Key


class Description:
    """One open file description. ``stdout`` marks the target's standard output."""

    __slots__ = ("append", "key", "stdout", "writable")

    def __init__(self, key: Key, *, writable: bool = False, append: bool = False, stdout: bool = False) -> None:
        self.key = key
        self.writable = writable
        self.append = append
        self.stdout = stdout


class DescriptorTable:
    """The descriptors of one process, or of several that share them (CLONE_FILES).

    A value of ``None`` is a descriptor that was looked at and does not matter (a socket, a pipe, a terminal).
    """

    __slots__ = ("open", "sharers")

    def __init__(self) -> None:
        self.open: dict[int, Description | None] = {}
        self.sharers = 1


class Descriptors:
    """All tables of a run, and how many descriptors are open for writing on each file."""

    def __init__(self, stdout: Key) -> None:
        self._stdout = stdout
        self._writers: dict[Key, int] = {}

    def lookup(self, table: DescriptorTable, tid: int, fd: int) -> Description | None:
        """Return what descriptor ``fd`` of the thread is, looking into ``/proc`` the first time."""
        if fd in table.open:
            return table.open[fd]
        try:
            info = os.stat(f"/proc/{tid}/fd/{fd}")
        except OSError:
            return None  # a bad descriptor: the call will fail
        key = (info.st_dev, info.st_ino)
        found: Description | None = None
        if key == self._stdout:
            found = Description(key, stdout=True)
        elif stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
            flags = _flags(tid, fd)
            writable = flags & os.O_ACCMODE != os.O_RDONLY
            found = Description(key, writable=writable, append=bool(flags & os.O_APPEND))
        self.install(table, fd, found)
        return found

    def install(self, table: DescriptorTable, fd: int, description: Description | None) -> None:
        """Enter ``fd``, in place of what it was."""
        self._count(table.open.get(fd), -1)
        table.open[fd] = description
        self._count(description, 1)

    def remove(self, table: DescriptorTable, fd: int) -> Description | None:
        """Take ``fd`` out of the table and return what it was."""
        description = table.open.pop(fd, None)
        if description is not None:
            self._count(description, -1)
        return description

    @staticmethod
    def still_open(table: DescriptorTable, tid: int, fd: int) -> bool:
        """Whether ``fd`` of the thread still is what the table says (exec closes descriptors)."""
        description = table.open.get(fd)
        try:
            info = os.stat(f"/proc/{tid}/fd/{fd}")
        except OSError:
            return False
        return description is not None and description.key == (info.st_dev, info.st_ino)

    def writers(self, key: Key) -> int:
        """Return how many descriptors are open for writing on the file."""
        return self._writers.get(key, 0)

    def copy(self, table: DescriptorTable) -> DescriptorTable:
        """Return the table of a process forked from one with ``table``."""
        fresh = DescriptorTable()
        for fd, description in table.open.items():
            self.install(fresh, fd, description)
        return fresh

    @staticmethod
    def share(table: DescriptorTable) -> DescriptorTable:
        """Return ``table`` itself, with one more process using it."""
        table.sharers += 1
        return table

    @staticmethod
    def leave(table: DescriptorTable) -> bool:
        """Take one process off the table; return whether that was the last, so that everything closes."""
        table.sharers -= 1
        return table.sharers == 0

    def _count(self, description: Description | None, step: int) -> None:
        if description is not None and description.writable:
            self._writers[description.key] = self._writers.get(description.key, 0) + step


def _flags(tid: int, fd: int) -> int:
    """Return the open flags of a descriptor, from ``/proc/TID/fdinfo/FD``."""
    try:
        with open(f"/proc/{tid}/fdinfo/{fd}", "rb") as stream:
            for line in stream:
                if line.startswith(b"flags:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    return 0


def position(tid: int, fd: int) -> int:
    """Return the file position of a descriptor. Raises :class:`OSError` if it is gone."""
    handle = os.open(f"/proc/{tid}/fdinfo/{fd}", os.O_RDONLY)
    try:
        return int(os.read(handle, 64).split(None, 2)[1])
    finally:
        os.close(handle)
