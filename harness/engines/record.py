"""What one recording has seen so far, whoever saw it: operations, actors, acknowledgements, gaps and limits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

from harness.core.content import MAX_FILE_BYTES
from harness.core.operation import AnyOperation
from harness.core.run import Delivered, RunSpec
from harness.core.trace import Actor, Trace
from harness.engines.acks import AckReader, looks_buffered
from harness.engines.base import Observer
from harness.engines.inject import FAULT_NAMES, Injector, PointFault
from harness.engines.inodes import Inodes


class LimitReachedError(Exception):
    """The run passed one of its bounds. The message says which, in one line."""


class Places(Protocol):
    """Which absolute paths lie in the state directory, and as what."""

    def relative(self, absolute: str | None) -> str | None:
        """Return the name in the tree, ``None`` for what is outside (the state directory itself included)."""
        ...

    def name(self, located: str) -> tuple[str | None, str | None]:
        """Return (absolute name, name in the tree) of a located path, last component not followed."""
        ...


class Record:
    """The state of one recording. Subclasses know who acts and where paths lead."""

    root: Places

    def __init__(self, spec: RunSpec, injector: Injector, observer: Observer | None = None) -> None:
        self._observer = observer
        self.spec = spec
        self.inodes = Inodes(spec.root, spec.start)
        self.acks = AckReader(spec.ack, spec.arm)
        self.injector = injector
        self.operations: list[AnyOperation] = []
        self.actors: list[Actor] = []
        self.unseen: dict[str, None] = {}
        self.unseen_paths: set[str] = set()
        self.mapped: set[int] = set()
        """Inode numbers of files with a shared writable mapping."""
        self.outside: set[str] = set()
        self.sizes: dict[int, int] = {}
        """Inode number → size, where every change since was seen; saves a look at the file per appending write."""
        self.started_ns = time.monotonic_ns()
        self.armed_ns: int | None = None
        self._operations_left = spec.limits.operations
        self._bytes_left = spec.limits.state_bytes

    def now(self) -> int:
        """Return the nanoseconds since the start of the run."""
        return time.monotonic_ns() - self.started_ns

    def actor(self, thread: Any) -> int:
        """Return the index of a thread among the actors, entering it the first time."""
        raise NotImplementedError

    def stamp(self, thread: Any, syscall: str, at_ns: int, ahead: int = 0, error: int = 0) -> dict[str, Any]:
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
            self.noted(op)
            if self.injector.active:
                self.injector.observe(op, self.actors)
            self._operations_left -= 1
            if self._operations_left < 0:
                raise LimitReachedError(f"made more than {self.spec.limits.operations} file operations")
        if self._observer is not None and len(self.operations) > before:
            self._observer.recorded(len(self.operations))

    def struck(self, fault: PointFault, pid: int, op: AnyOperation | None, returned: int | None) -> Delivered:
        """Note that a fault struck process ``pid`` at ``op`` (``None``: at none that is recorded); return the proof."""
        self.injector.delivered(fault)
        return Delivered(
            fault=FAULT_NAMES[type(fault)],
            seq=len(self.operations) if op is None else op.seq,
            pid=pid,
            operation=op,
            returned=returned,
            at_us=self.now() // 1000,
        )

    def noted(self, op: AnyOperation) -> None:
        """Bring up to date what a subclass remembers of the tree."""

    def spend(self, size: int) -> None:
        """Count bytes about to be written, in the state directory or elsewhere.

        Raises :class:`LimitReachedError` before they are read into memory.
        """
        if size > self._bytes_left:
            raise LimitReachedError(f"wrote more than {self.spec.limits.state_bytes} bytes")
        self._bytes_left -= size

    @staticmethod
    def check_size(size: int) -> None:
        """Raise :class:`LimitReachedError` for a file that would be too large to model."""
        if size > MAX_FILE_BYTES:
            raise LimitReachedError(f"made a file of {size} bytes; the most is {MAX_FILE_BYTES}")

    def not_seen(self, sentence: str) -> None:
        """Note, once, something the engine could not see."""
        self.unseen[sentence] = None

    def take_output(self, data: bytes) -> list[str]:
        """Take in bytes written to standard output; return the acknowledgements that they complete."""
        ids = self.acks.feed(data)
        if self.acks.armed and self.armed_ns is None:
            self.armed_ns = self.now()
        return ids

    @property
    def armed_us(self) -> int | None:
        """Microseconds from the start to the line that matched the arm pattern."""
        return None if self.armed_ns is None else self.armed_ns // 1000

    @property
    def acks_buffered(self) -> bool:
        """Whether standard output looks block-buffered."""
        return self.acks.split_batch or looks_buffered(self.operations)

    def trace(self, engine: str) -> Trace:
        """Return the trace of the run."""
        return Trace(
            root=self.spec.root,
            engine=engine,
            actors=tuple(self.actors),
            start=self.spec.start,
            operations=tuple(self.operations),
            unseen=tuple(self.unseen),
            unseen_paths=tuple(sorted(self.unseen_paths)),
        )
