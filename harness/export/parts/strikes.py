"""The faults: each is what happens at the one operation, where its thread stands before it."""

from __future__ import annotations

import os

from harness.export.parts.tracer import (
    ARGUMENTS,
    GO_ON,
    ORIGINAL_RAX,
    POKE,
    RAX,
    Operation,
    Thread,
    Writer,
    ptrace,
)

LENGTH = {1: 2, 18: 2, 40: 3, 326: 4}  # of a write, the argument that says how many bytes


def killed_before(writer: Writer, thread: Thread, operation: Operation) -> None:
    """SIGKILL before the operation."""
    writer.struck = f"SIGKILL before {writer.struck}"
    writer.kill()


def killed_after(writer: Writer, thread: Thread, operation: Operation) -> None:
    """SIGKILL after the operation, before the writer hears of its success."""
    returned = writer.through(thread, resume=False)
    writer.struck = f"SIGKILL after {writer.struck}, which returned {returned}"
    writer.kill()


def killed_within(writer: Writer, thread: Thread, operation: Operation) -> int | None:
    """SIGKILL when a part of a write's bytes has landed."""
    returned = shortened(writer, thread, operation)
    if writer.struck:
        writer.struck = f"SIGKILL within {writer.struck}, when {returned} bytes had landed"
        writer.kill()
    return returned


def cut_short(writer: Writer, thread: Thread, operation: Operation) -> int | None:
    """A write that accepts a part of its bytes, and says so; with ``lasts``, nothing fits any more."""
    returned = shortened(writer, thread, operation)
    if writer.struck:
        writer.struck = f"{writer.struck} took {returned} bytes"
        writer.refusal = disk_is_full if writer.lasts else None
        ptrace(GO_ON, thread.tid)
    return returned


def shortened(writer: Writer, thread: Thread, operation: Operation) -> int | None:
    """Have a write take ``amount`` bytes; the thread stands at its exit.

    Never asks for more than the write does: one that is not longer runs as it is, and nothing strikes.
    """
    at = LENGTH.get(operation.call)
    if at is None:
        return spared(writer, f"is another call, number {operation.call}", writer.through(thread))
    if operation.arguments[at] <= writer.amount:
        return spared(writer, f"is {operation.arguments[at]:,} bytes long", writer.through(thread))
    ptrace(POKE, thread.tid, ARGUMENTS[at], writer.amount)
    returned = writer.through(thread, resume=False)
    if returned is None:
        return spared(writer, "never returned", None)
    ptrace(POKE, thread.tid, ARGUMENTS[at], operation.arguments[at])
    if returned != writer.amount:  # it failed, or copies a file that is shorter than what it asks for
        ptrace(GO_ON, thread.tid)
        return spared(writer, f"returned {returned:,}", returned)
    return returned


def spared(writer: Writer, why: str, returned: int | None) -> int | None:
    """Note why the fault did not strike."""
    writer.spared, writer.struck = f"{writer.struck} {why}: it cannot be cut at {writer.amount:,}", ""
    return returned


def failed(writer: Writer, thread: Thread, operation: Operation) -> int:
    """An operation that fails without having run; with ``lasts``, so does all that needs space from then on."""
    writer.struck = f"{writer.struck} failed: {os.strerror(writer.amount)}"
    writer.refusal = disk_is_full if writer.lasts else None
    return fail(writer, thread, writer.amount)


def disk_is_full(writer: Writer, thread: Thread, operation: Operation) -> int | None:
    """Have an operation fail that needs space; nothing is returned for any other."""
    opens = operation.word == "open" and operation.flags & os.O_CREAT
    new = opens and not os.path.exists(os.path.join(writer.root, operation.path))
    needs_space = new or operation.word in ("write", "mkdir", "mknod", "link")
    return fail(writer, thread, writer.lasts) if needs_space else None


def fail(writer: Writer, thread: Thread, error: int) -> int:
    """Have a call return an error without running."""
    ptrace(POKE, thread.tid, ORIGINAL_RAX, -1)
    writer.through(thread, resume=False)
    ptrace(POKE, thread.tid, RAX, -error)
    ptrace(GO_ON, thread.tid)
    return -error


def signalled(writer: Writer, thread: Thread, operation: Operation) -> int | None:
    """A signal right after the operation."""
    returned = writer.through(thread, resume=False)
    writer.struck = f"signal {writer.amount} after {writer.struck}"
    os.kill(thread.pid, writer.amount)
    ptrace(GO_ON, thread.tid)
    return returned
