"""Drives sessions of a program that holds conversations without a terminal, one or several at once, and says what
came of each.

It is started as it is, with no tracer: what is said to it, and which signals it gets, is a list of deeds, each at a
moment that is counted: requests that its API has seen, lines that it printed, records in the files it writes. The
exact moment of a file operation is for the ptrace engine, which runs the same command with nothing on standard input.

A moment is looked for every millisecond, and deeds come in the order of the list. Non-goals: what the lines mean; the
API itself (:mod:`harness.services`); a terminal.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import msgspec

from harness.core.run import Ending, RunSpec
from harness.core.tree import EMPTY_TREE, Tree
from harness.engines.base import TargetNotStartedError
from harness.engines.timed import cpu_of_children_ms
from harness.sandbox.child import STDOUT, Child, ChildNotStartedError
from harness.sandbox.limits import child_setup
from harness.sandbox.processes import Custody, custody
from harness.sandbox.snapshot import StateTooLargeError, read_tree
from harness.sandbox.watch import LimitWatch
from harness.sandbox.workspace import prepare

TAIL_BYTES = 1 << 16
_LOOK_S = 1e-3
_PAUSE_S = 0.05
_READ_BYTES = 1 << 16

Counts = Mapping[str, Callable[[], int]]


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When something is done: once there are ``count`` of what is ``counted``, and ``delay_us`` later.

    ``start``: the program runs; ``requests``: as the caller of :func:`run_session` counts them; ``lines``: lines on
    its standard output in which ``pattern`` is found; ``records``: newlines in the files that match ``pattern``, a glob
    below the state directory, over what they had at the start. The delay counts from when the moment was seen.
    """

    counted: str = "start"
    count: int = 1
    pattern: str = ""
    delay_us: int = 0


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What is done at a moment: ``say`` goes to standard input, which then ends if ``close``; ``signal`` is sent.

    ``victim``: the program alone, or the whole of what it started (of SIGKILL; of others its process group).
    """

    at: Moment = Moment()
    say: bytes = b""
    close: bool = False
    signal: str = ""
    victim: Literal["program", "tree"] = "program"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A deed that was done: which of the list, and when, from the start of the program."""

    index: int
    at_us: int


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session as it went.

    ``lines`` are those of standard output with their times from the start; an unfinished last one is among them.
    ``final`` is the state directory after the death of the last process. ``survivors``: processes that outlived the
    program. ``ending_detail`` explains timeouts and limits. ``signal`` is what it died of, as its parent was told.
    """

    ending: Ending
    final: Tree
    exit_code: int | None = None
    signal: int | None = None
    lines: tuple[tuple[int, bytes], ...] = ()
    stderr_tail: bytes = b""
    done: tuple[Done, ...] = ()
    survivors: int = 0
    ending_detail: str = ""
    wall_ms: float = 0.0
    cpu_ms: float = 0.0


def run_session(
    spec: RunSpec, deeds: Sequence[Deed] = (), *, counts: Counts = MappingProxyType({}), linger_ms: int = 0
) -> Session:
    """Run ``spec`` once, as :func:`run_sessions` does."""
    (session,) = run_sessions([(spec, deeds)], counts=counts, linger_ms=linger_ms)
    return session


def run_sessions(
    sessions: Sequence[tuple[RunSpec, Sequence[Deed]]],
    *,
    counts: Counts = MappingProxyType({}),
    linger_ms: int = 0,
) -> tuple[Session, ...]:
    """Run all specs at once, on one state, and return how each went; on return all they started is dead.

    To each is done what its deeds say. ``counts`` says how many of something there are, by its name. Without a deed
    that says something, standard input is empty. What a program started may run on for ``linger_ms`` after the last
    end. A run ends by itself, by a deed or after ``spec.limits.timeout_s``. Raises :class:`TargetNotStartedError`,
    and :class:`WorkspaceError` for a run that is to be in a cell and is not.
    """
    prepare(sessions[0][0])
    before = cpu_of_children_ms()
    runs: list[_Run] = []
    with custody() as held:
        try:
            runs += (_Run(spec, deeds, counts) for spec, deeds in sessions)
            while busy := [run for run in runs if run.is_under_way]:
                for run in busy:
                    run.go_on(len(busy))
            _linger(runs, held, linger_ms)
        finally:
            for run in runs:
                run.end()
            survivors = held.sweep()
            for run in runs:
                run.child.close()
                run.close_stdin()
    final, detail = _final(sessions[0][0])
    cpu_ms = (cpu_of_children_ms() - before) / len(runs)
    return tuple(run.told(final, detail, survivors, cpu_ms) for run in runs)


def _linger(runs: Sequence[_Run], held: Custody, milliseconds: int) -> None:
    """Let what the programs started run on for a while after their end."""
    end = time.monotonic() + milliseconds / 1e3
    stopped = any(run.stopped for run in runs)
    while not stopped and (left := end - time.monotonic()) > 0 and len(held.living()):
        runs[0].child.wait(min(left, 0.01))


def _final(spec: RunSpec) -> tuple[Tree, str]:
    try:
        return read_tree(spec.root, spec.limits.state_bytes).tree, ""
    except StateTooLargeError as error:
        return EMPTY_TREE, str(error)


class _Run:
    """One run under way."""

    def __init__(self, spec: RunSpec, deeds: Sequence[Deed], counts: Counts) -> None:
        self.spec = spec
        self.deeds = list(deeds)
        self.counts = counts
        self.lines: list[tuple[int, bytes]] = []
        self.rest = bytearray()
        self.last_us = 0
        self.stderr_tail = b""
        self.done: list[Done] = []
        self.stopped = ""
        self.timed_out = False
        self._status = 0
        self._wall_ms = 0.0
        self._bytes = 0
        self._seen_at: float | None = None
        self._had = {
            deed.at.pattern: self._newlines(deed.at.pattern) for deed in deeds if deed.at.counted == "records"
        }
        speaks = any(deed.say or deed.close for deed in deeds)
        reading, self._stdin = os.pipe() if speaks else (subprocess.DEVNULL, -1)
        self._pending = bytearray()
        self._ends = False
        try:
            self.child = Child(
                spec.argv,
                cwd=spec.cwd,
                environment=spec.environment,
                setup=child_setup(processes=spec.limits.processes),
                on_output=self._on_output,
                stdin=reading,
            )
        except ChildNotStartedError as error:
            self.close_stdin()
            raise TargetNotStartedError(str(error)) from error
        finally:
            if speaks:
                os.close(reading)
        if speaks:
            os.set_blocking(self._stdin, False)
        self._deadline = self.child.started_ns / 1e9 + spec.limits.timeout_s
        self._watch = LimitWatch(spec.limits, spec.root, self.child.pid)

    def _now_us(self) -> int:
        return (time.monotonic_ns() - self.child.started_ns) // 1000

    def _on_output(self, stream: int, data: bytes) -> None:
        if stream != STDOUT:
            self.stderr_tail = (self.stderr_tail + data)[-TAIL_BYTES:]
            return
        self.last_us = self._now_us()
        self._bytes += len(data)
        if self._bytes > self.spec.limits.output_bytes:
            return  # the next look ends the run
        *whole, rest = (bytes(self.rest) + data).split(b"\n")
        self.lines += [(self.last_us, line) for line in whole]
        self.rest = bytearray(rest)

    @property
    def is_under_way(self) -> bool:
        """Whether it has not ended and is not to be ended."""
        return not self.child.exited and not self.stopped

    def go_on(self, among: int) -> None:
        """Do what is due and wait a moment, which ``among`` runs share."""
        self._do_what_is_due()
        self._speak()
        self._look()
        busy = among > 1 or bool(self.deeds[len(self.done) :] or self._pending)
        self.child.wait(_LOOK_S if busy else max(0.0, min(_PAUSE_S, self._deadline - time.monotonic())))
        if self.child.exited and not self._wall_ms:
            self._wall_ms = self._now_us() / 1e3

    def end(self) -> None:
        """End it, and reap it."""
        self._status = self.child.end()
        self._wall_ms = self._wall_ms or self._now_us() / 1e3

    def told(self, final: Tree, detail: str, survivors: int, cpu_ms: float) -> Session:
        """Return how it went, after its end."""
        ending: Ending = "signalled" if self._status < 0 else "exited"
        if self.stopped or detail:
            ending = "timeout" if self.timed_out else "limit"
        return Session(
            ending=ending,
            final=final,
            exit_code=self._status if self._status >= 0 else None,
            signal=-self._status if self._status < 0 else None,
            lines=tuple(self.lines) + (((self.last_us, bytes(self.rest)),) if self.rest else ()),
            stderr_tail=self.stderr_tail,
            done=tuple(self.done),
            survivors=survivors,
            ending_detail=self.stopped or detail,
            wall_ms=self._wall_ms,
            cpu_ms=cpu_ms,
        )

    def _do_what_is_due(self) -> None:
        while len(self.done) < len(self.deeds):
            deed = self.deeds[len(self.done)]
            if self._seen_at is None:
                if self._count(deed.at) < deed.at.count:
                    return
                self._seen_at = time.monotonic()
            if time.monotonic() < self._seen_at + deed.at.delay_us / 1e6:
                return
            self._seen_at = None
            self.done.append(Done(index=len(self.done), at_us=self._now_us()))
            self._do(deed)

    def _do(self, deed: Deed) -> None:
        self._pending += deed.say
        self._ends |= deed.close
        self._speak()
        if deed.signal:
            number = int(getattr(signal, deed.signal))
            whole = deed.victim == "tree"
            self.child.signal(number, group=whole)

    def _count(self, moment: Moment) -> int:
        if moment.counted == "start":
            return moment.count
        if moment.counted == "records":
            return self._newlines(moment.pattern) - self._had[moment.pattern]
        if moment.counted != "lines":
            return self.counts[moment.counted]()
        pattern = re.compile(moment.pattern.encode())
        return sum(bool(pattern.search(line)) for _, line in self.lines)

    def _newlines(self, pattern: str) -> int:
        total = 0
        for path in glob.iglob(
            os.path.join(glob.escape(self.spec.root), pattern), recursive=True, include_hidden=True
        ):
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                total += stream.read(self.spec.limits.state_bytes).count(b"\n")
        return total

    def _speak(self) -> None:
        """Write what the pipe takes of what is to be said; a program that reads no more hears no more."""
        try:
            while self._pending:
                del self._pending[: os.write(self._stdin, self._pending[:_READ_BYTES])]
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()
        if self._ends:
            self.close_stdin()

    def close_stdin(self) -> None:
        """End what the program reads."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def _look(self) -> None:
        limits = self.spec.limits
        if time.monotonic() >= self._deadline:
            self.timed_out = True
            self.stopped = f"did not end within {limits.timeout_s:g} s; killed"
        elif self._bytes > limits.output_bytes:
            self.stopped = f"more than {limits.output_bytes} bytes on standard output; killed"
        elif reason := self._watch.passed():
            self.stopped = f"{reason}; killed"
