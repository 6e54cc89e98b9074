"""close, dup, fcntl, close_range, unshare: what keeps the descriptor tables true. Only closes are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.core.operation import AnyOperation, Close
from harness.engines.calls.call import Call
from harness.engines.calls.files import LockCall
from harness.engines.ptrace import filter as stops
from harness.engines.ptrace.decode.call import Arguments, TracedCall
from harness.engines.ptrace.descriptors import DescriptorTable
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch

_CLOSE_RANGE_UNSHARE = 2
_CLOSE_RANGE_CLOEXEC = 4
_LOCK_COMMANDS = {
    stops.F_SETLK: "F_SETLK",
    stops.F_SETLKW: "F_SETLKW",
    stops.F_OFD_SETLK: "F_OFD_SETLK",
    stops.F_OFD_SETLKW: "F_OFD_SETLKW",
}
_FLOCKS = {1: "LOCK_SH", 2: "LOCK_EX", 8: "LOCK_UN"}
_FCNTL_TYPES = {0: "F_RDLCK", 1: "F_WRLCK", 2: "F_UNLCK"}
_LOCK_NB = 4


def closed(watch: Watch, thread: Thread, syscall: str, table: DescriptorTable, fds: Iterable[int]) -> None:
    """Take descriptors out of a table and record the close of each one that was open for writing in the root."""
    for fd in fds:
        description = watch.descriptors.remove(table, fd)
        if description is None or not description.writable:
            continue
        ino = watch.inodes.get(description.key)
        if ino is not None:
            left = watch.descriptors.writers(description.key)
            watch.record(
                (Close(ino=ino, fd=fd, writers_left=left, **watch.stamp(thread, syscall, watch.now())),),
            )


class DuplicateCall(TracedCall):
    """A call that returns a second descriptor for ``source``."""

    __slots__ = ("source",)

    def __init__(self, watch: Watch, thread: Thread, syscall: str, source: int) -> None:
        super().__init__(watch, thread, syscall)
        self.source = source

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Enter the duplicate; what it replaced closes."""
        table = self.thread.process.descriptors
        if returned >= 0 and returned != self.source:
            closed(self.watch, self.thread, self.syscall, table, [returned])
            if self.source in table.open:
                self.watch.descriptors.install(table, returned, table.open[self.source])
        return ()


def _close(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    # The descriptor is in the table, so the close succeeds: there is nothing to learn at its exit.
    fd = args[0] & 0xFFFFFFFF
    table = thread.process.descriptors
    if table.open.get(fd, None) is not None:
        closed(watch, thread, name, table, (fd,))
    else:
        table.open.pop(fd, None)
    return None


def _close_range(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    first, last, flags = args[0] & 0xFFFFFFFF, args[1] & 0xFFFFFFFF, args[2]
    if flags & _CLOSE_RANGE_UNSHARE:
        unshare_table(watch, thread)
    if not flags & _CLOSE_RANGE_CLOEXEC:
        table = thread.process.descriptors
        closed(watch, thread, name, table, [fd for fd in sorted(table.open) if first <= fd <= last])
    return None


def _dup(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    source, target = args[0] & 0xFFFFFFFF, args[1] & 0xFFFFFFFF
    table = thread.process.descriptors
    known = source in table.open or (name != "dup" and target in table.open)
    return DuplicateCall(watch, thread, name, source) if known else None


def _fcntl(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    fd, command = args[0] & 0xFFFFFFFF, args[1] & 0xFFFFFFFF
    if command in (stops.F_DUPFD, stops.F_DUPFD_CLOEXEC):
        return DuplicateCall(watch, thread, name, fd) if fd in thread.process.descriptors.open else None
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, fd)
    if description is None:
        return None
    if command == stops.F_SETFL:
        description.append = bool(args[2] & 0o2000)
        return None
    ino = watch.inodes.get(description.key)
    if ino is None:
        return None
    kind = int.from_bytes(thread.process.read(args[2], 2), "little")
    what = f"{_LOCK_COMMANDS[command]} {_FCNTL_TYPES.get(kind, kind)}"
    return LockCall(watch, thread, name, ino, what, waits=command in (stops.F_SETLKW, stops.F_OFD_SETLKW))


def _flock(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    description = watch.descriptors.lookup(thread.process.descriptors, thread.tid, args[0] & 0xFFFFFFFF)
    ino = None if description is None else watch.inodes.get(description.key)
    if ino is None:
        return None
    request = args[1] & 0xFF
    what = _FLOCKS.get(request & ~_LOCK_NB, str(request)) + ("|LOCK_NB" if request & _LOCK_NB else "")
    return LockCall(watch, thread, name, ino, what, waits=not request & _LOCK_NB)


def unshare_table(watch: Watch, thread: Thread) -> None:
    """Give the thread's process a descriptor table of its own."""
    process = thread.process
    if process.descriptors.sharers > 1:
        watch.descriptors.leave(process.descriptors)
        process.descriptors = watch.descriptors.copy(process.descriptors)


def _unshare(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    del name, args
    unshare_table(watch, thread)
    return None


def after_exec(watch: Watch, thread: Thread) -> None:
    """Bring the table up to date after exec: it is unshared, and descriptors marked close-on-exec are gone."""
    unshare_table(watch, thread)
    table = thread.process.descriptors
    gone = [fd for fd in sorted(table.open) if not watch.descriptors.still_open(table, thread.tid, fd)]
    closed(watch, thread, "execve", table, gone)


def after_exit(watch: Watch, thread: Thread) -> None:
    """Close what a process that ended had open, unless another process shares its table."""
    table = thread.process.descriptors
    if watch.descriptors.leave(table):
        closed(watch, thread, "exit", table, sorted(table.open))


DECODERS = {
    "close": _close,
    "close_range": _close_range,
    "dup": _dup,
    "dup2": _dup,
    "dup3": _dup,
    "fcntl": _fcntl,
    "flock": _flock,
    "unshare": _unshare,
}
