"""What one recording has seen so far, and how an operation enters it.

The decoders read from it (paths, inodes, descriptors) and the loop writes to it (operations). It knows nothing
of ptrace stops.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from harness.core.content import MAX_FILE_BYTES
from harness.core.operation import Ack, AnyOperation, Close, Lock, Map, Open, Outside, Sync, Truncate, Write
from harness.core.run import RunSpec
from harness.core.trace import Actor
from harness.engines.acks import AckReader
from harness.engines.base import Observer
from harness.engines.ptrace.descriptors import Descriptors, Key
from harness.engines.ptrace.inject import Injector
from harness.engines.ptrace.inodes import Inodes
from harness.engines.ptrace.paths import Root
from harness.engines.ptrace.tracee import Thread

_KEEP_NAMES = frozenset((Open, Close, Write, Truncate, Sync, Lock, Map, Outside, Ack))
"""Operations after which every path still leads where it led, to a file of the same mode."""


class LimitReachedError(Exception):
    """The run passed one of its bounds. The message says which, in one line."""


class Watch:
    """The state of one recording."""

    def __init__(self, spec: RunSpec, stdout: Key, injector: Injector, observer: Observer | None = None) -> None:
        self._observer = observer
        self.root = Root(spec.root)
        self.inodes = Inodes(spec.root, spec.start)
        self.descriptors = Descriptors(stdout)
        self.acks = AckReader(spec.ack, spec.arm)
        self.injector = injector
        self.operations: list[AnyOperation] = []
        self.actors: list[Actor] = []
        self.unseen: dict[str, None] = {}
        self.unseen_paths: set[str] = set()
        self.mapped: set[int] = set()
        """Inode numbers of files with a shared writable mapping."""
        self.outside: set[str] = set()
        self.opened: dict[str, tuple[Key, str, int]] = {}
        """Absolute path as spelt → (key, name in the tree, mode) of an open; valid until a name or mode changes."""
        self.sizes: dict[int, int] = {}
        """Inode number → size, where every change since was seen; saves a look at the file per appending write."""
        self.started_ns = time.monotonic_ns()
        self.armed_ns: int | None = None
        self._operations_left = spec.limits.operations
        self._operations_limit = spec.limits.operations
        self._bytes_left = spec.limits.state_bytes
        self._bytes_limit = spec.limits.state_bytes

    def now(self) -> int:
        """Return the nanoseconds since the start of the run."""
        return time.monotonic_ns() - self.started_ns

    def actor(self, thread: Thread) -> int:
        """Return the index of a thread among the actors, entering it the first time."""
        if thread.actor < 0:
            thread.actor = len(self.actors)
            self.actors.append(
                Actor(
                    process=thread.process.index,
                    thread=thread.number,
                    pid=thread.process.pid,
                    command=_command(thread.tid),
                )
            )
        return thread.actor

    def stamp(self, thread: Thread, syscall: str, at_ns: int, ahead: int = 0, error: int = 0) -> dict[str, Any]:
        """Return the fields that every operation carries; ``ahead`` counts operations before it in the same call."""
        actor = thread.actor
        return {
            "seq": len(self.operations) + ahead,
            "actor": actor if actor >= 0 else self.actor(thread),
            "at_ns": at_ns,
            "syscall": syscall,
            "error": error,
        }

    def record(self, operations: Iterable[AnyOperation]) -> None:
        """Append finished operations and tell the observer.

        Raises :class:`LimitReachedError` when there are too many.
        """
        before = len(self.operations)
        for op in operations:
            self.operations.append(op)
            if type(op) not in _KEEP_NAMES:
                self.opened.clear()
            if self.injector.active:
                self.injector.observe(op, self.actors)
            self._operations_left -= 1
            if self._operations_left < 0:
                raise LimitReachedError(f"made more than {self._operations_limit} file operations")
        if self._observer is not None and len(self.operations) > before:
            self._observer.recorded(len(self.operations))

    def spend(self, size: int) -> None:
        """Count bytes about to be written, in the state directory or elsewhere.

        Raises :class:`LimitReachedError` before they are read into memory.
        """
        if size > self._bytes_left:
            raise LimitReachedError(f"wrote more than {self._bytes_limit} bytes")
        self._bytes_left -= size

    @staticmethod
    def check_size(size: int) -> None:
        """Raise :class:`LimitReachedError` for a file that would be too large to model."""
        if size > MAX_FILE_BYTES:
            raise LimitReachedError(f"made a file of {size} bytes; the most is {MAX_FILE_BYTES}")

    def not_seen(self, sentence: str) -> None:
        """Note, once, something the engine could not see."""
        self.unseen[sentence] = None


def _command(tid: int) -> str:
    try:
        with open(f"/proc/{tid}/comm", encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read().rstrip("\n")
    except OSError:
        return ""
