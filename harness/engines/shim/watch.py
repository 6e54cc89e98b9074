"""What a recording knows of the target's processes: who they are, and which files they have open for writing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harness.core.operation import Close
from harness.core.run import RunSpec
from harness.core.trace import Actor
from harness.engines.inject import Injector
from harness.engines.record import Record
from harness.engines.shim.places import Root


class Held(NamedTuple):
    """A descriptor of a process: the file's number in the trace (``None``: outside), and how it was opened."""

    ino: int | None
    writable: bool
    append: bool


class Process:
    """One process of the target; ``born`` is its number, ``kept`` whether it has become another program."""

    def __init__(self, born: int, pid: int, fds: dict[int, Held]) -> None:
        self.born = born
        self.pid = pid
        self.fds = fds
        self.command = ""
        self.lines = 0
        """Connections that it has: one, and one more for each thread with an interpreter of its own."""
        self.connected = 0
        """Connections that it has had."""
        self.replaced = False
        """Whether it said that it is about to become another program."""
        self.actors: dict[int, Acting] = {}

    def thread(self, number: int) -> Acting:
        """Return the thread ``number`` of the process."""
        if number not in self.actors:
            self.actors[number] = Acting(self, number)
        return self.actors[number]


class Acting:
    """A thread of a process; ``actor`` is its index in the trace, or -1 until its first operation."""

    __slots__ = ("actor", "number", "process")

    def __init__(self, process: Process, number: int) -> None:
        self.process = process
        self.number = number
        self.actor = -1


class Watch(Record):
    """The state of one recording."""

    def __init__(self, spec: RunSpec, injector: Injector) -> None:
        super().__init__(spec, injector)
        self.root: Root = Root(spec.root)
        self._writers: dict[int, int] = {}

    def actor(self, thread: Acting) -> int:
        """Return the index of a thread among the actors, entering it the first time."""
        if thread.actor < 0:
            process = thread.process
            thread.actor = len(self.actors)
            self.actors.append(
                Actor(process=process.born, thread=thread.number, pid=process.pid, command=process.command)
            )
        return thread.actor

    # -- descriptors ----------------------------------------------------------------------------------------------

    def hold(self, process: Process, fd: int, held: Held) -> None:
        """Enter a descriptor of a process, in the place of whatever its number was."""
        self.drop(process, fd)
        process.fds[fd] = held
        self._count(held, 1)

    def drop(self, process: Process, fd: int) -> Held | None:
        """Take a descriptor out and return what it was."""
        held = process.fds.pop(fd, None)
        if held is not None:
            self._count(held, -1)
        return held

    def _count(self, held: Held, step: int) -> None:
        if held.ino is not None and held.writable:
            self._writers[held.ino] = self._writers.get(held.ino, 0) + step

    def copy(self, process: Process) -> dict[int, Held]:
        """Return the descriptors of a process forked from ``process``."""
        for held in process.fds.values():
            self._count(held, 1)
        return dict(process.fds)

    def close(self, thread: Acting, syscall: str, fds: Iterable[int]) -> None:
        """Record the close of each descriptor that was open for writing in the state directory."""
        for fd in fds:
            held = self.drop(thread.process, fd)
            if held is not None and held.ino is not None and held.writable:
                left = self._writers[held.ino]
                op = Close(ino=held.ino, fd=fd, writers_left=left, **self.stamp(thread, syscall, self.now()))
                self.record((op,))
