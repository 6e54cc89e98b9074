"""Drives one session of a program that holds conversations without a terminal, and says what came of it.

It is started as it is, with no tracer: what is said to it, and which signals it gets, is a list of deeds, each at a
moment that is counted: lines that it printed, records in the files it writes, and whatever the caller can count, such
as requests that its API has seen. The
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


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When something is done: once there are ``count`` of what is ``counted``, and ``delay_us`` later.

    ``start``: the program runs; ``lines``: lines on its standard output in which ``pattern`` is found; ``records``:
    newlines in the files that match ``pattern``, a glob below the state directory; else the name of one of the caller's
    counters. Records and counters count from the program's start, the delay from when the moment was seen.
    """

    counted: str = "start"
    count: int = 1
    pattern: str = ""
    delay_us: int = 0


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What is done at a moment: ``say`` goes to standard input, which then ends if ``close``; ``signal`` is sent.

    ``victim``: the program alone, or the whole of what it started (of SIGKILL; of others its process group).
    ``meanwhile``: the counter of what is to go on while it is done, from its beginning to its end; of a deed that
    ``quits``, which may end that, at its beginning.
    """

    at: Moment = Moment()
    say: bytes = b""
    close: bool = False
    signal: str = ""
    victim: Literal["program", "tree"] = "program"
    meanwhile: str = ""
    quits: bool = False


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A deed that was done: which of the list, and when, from the start of the program.

    ``idle``: what was to go on meanwhile did not.
    """

    index: int
    at_us: int
    idle: bool = False


class SessionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One session that is to run, ``after_us`` later than the first; ``counters``: what a moment may be counted in."""

    spec: RunSpec
    deeds: tuple[Deed, ...] = ()
    counters: Mapping[str, Callable[[], int]] = {}
    after_us: int = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session as it went.

    ``lines`` are those of standard output with their times from the start; an unfinished last one is among them.
    ``final`` is the state directory after the death of the last process. ``survivors``: processes that outlived the
    program. ``ending_detail`` explains timeouts and limits. ``signal`` is what it died of, as its parent was told.
    Of sessions that run together ``final``, ``survivors`` and ``cpu_ms`` are those of all.
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
    spec: RunSpec,
    deeds: Sequence[Deed] = (),
    *,
    counters: Mapping[str, Callable[[], int]] = MappingProxyType({}),
    linger_ms: int = 0,
) -> Session:
    """Run ``spec`` once, do what ``deeds`` say, and return how it went: :func:`run_sessions` of one."""
    return run_sessions([SessionPlan(spec=spec, deeds=tuple(deeds), counters=counters)], linger_ms=linger_ms)[0]


def run_sessions(
    plans: Sequence[SessionPlan], *, linger_ms: int = 0, run_of: Callable[[SessionPlan], Run] | None = None
) -> tuple[Session, ...]:
    """Run sessions on one state directory at once, and return how each went; on return all they started is dead.

    Without a deed that says something, standard input is empty. What the programs started may run on for
    ``linger_ms`` after the end of the last. Each ends by itself, by a deed or after the ``timeout_s`` of its spec.
    ``run_of`` starts them otherwise (:mod:`harness.engines.terminal`).
    Raises :class:`TargetNotStartedError`, and :class:`WorkspaceError` for a run that is to be in a cell and is not.
    """
    spec = plans[0].spec
    if any((plan.spec.root, plan.spec.start) != (spec.root, spec.start) for plan in plans):
        raise ValueError("sessions that run together have one state directory, and one start of it")
    prepare(spec)
    before = cpu_of_children_ms()
    runs: list[Run] = []
    with custody() as held:
        try:
            _go(plans, runs, run_of or Run)
            _linger(held, runs, linger_ms)
        finally:
            for run in runs:
                run.end()
            survivors = held.sweep()
            for run in runs:
                run.close()
    final, detail = _final(spec)
    used = cpu_of_children_ms() - before
    return tuple(run.session(final, detail, survivors, used) for run in runs)


def _go(plans: Sequence[SessionPlan], runs: list[Run], run_of: Callable[[SessionPlan], Run]) -> None:
    """Start each at its time and run all to their ends."""
    began = time.monotonic()
    while len(runs) < len(plans) or any(run.lives for run in runs):
        due = [plan for plan in plans[len(runs) :] if time.monotonic() >= began + plan.after_us / 1e6]
        for plan in due[:1]:
            runs.append(run_of(plan))
        living = [run for run in runs if run.lives]
        alone = len(living) == 1 and len(runs) == len(plans)
        for run in living:
            run.step(_PAUSE_S if alone else _LOOK_S)
        if not living:
            time.sleep(_LOOK_S)


def _linger(held: Custody, runs: Sequence[Run], milliseconds: int) -> None:
    """Let what the programs started run on for a while after their ends."""
    end = time.monotonic() + milliseconds / 1e3
    while time.monotonic() < end and not any(run.stopped for run in runs) and held.living():
        for run in runs:
            run.child.wait(_LOOK_S)


def _final(spec: RunSpec) -> tuple[Tree, str]:
    try:
        return read_tree(spec.root, spec.limits.state_bytes).tree, ""
    except StateTooLargeError as error:
        return EMPTY_TREE, str(error)


class Run:
    """One run under way. ``counted``: what its moments can be counted in beside the counters of its plan; ``look_s``:
    how often it is looked whether one has come."""

    counted: tuple[str, ...] = ("start", "lines", "records")
    look_s = _LOOK_S

    def __init__(self, plan: SessionPlan) -> None:
        unknown = {deed.at.counted for deed in plan.deeds} - {*self.counted, *plan.counters}
        unknown |= {deed.meanwhile for deed in plan.deeds if deed.meanwhile} - plan.counters.keys()
        if unknown:
            names = ", ".join((*self.counted, *plan.counters))
            raise ValueError(f"nothing counts {sorted(unknown)[0]!r}; counted: {names}")
        self.spec = spec = plan.spec
        self.deeds = deeds = plan.deeds
        self._counters = plan.counters
        self.lines: list[tuple[int, bytes]] = []
        self.rest = bytearray()
        self.last_us = 0
        self.stderr_tail = b""
        self.done: list[Done] = []
        self.stopped = ""
        self.timed_out = False
        self._bytes = 0
        self._seen_at: float | None = None
        self._went_on: bool | None = None
        self._began_at = {name: count() for name, count in plan.counters.items()}
        self._had = {
            deed.at.pattern: self._newlines(deed.at.pattern) for deed in deeds if deed.at.counted == "records"
        }
        self._stdin = -1
        self._pending = bytearray()
        self._ends = False
        self.child = self._start()
        self._deadline = self.child.started_ns / 1e9 + spec.limits.timeout_s
        self._watch = LimitWatch(spec.limits, spec.root, self.child.pid)

    def _start(self) -> Child:
        """Start the program; raises :class:`TargetNotStartedError`."""
        spec = self.spec
        speaks = any(deed.say or deed.close for deed in self.deeds)
        reading, self._stdin = os.pipe() if speaks else (subprocess.DEVNULL, -1)
        try:
            child = Child(
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
        return child

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
    def lives(self) -> bool:
        """Whether it goes on."""
        return not self.child.exited and not self.stopped

    def step(self, pause_s: float) -> None:
        """Do what is due, and wait for something to happen, at most ``pause_s`` seconds."""
        self._do_what_is_due()
        self._speak()
        self._look()
        if len(self.done) < len(self.deeds) or self._pending:
            pause_s = min(pause_s, self.look_s)
        self.child.wait(max(0.0, min(pause_s, self._deadline - time.monotonic())))

    def _do_what_is_due(self) -> None:
        while len(self.done) < len(self.deeds):
            deed = self.deeds[len(self.done)]
            if self._seen_at is None:
                if self._count(deed.at) < deed.at.count:
                    return
                self._seen_at = time.monotonic()
            if time.monotonic() < self._seen_at + deed.at.delay_us / 1e6:
                return
            if self._went_on is None:
                self._went_on = self._goes_on(deed)
            if not self._do(deed):
                return
            idle = not (self._went_on and (deed.quits or self._goes_on(deed)))
            self.done.append(Done(index=len(self.done), at_us=self._now_us(), idle=idle))
            self._seen_at = self._went_on = None

    def _goes_on(self, deed: Deed) -> bool:
        return not deed.meanwhile or self._counters[deed.meanwhile]() > 0

    def _do(self, deed: Deed) -> bool:
        """Do a deed, or as much of it as can be done now; return whether that is all of it."""
        self._pending += deed.say
        self._ends |= deed.close
        self._speak()
        if deed.signal:
            number = int(getattr(signal, deed.signal))
            whole = deed.victim == "tree"
            self.child.signal(number, group=whole)
        return True

    def _count(self, moment: Moment) -> int:
        if moment.counted == "start":
            return moment.count
        if moment.counted in self._counters:
            return self._counters[moment.counted]() - self._began_at[moment.counted]
        if moment.counted == "records":
            return self._newlines(moment.pattern) - self._had[moment.pattern]
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

    def end(self) -> None:
        """End the program and what is left of its process group."""
        self._status = self.child.end()
        self._wall_ms = (time.monotonic_ns() - self.child.started_ns) / 1e6

    def close(self) -> None:
        """Take its last words, when everything it started is dead."""
        self.child.close()
        self.close_stdin()

    def session(self, final: Tree, detail: str, survivors: int, cpu_ms: float) -> Session:
        """Return how it went."""
        status = self._status
        ending: Ending = "signalled" if status < 0 else "exited"
        if self.stopped or detail:
            ending = "timeout" if self.timed_out else "limit"
        return Session(
            ending=ending,
            final=final,
            exit_code=status if status >= 0 else None,
            signal=-status if status < 0 else None,
            lines=tuple(self.lines) + (((self.last_us, bytes(self.rest)),) if self.rest else ()),
            stderr_tail=self.stderr_tail,
            done=tuple(self.done),
            survivors=survivors,
            ending_detail=self.stopped or detail,
            wall_ms=self._wall_ms,
            cpu_ms=cpu_ms,
        )
