"""The writer's threads and processes, held before each file operation and let through in the recorded order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from harness.export.parts.tracer import (
    ANY_THREAD,
    GO_ON,
    ON_FILE,
    ON_NAME,
    Operation,
    Thread,
    Writer,
    is_like,
    link,
    may_write,
    ptrace,
)

PATIENCE_S = 10.0  # how long the one whose turn it is is waited for; time decides nothing else
POOLED = ("node", "nodejs", "bun", "deno", "electron")  # programs whose further threads are one pool
LOOKS_AT_FILE = {
    **dict.fromkeys((0, 17, 19, 295, 327), ("read", 0)), 217: ("list", 0), 3: ("close", 0),
    **dict.fromkeys((72, 73), ("lock", 0)),
}  # fmt: skip
LOOKS_AT_NAME: dict[int, tuple[str, int | None, int]] = {
    **dict.fromkeys((4, 6, 21, 89), ("look", None, 0)), **dict.fromkeys((262, 267, 269, 332, 439), ("look", 0, 1)),
}  # fmt: skip
LOCKS = (6, 7, 37, 38)  # of all that fcntl does
SHORT_WORDS = {"mknod": "mkdir", "chmod": "set", "attribute": "set", "utimens": "set"}


class OrderedWriter(Writer):
    """The writer, whose file operations go in one order: reads and looks too, and lines on standard output.

    In ``order`` p0 is the first process and p0.t1 its second thread; p0*w2:ROLE WORD is what any thread of a pool does
    to the file of this role that was the second to be opened for writing.
    """

    on_file, on_name, reads = {**ON_FILE, **LOOKS_AT_FILE}, {**ON_NAME, **LOOKS_AT_NAME}, True
    advice = (
        "to test a fix, run it with --undisturbed some times, or search again: "
        "tornwrite probe --schedules systematic"
    )

    def __init__(
        self, root: str, output: str, order: list[str], feed: Callable[[], bool] | None = None, **fault: Any
    ) -> None:
        super().__init__(root, **fault)
        self.order, self.output, self.feed = order, output, feed
        self.roles = {label.partition(":")[2].rpartition(" ")[0] for label in order if "*" in label}
        self.turn = 0
        self.held: dict[int, Operation] = {}
        self.opens: dict[tuple[int, str, str], int] = {}  # by process, mode and role: how many were opened
        self.opened: dict[
            tuple[int, int], tuple[str, int, str]
        ] = {}  # by process and descriptor: which of them it is
        self.moved = time.monotonic()
        self.missing = ""

    def operation(self, thread: Thread, call: int, arguments: tuple[int, ...]) -> Operation | None:
        """Return what a call is about to do; lines on standard output and the end of a process count too."""
        if call == 231:
            return Operation("exit", "", call, arguments)
        word = self.on_file.get(call, ("", 0))[0]
        descriptor = f"/proc/{thread.tid}/fd/{arguments[0] & 0xFFFFFFFF}"
        if word == "write" and link(descriptor) == self.output:
            return Operation("say", "", call, arguments)
        of_no_lock = call == 72 and arguments[1] & 0xFFFFFFFF not in LOCKS
        if of_no_lock or (word == "close" and not is_for_writing(descriptor)):
            return None
        return super().operation(thread, call, arguments)

    def before(self, thread: Thread, operation: Operation) -> None:
        """Hold the thread: it goes when its turn has come."""
        self.held[thread.tid] = operation

    def wait(self) -> tuple[int, int]:
        """Return who stopped or ended; whenever all others sleep, let the next one go."""
        while not self.dying:
            tid, status = os.waitpid(-1, ANY_THREAD | os.WNOHANG)
            if tid:
                self.moved = time.monotonic()
                return tid, status
            if not self.all_others_sleep() or (self.feed is not None and self.feed()) or self.let_next_go():
                self.moved = time.monotonic()  # somebody is on the way: a slow machine is no reason to give up
            elif time.monotonic() - self.moved > PATIENCE_S:
                self.stopped_it = True
                self.missing = self.order[self.turn] if self.turn < len(self.order) else "the end of the writer"
                self.kill()
            time.sleep(0.0005)
        return super().wait()

    def ended(self, tid: int, status: int) -> None:
        """A thread is no more."""
        self.held.pop(tid, None)
        super().ended(tid, status)

    def let_next_go(self) -> bool:
        """Let the one go whose turn it is, if it has come; behind the last turn, whoever is there."""
        for tid, operation in self.held.items():
            thread = self.threads[tid]
            if self.turn >= len(self.order) or self.label(thread, operation) == self.order[self.turn]:
                del self.held[tid]
                self.turn += 1
                self.let_go(thread, operation)
                if self.turn == len(self.order) and self.strike is None:
                    self.struck = f"{self.turn} file operations went in the recorded order"
                return True
        return False

    def let_go(self, thread: Thread, operation: Operation) -> None:
        """Let an operation run; one that may wait for a lock, or ends somebody, is let begin and no more."""
        self.note(thread, operation)
        if operation.word in ("lock", "exit"):
            ptrace(GO_ON, thread.tid)
            return
        returned = self.do(thread, operation)
        if operation.word == "open" and returned is not None and returned >= 0:
            place = (thread.process, mode_of(operation), self.role(operation.path))
            self.opens[place] = self.opens.get(place, 0) + 1
            self.opened[thread.process, returned] = (place[1], self.opens[place], operation.path)

    def label(self, thread: Thread, operation: Operation) -> str:
        """Return how the order names who stands before an operation."""
        if not thread.number:
            return f"p{thread.process}"
        if os.path.basename(link(f"/proc/{thread.pid}/exe")) not in POOLED:
            return f"p{thread.process}.t{thread.number}"
        mode, number, path = mode_of(operation), 0, operation.path
        if operation.word == "open":
            number = self.opens.get((thread.process, mode, self.role(path)), 0) + 1
        elif operation.call in self.on_file:
            fd = operation.arguments[self.on_file[operation.call][1]] & 0xFFFFFFFF
            mode, number, path = self.opened.get((thread.process, fd), (mode, 0, path))
        word = SHORT_WORDS.get(operation.word, operation.word)
        return f"p{thread.process}*{mode}{number}:{self.role(path)} {word}"

    def role(self, path: str) -> str:
        """Return what the order calls a file."""
        return next((role for role in self.roles if is_like(role, path)), path)

    def all_others_sleep(self) -> bool:
        """Whether every thread that is not held sleeps, all at one moment: nobody has run between two looks at each."""
        others = [thread for tid, thread in self.threads.items() if tid not in self.held]
        looks = [[self.sleep_of(thread) for thread in others] for _ in range(2)]
        return all(looks[0]) and looks[0] == looks[1] and not self.newborn

    def sleep_of(self, thread: Thread) -> str:
        """Return which of its sleeps a thread is in, empty if none; a dead first one of a process counts as asleep."""
        try:
            with open(f"/proc/{thread.tid}/status", encoding="utf-8", errors="replace") as stream:
                facts = dict(line.partition(":")[::2] for line in stream)
        except OSError:
            return ""
        state = facts["State"].split()[0]
        left_behind = state == "Z" and any(each.pid == thread.tid != each.tid for each in self.threads.values())
        return f"sleep {facts.get('voluntary_ctxt_switches')}" if state in ("S", "I") or left_behind else ""

    def missed(self) -> str:
        """Return who did not come; empty where everybody did."""
        text = f"{self.missing!a} did not come within {PATIENCE_S:g} s" if self.missing else super().missed()
        if not text and not self.struck and self.turn < len(self.order):
            text = "the writer ended before the last turn"
        return f"{text}, after {self.turn} of {len(self.order)} operations" if text else ""


def mode_of(operation: Operation) -> str:
    """Return "r" for what only looks, "w" for what may change something."""
    if operation.word == "open":
        return "w" if may_write(operation.flags) else "r"
    return "r" if operation.word in ("read", "list", "look") else "w"


def is_for_writing(descriptor: str) -> bool:
    """Whether a descriptor was opened for writing: the closing of others is nothing that is held."""
    try:
        with open(descriptor.replace("/fd/", "/fdinfo/"), encoding="ascii") as stream:
            return bool(int(stream.read().split()[3], 8) & (os.O_WRONLY | os.O_RDWR))
    except (OSError, IndexError, ValueError):
        return False
