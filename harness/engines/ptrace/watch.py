"""What one recording has seen so far, and how an operation enters it.

The decoders read from it (paths, inodes, descriptors) and the loop writes to it (operations). It knows nothing
of ptrace stops.
"""

from __future__ import annotations

from harness.core.operation import Ack, AnyOperation, Close, Lock, Map, Open, Outside, Sync, Truncate, Write
from harness.core.run import RunSpec
from harness.core.trace import Actor
from harness.engines.base import Observer
from harness.engines.inject import Injector
from harness.engines.inodes import Key
from harness.engines.ptrace.descriptors import Descriptors
from harness.engines.ptrace.paths import Root
from harness.engines.ptrace.tracee import Thread
from harness.engines.record import Record

_KEEP_NAMES = frozenset((Open, Close, Write, Truncate, Sync, Lock, Map, Outside, Ack))
"""Operations after which every path still leads where it led, to a file of the same mode."""


class Watch(Record):
    """The state of one recording, and what the decoders know of descriptors and names."""

    def __init__(self, spec: RunSpec, stdout: Key, injector: Injector, observer: Observer | None = None) -> None:
        super().__init__(spec, injector, observer)
        self.root: Root = Root(spec.root)
        self.descriptors = Descriptors(stdout)
        self.opened: dict[str, tuple[Key, str, int]] = {}
        """Absolute path as spelt → (key, name in the tree, mode) of an open; valid until a name or mode changes."""

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

    def noted(self, op: AnyOperation) -> None:
        """Forget what paths lead to when a name or a mode has changed."""
        if type(op) not in _KEEP_NAMES:
            self.opened.clear()


def _command(tid: int) -> str:
    try:
        with open(f"/proc/{tid}/comm", encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read().rstrip("\n")
    except OSError:
        return ""
