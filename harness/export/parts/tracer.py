"""The writer under ptrace: each of its system calls stops, and one of them is where the fault strikes."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import signal
import struct
from collections.abc import Callable
from typing import NamedTuple

# ptrace(2): requests, and options: mark stops at calls, follow children, nothing outlives this program.
SEIZE, INTERRUPT, GO_ON, WHO_IS_BORN, CALL_INFO, POKE = 0x4206, 0x4207, 24, 0x4201, 0x420E, 6
OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x100000
BIRTHS, NEW_PROGRAM, ANY_THREAD = (1, 2, 3), 4, 0x40000000
RAX, ORIGINAL_RAX, ARGUMENTS = 80, 120, (112, 104, 96, 56, 72, 64)  # where registers stand

# What a call does to the file that one of its arguments has open: number -> (word, argument).
ON_FILE = {
    **dict.fromkeys((1, 18, 20, 40, 296, 328), ("write", 0)), 326: ("write", 2), 77: ("truncate", 0),
    285: ("truncate", 0), **dict.fromkeys((74, 75, 277, 306), ("sync", 0)), 91: ("chmod", 0),
    **dict.fromkeys((93, 190, 199), ("attribute", 0)),
}  # fmt: skip
# What a call does to a name: number -> (word, argument with the directory or none, argument with the name).
ON_NAME: dict[int, tuple[str, int | None, int]] = {
    2: ("open", None, 0), 85: ("open", None, 0), 257: ("open", 0, 1), 76: ("truncate", None, 0),
    82: ("rename", None, 1), 264: ("rename", 2, 3), 316: ("rename", 2, 3), 86: ("link", None, 1), 265: ("link", 2, 3),
    88: ("mknod", None, 1), 266: ("mknod", 1, 2), 133: ("mknod", None, 0), 259: ("mknod", 0, 1),
    87: ("unlink", None, 0), 84: ("unlink", None, 0), 263: ("unlink", 0, 1), 83: ("mkdir", None, 0),
    258: ("mkdir", 0, 1), 90: ("chmod", None, 0), 268: ("chmod", 0, 1), 452: ("chmod", 0, 1),
    **dict.fromkeys((92, 94, 188, 189, 197, 198), ("attribute", None, 0)), 260: ("attribute", 0, 1),
    **dict.fromkeys((132, 235), ("utimens", None, 0)), **dict.fromkeys((261, 280), ("utimens", 0, 1)),
}  # fmt: skip


@functools.cache
def libc() -> ctypes.CDLL:
    """Return the C library."""
    return ctypes.CDLL(None, use_errno=True)


def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    """Ask the kernel; ProcessLookupError where the thread was killed meanwhile."""
    words = [ctypes.c_ulong(word & 2**64 - 1) for word in (request, tid, address, data)]
    if libc().ptrace(*words) == -1:
        raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")


class Thread(NamedTuple):
    """A thread of the writer. Processes are numbered by birth, and so are the threads of each."""

    tid: int
    pid: int
    process: int
    number: int


class Operation(NamedTuple):
    """What a thread is about to do to the state directory."""

    word: str
    path: str
    call: int
    arguments: tuple[int, ...]
    flags: int = 0


class Writer:
    """The writer, from its start to the death of its last process.

    ``strike`` is called at the ``number``-th operation of this kind on a file like ``path``, by one process.
    """

    on_file, on_name, reads = ON_FILE, ON_NAME, False
    advice = "to test a fix that writes otherwise, search again: tornwrite probe"

    def __init__(
        self, root: str, strike: Strike | None = None, word: str = "", path: str = "", number: int = 0,
        process: int = 0, amount: int = 0, lasts: int = 0,
    ) -> None:  # fmt: skip
        self.root, self.strike, self.word, self.path, self.number = root, strike, word, path, number
        self.process, self.amount, self.lasts = process, amount, lasts
        self.threads: dict[int, Thread] = {}
        self.newborn: set[int] = set()  # stopped before those that made them have told of them
        self.births = [1]  # threads born so far, by process
        self.refusal: Strike | None = None
        self.seen = self.status = self.pid = 0
        self.struck = self.spared = ""  # what the fault did, and why it did nothing
        self.done: list[str] = []
        self.touched = self.dying = self.stopped_it = False

    def start(self, argv: list[str], cwd: str, environment: dict[str, str], output: str) -> None:
        """Start the writer, its output into files, and seize it before its first instruction."""
        ready, go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.close(go)
                os.read(ready, 1)
                for fd, path in enumerate((os.devnull, output, output + ".errors")):
                    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), fd)
                os.chdir(cwd)
                os.execve(argv[0], argv, environment)
            finally:
                os._exit(127)
        self.threads[self.pid] = Thread(self.pid, self.pid, 0, 0)
        ptrace(SEIZE, self.pid, 0, OPTIONS)
        ptrace(INTERRUPT, self.pid)
        os.close(ready)
        os.close(go)

    def run(self) -> int:
        """Serve its stops until nothing of it lives; return how its first process ended."""
        while self.threads:
            tid, status = self.wait()
            if not os.WIFSTOPPED(status):
                self.ended(tid, status)
            elif not self.dying:
                with contextlib.suppress(ProcessLookupError):  # killed while it stood: its end is told next
                    self.stopped(tid, status)
        return self.status

    def wait(self) -> tuple[int, int]:
        """Return who stopped or ended."""
        return os.waitpid(-1, ANY_THREAD)

    def ended(self, tid: int, status: int) -> None:
        """A thread is no more."""
        self.newborn.discard(tid)
        self.threads.pop(tid, None)
        self.status = status if tid == self.pid else self.status

    def stopped(self, tid: int, status: int) -> None:
        """Serve one stop: a call, a birth, a new program, or a signal, which is passed on."""
        thread, number, event = self.threads.get(tid), os.WSTOPSIG(status), status >> 16
        if thread is None:
            self.newborn.add(tid)
        elif number == signal.SIGTRAP | 0x80:
            at_entry, call, *arguments = self.call_of(thread)
            operation = self.operation(thread, call, tuple(arguments)) if at_entry == 1 else None
            if operation is None:
                ptrace(GO_ON, tid)
            else:
                self.before(thread, operation)
        else:
            if event in BIRTHS:
                self.born(thread)
            elif event == NEW_PROGRAM:
                self.threads = {each: other for each, other in self.threads.items() if other.pid != tid}
                self.threads[tid] = Thread(tid, tid, thread.process, 0)
            ptrace(GO_ON, tid, 0, 0 if event else number)

    def born(self, parent: Thread) -> None:
        """Number a new thread or process."""
        message = ctypes.c_ulong()
        ptrace(WHO_IS_BORN, parent.tid, 0, ctypes.addressof(message))
        child = message.value
        if os.path.exists(f"/proc/{parent.pid}/task/{child}"):
            self.threads[child] = Thread(child, parent.pid, parent.process, self.births[parent.process])
            self.births[parent.process] += 1
        else:
            self.threads[child] = Thread(child, child, len(self.births), 0)
            self.births.append(1)
        if child in self.newborn:
            self.newborn.remove(child)
            ptrace(GO_ON, child)

    def call_of(self, thread: Thread) -> tuple[int, ...]:
        """Return 1, the call and its arguments at the entry of a call; 2 and what it returned at its exit."""
        raw = ctypes.create_string_buffer(88)
        ptrace(CALL_INFO, thread.tid, 88, ctypes.addressof(raw))
        return struct.unpack_from("=B23xq6Q", raw)

    def operation(self, thread: Thread, call: int, arguments: tuple[int, ...]) -> Operation | None:
        """Return what a call is about to do to the state directory, if anything."""
        if call == 162:
            return Operation("sync", "", call, arguments)
        if call in self.on_file:
            word, at = self.on_file[call]
            path = self.inside(link(f"/proc/{thread.tid}/fd/{arguments[at] & 0xFFFFFFFF}"))
            return None if path is None else Operation(word, path, call, arguments)
        if call not in self.on_name:
            return None
        word, directory, at = self.on_name[call]
        flags = (os.O_CREAT if call == 85 else arguments[2 if call == 257 else 1]) if word == "open" else 0
        if word == "open" and not (self.reads or may_write(flags)):
            return None
        name = text(thread.pid, arguments[at])
        number = ctypes.c_int(arguments[directory] & 0xFFFFFFFF).value if directory is not None else -100
        base = link(f"/proc/{thread.tid}/" + ("cwd" if number == -100 else f"fd/{number}"))
        above, last = os.path.split(os.path.join(base, name).rstrip("/"))
        whole = os.path.join(os.path.realpath(above), last)  # the last part of a name is followed by an open only
        path = self.inside(os.path.realpath(whole) if word == "open" else whole)
        return Operation(word, path, call, arguments, flags) if name and path is not None else None

    def inside(self, absolute: str) -> str | None:
        """Return the name in the state directory, "." for itself; nothing for what is elsewhere."""
        if absolute == self.root:
            return "."
        return absolute.removeprefix(self.root + "/") if absolute.startswith(self.root + "/") else None

    def before(self, thread: Thread, operation: Operation) -> None:
        """A thread stands before an operation: let it do it."""
        self.note(thread, operation)
        self.do(thread, operation)

    def note(self, thread: Thread, operation: Operation) -> None:
        """Keep what is done, in order, for whoever wants to see it."""
        name = f"p{thread.process}" + (f".t{thread.number}" if thread.number else "")
        self.touched |= bool(operation.path)
        writes = " to write" if operation.word == "open" and may_write(operation.flags) else ""
        self.done.append(f"{name:8}{operation.word + writes:15}{ascii(operation.path) if operation.path else ''}")

    def do(self, thread: Thread, operation: Operation) -> int | None:
        """Let a thread do what it stands before, or strike; return what the call returned."""
        if self.refusal is not None and self.refusal(self, thread, operation) is not None:
            return None
        looks = operation.word == "open" and not may_write(operation.flags)
        same = operation.word == self.word and thread.process == self.process and not looks
        self.seen += same and is_like(self.path, operation.path)
        if not same or self.strike is None or self.struck or self.seen != self.number:
            return self.through(thread)
        self.struck = f"{operation.word} number {self.seen} of {operation.path!a}"
        return self.strike(self, thread, operation)

    def through(self, thread: Thread, resume: bool = True) -> int | None:
        """Let a call run to its exit, with nobody else's operation meanwhile; return what it returned."""
        ptrace(GO_ON, thread.tid)
        _, status = os.waitpid(thread.tid, ANY_THREAD)
        if not os.WIFSTOPPED(status):
            self.ended(thread.tid, status)
            return None
        returned = self.call_of(thread)[1]
        if resume:
            ptrace(GO_ON, thread.tid)
        return returned

    def kill(self) -> None:
        """SIGKILL for every process of the writer."""
        self.dying = True
        for pid in {thread.pid for thread in self.threads.values()} | self.newborn:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def missed(self) -> str:
        """Return what had to happen and did not; empty where all did."""
        if self.strike is None or self.struck:
            return ""
        return self.spared or "the operation at which the fault strikes did not come"


Strike = Callable[[Writer, Thread, Operation], int | None]


def is_like(role: str, path: str) -> bool:
    """Whether a path plays a role: <uuid>, <tmp> (a random name) and <n> (a number or other infix) stand for any."""
    uuid = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    any_of = {"<uuid>": uuid, "<tmp>": "te?mp[a-z0-9_]{8}", "<n>": "[A-Za-z0-9_]+"}
    pieces = re.split("(<uuid>|<tmp>|<n>)", role)
    return bool(re.fullmatch("".join(any_of.get(piece) or re.escape(piece) for piece in pieces), path))


def may_write(flags: int) -> bool:
    """Whether a file is opened in order to change it."""
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)) and not flags & 0o10000000


def link(path: str) -> str:
    """Return where a link of /proc leads; empty where there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def text(pid: int, address: int) -> str:
    """Return a string of a process; it is read to the end of each page, behind which there may be nothing."""
    collected = b""
    with contextlib.suppress(OSError, OverflowError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        while b"\0" not in collected and len(collected) < 4096:
            memory.seek(address + len(collected))
            collected += memory.read(256 - (address + len(collected)) % 256)
    return os.fsdecode(collected.partition(b"\0")[0])
