"""Where a schedule decides: which system calls are file operations of the state directory, and whose.

A call is looked at when its thread stops before it, and is not decoded until its turn has come: by then others may have
changed what it will meet. Looking changes nothing.

Decided are what changes the state directory, what reads it or looks into it, the taking and giving back of file locks
(when they begin: one that waits is never held), lines on standard output, and the end of a process. Not decided are
locks of memory, and what is read through a mapping.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from harness.core.role import path_role
from harness.engines.ptrace import abi
from harness.engines.ptrace import filter as stops
from harness.engines.ptrace.paths import locate, opened_name
from harness.engines.ptrace.tracee import Process, Thread
from harness.engines.ptrace.watch import Watch
from harness.explore.schedule import Mode, pool_label, thread_label

_POOLED = frozenset({"node", "nodejs", "bun", "deno", "electron"})
"""Programs whose further threads are one pool."""
_NAMES = {**abi.NAMES, **{number: name for name, number in abi.LOOKS.items()}}
_LOCK_COMMANDS = frozenset((stops.F_SETLK, stops.F_SETLKW, stops.F_OFD_SETLK, stops.F_OFD_SETLKW))

_READS = ("read", "pread64", "readv", "preadv", "preadv2")
_OPENS = ("open", "creat", "openat", "openat2")
_ON_DESCRIPTOR = {
    **dict.fromkeys(_READS, "read"),
    **dict.fromkeys(
        ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range"), "write"
    ),
    **dict.fromkeys(("ftruncate", "fallocate"), "truncate"),
    **dict.fromkeys(("fsync", "fdatasync", "sync_file_range", "syncfs"), "sync"),
    **dict.fromkeys(("fchmod", "fchown", "fsetxattr", "fremovexattr"), "set"),
    "getdents64": "list",
    "ioctl": "write",
    "close": "close",
    "flock": "lock",
    "fcntl": "lock",
}
"""Call → word, of the calls on a descriptor: the first argument, of copy_file_range the third."""
_LOOKS_AT_PATH = {
    **dict.fromkeys(("stat", "lstat", "access", "readlink"), (-1, 0)),
    **dict.fromkeys(("newfstatat", "statx", "faccessat", "faccessat2", "readlinkat"), (0, 1)),
}
_ON_PATH: dict[str, tuple[str, int, int]] = {
    "open": ("open", -1, 0), "creat": ("open", -1, 0), "openat": ("open", 0, 1), "openat2": ("open", 0, 1),
    "truncate": ("truncate", -1, 0),
    "rename": ("rename", -1, 1), "renameat": ("rename", 2, 3), "renameat2": ("rename", 2, 3),
    "link": ("link", -1, 1), "linkat": ("link", 2, 3), "symlink": ("link", -1, 1), "symlinkat": ("link", 1, 2),
    "unlink": ("unlink", -1, 0), "rmdir": ("unlink", -1, 0), "unlinkat": ("unlink", 0, 1),
    "mkdir": ("mkdir", -1, 0), "mkdirat": ("mkdir", 0, 1), "mknod": ("mkdir", -1, 0), "mknodat": ("mkdir", 0, 1),
    **dict.fromkeys(("chmod", "chown", "lchown", "utime", "utimes", "setxattr", "lsetxattr"), ("set", -1, 0)),
    **dict.fromkeys(("removexattr", "lremovexattr"), ("set", -1, 0)),
    **dict.fromkeys(("fchmodat", "fchmodat2", "fchownat", "futimesat", "utimensat"), ("set", 0, 1)),
    **{name: ("look", directory, path) for name, (directory, path) in _LOOKS_AT_PATH.items()},
}  # fmt: skip
"""Call → word, and which arguments are directory (-1: none) and path; of a rename and a link the new one."""


class Point(NamedTuple):
    """What a thread stands before. ``path`` is a name in the state directory, empty where it is about none.

    ``looks``: it changes nothing, and leaves no operation in the trace.
    """

    operation: str
    path: str = ""
    mode: Mode = "w"
    fd: int = -1
    looks: bool = False

    def __str__(self) -> str:
        return f"{self.operation} of {self.path}" if self.path else self.operation


class Points:
    """Finds the points of one run, and names who stands before them."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._root = watch.root.path
        self._opened: dict[tuple[int, int], tuple[Mode, int, str]] = {}
        """By process index and descriptor: how it was opened, the how-many-eth in its role, and the path."""
        self._occurrences: dict[tuple[int, Mode, str], int] = {}
        self._pooled: dict[int, bool] = {}

    def of(self, thread: Thread, registers: tuple[int, ...]) -> Point | None:
        """Return the point before which a thread stands, ``None`` for a call that nobody decides about."""
        name = _NAMES.get(registers[abi.ORIG_RAX], "")
        arguments = tuple(registers[register] for register in abi.ARGUMENT_REGISTERS)
        if name in _ON_DESCRIPTOR:
            return self._on_descriptor(thread, name, arguments)
        if name in _ON_PATH:
            return self._on_path(thread, name, arguments)
        if name == "exit_group":
            return Point("exit")  # of every process: whether threads are left that it ends may not be known yet
        return Point("sync") if name == "sync" else None

    def _on_descriptor(self, thread: Thread, name: str, arguments: tuple[int, ...]) -> Point | None:
        if name == "fcntl" and arguments[1] & 0xFFFFFFFF not in _LOCK_COMMANDS:
            return None
        fd = arguments[2 if name == "copy_file_range" else 0] & 0xFFFFFFFF
        description = self._watch.descriptors.lookup(thread.process.descriptors, thread.tid, fd)
        if description is None:
            return None
        word = _ON_DESCRIPTOR[name]
        if description.stdout:
            return Point("say") if word == "write" else None
        if self._watch.inodes.get(description.key) is None or (name == "close" and not description.writable):
            return None
        mode, _, path = self._opened.get((thread.process.index, fd), ("w", 0, ""))
        looks = word in ("read", "list")
        return Point(word, path or self._name_of(thread, fd), "r" if looks and not path else mode, fd, looks)

    def _on_path(self, thread: Thread, name: str, arguments: tuple[int, ...]) -> Point | None:
        word, directory, place = _ON_PATH[name]
        spelt = thread.process.string(arguments[place]) if arguments[place] else ""
        if not spelt:
            return None
        at = arguments[directory] if directory >= 0 else abi.AT_FDCWD
        path = self._inside(locate(thread, at, spelt))
        if path is None:
            return None
        if word == "look":
            return Point(word, path, "r", looks=True)
        if name in _OPENS and not self._flags(thread, name, arguments) & stops.WRITE_INTENT:
            return Point(word, path, "r", looks=True)
        return Point(word, path)

    def _inside(self, located: str) -> str | None:
        """Return the name in the state directory that a located path means, ``.`` for itself, ``None`` elsewhere."""
        prefix = self._root + "/"
        if located.startswith(prefix) and "/." not in located and "//" not in located:
            return located[len(prefix) :].rstrip("/") or "."
        absolute = opened_name(located)
        return "." if absolute == self._root else self._watch.root.relative(absolute)

    @staticmethod
    def _flags(thread: Thread, name: str, arguments: tuple[int, ...]) -> int:
        if name == "creat":
            return stops.WRITE_INTENT
        if name == "openat2":
            raw = thread.process.read(arguments[2], 8)
            return int(struct.unpack("Q", raw)[0]) if len(raw) == 8 else 0
        return arguments[1 if name == "open" else 2]

    def _name_of(self, thread: Thread, fd: int) -> str:
        try:
            absolute = os.readlink(f"/proc/{thread.tid}/fd/{fd}")
        except OSError:
            return ""
        return "." if absolute == self._root else self._watch.root.relative(absolute) or ""

    def label(self, thread: Thread, point: Point) -> str:
        """Return who stands before a point now; an open of a pool is the next one of its role."""
        process = thread.process
        if not thread.number or not self._is_pool(process):
            return thread_label(process.index, thread.number)
        role = path_role(point.path)
        if point.operation == "open":
            occurrence = self._occurrences.get((process.index, point.mode, role), 0) + 1
        else:
            _, occurrence, _ = self._opened.get((process.index, point.fd), ("w", 0, ""))
        return pool_label(process.index, point.mode, occurrence, role, point.operation)

    def opened(self, thread: Thread, point: Point, fd: int) -> None:
        """Note that an open has succeeded: what is done on its descriptor is one strand."""
        place = (thread.process.index, point.mode, path_role(point.path))
        self._occurrences[place] = self._occurrences.get(place, 0) + 1
        self._opened[thread.process.index, fd] = (point.mode, self._occurrences[place], point.path)

    def _is_pool(self, process: Process) -> bool:
        known = self._pooled.get(process.index)
        if known is None:
            try:
                program = os.path.basename(os.readlink(f"/proc/{process.pid}/exe"))
            except OSError:
                program = ""
            known = self._pooled[process.index] = program in _POOLED
        return known

    def replaced(self, process: Process) -> None:
        """Note that a process runs another program now."""
        self._pooled.pop(process.index, None)
