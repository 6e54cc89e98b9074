"""Runs calls on worker processes, in parallel, and yields their outcomes in order of completion.

Each worker serves at the same absolute path (``canonical_base``): its own directory, mounted there privately where
the system allows it; else calls that need the directory run one at a time. A call that outlives its deadline, or
whose worker dies, is an outcome like any other. However the main process ends, what it started is gone within a
second (Linux; elsewhere as far as psutil sees).

Enter the context before starting threads. What main itself writes below ``canonical_base`` is not visible to
workers that have a private mount.

Non-goals: retries, ordering, other machines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, NamedTuple, Self

from harness.campaign.seat import REPLACED, Answered, Died, Seat
from harness.campaign.spawned import SpawnedSeat
from harness.campaign.supervisor import SupervisedSeat
from harness.campaign.worker import Answer, Request
from harness.sandbox import processes
from harness.sandbox.namespace import private_mounts_available
from harness.sandbox.portable import CallFailedError, dumps, loads
from harness.sandbox.workspace import Workspace, remove_workspace

DEFAULT_TIMEOUT_S = 300.0
MAX_DEATHS_IN_A_ROW = 8
"""Workers that die this often without one answer in between mean that no call can ever succeed."""

_CLOSE_DEADLINE_S = 10.0
_TICK_S = 1.0


class ExecutorError(Exception):
    """The executor cannot go on: workers do not start, or die one after the other."""


class WorkerDiedError(Exception):
    """The worker died during the call; the message says how. What it had started is gone."""


class CallTimeoutError(Exception):
    """The call did not end within its deadline. It was ended, and so was what it had started."""


class Call(NamedTuple):
    """One call: ``function(*args)`` in a worker, with ``key`` to know its outcome by.

    ``timeout_s`` is the wall time after which it is ended. ``needs_workspace`` is false for calls that touch no
    directory: those run in parallel even where workers must take turns.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    key: Any = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    needs_workspace: bool = True


class Outcome(NamedTuple):
    """How a call ended: its value, or the error it raised (with the worker's traceback as a note)."""

    key: Any
    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class _Flight(NamedTuple):
    """A call that a seat is busy with."""

    call: Call
    number: int
    deadline: float


class Executor:
    """``jobs`` workers, started on entering the context and gone, with all they started, on leaving it."""

    def __init__(self, jobs: int, canonical_base: str) -> None:
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, not {jobs}")
        self.jobs = jobs
        self.canonical_base = os.path.realpath(canonical_base)
        self.shared_reason = ""
        """Why workers take turns at the directory; empty when they do not."""
        self._seats: list[Seat] = []
        self._bases: list[str] = []
        self._flights: dict[int, _Flight] = {}
        self._numbers = 0
        self._deaths = 0
        self._was_subreaper = True

    def __enter__(self) -> Self:
        Workspace(self.canonical_base)
        private = False
        if self.jobs > 1:
            self.shared_reason = private_mounts_available(self.canonical_base)
            private = not self.shared_reason
        if sys.platform == "linux":
            self._was_subreaper = processes.is_subreaper()
            processes.become_subreaper()
        spare = processes.children(os.getpid())
        try:
            with processes.deferring_interrupts():
                for index in range(self.jobs):
                    base = self.canonical_base
                    if private:
                        base = f"{self.canonical_base}.worker{index}"
                        self._bases.append(base)
                        Workspace(base)
                    self._seats.append(_open_seat(base, self.canonical_base, spare))
        except BaseException:
            self._shut_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _shielded_from_interrupts():
            self._shut_down()

    def _shut_down(self) -> None:
        for seat in self._seats:
            seat.close()
        for seat in self._seats:
            seat.join(_CLOSE_DEADLINE_S)
        self._seats.clear()
        self._flights.clear()
        for base in self._bases:
            with contextlib.suppress(Exception):  # an immutable file of a target is not worth losing results
                remove_workspace(base)
        self._bases.clear()
        if not self._was_subreaper:
            processes.become_subreaper(False)

    def run(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        """Yield the outcome of each call, in order of completion. ``calls`` is drawn from as workers get free.

        Leaving the iteration early ends the calls under way. Raises :class:`ExecutorError` when workers die
        again and again.
        """
        source = iter(calls)
        self._deaths = 0
        waiting: list[Call] = []
        exhausted = False
        try:
            while True:
                exhausted = self._dispatch(source, waiting, exhausted)
                if exhausted and not waiting and not self._flights:
                    return
                yield from self._wait()
        finally:
            self._abandon()

    def _dispatch(self, source: Iterator[Call], waiting: list[Call], exhausted: bool) -> bool:
        """Give free seats something to do; return whether ``source`` has run dry."""
        for index, seat in enumerate(self._seats):
            if index in self._flights or not seat.is_ready():
                continue
            call = self._next_fitting(waiting)
            while call is None and not exhausted and len(waiting) < self.jobs:
                drawn = next(source, None)
                if drawn is None:
                    exhausted = True
                elif self._fits(drawn):
                    call = drawn
                else:
                    waiting.append(drawn)
            if call is not None:
                self._start(index, call)
        return exhausted

    def _fits(self, call: Call) -> bool:
        if not self.shared_reason or not call.needs_workspace:
            return True
        return not any(flight.call.needs_workspace for flight in self._flights.values())

    def _next_fitting(self, waiting: list[Call]) -> Call | None:
        for position, call in enumerate(waiting):
            if self._fits(call):
                return waiting.pop(position)
        return None

    def _start(self, index: int, call: Call) -> None:
        self._numbers += 1
        payload = dumps(tuple(Request(self._numbers, call.function, call.args)))
        self._flights[index] = _Flight(call, self._numbers, time.monotonic() + call.timeout_s)
        self._seats[index].send(payload)

    def _wait(self) -> Iterator[Outcome]:
        """Wait for something to happen and yield the outcomes it means."""
        now = time.monotonic()
        nearest = min((flight.deadline for flight in self._flights.values()), default=now + _TICK_S)
        wait([item for seat in self._seats for item in seat.waitables()], max(0.0, min(nearest - now, _TICK_S)))
        for index, seat in enumerate(self._seats):
            for event in seat.collect():
                yield from self._handle(index, event)
            flight = self._flights.get(index)
            if flight is not None and time.monotonic() > flight.deadline:
                del self._flights[index]
                seat.replace()
                error = CallTimeoutError(f"the call did not end within {flight.call.timeout_s:g} s")
                yield Outcome(flight.call.key, None, error)

    def _handle(self, index: int, event: Answered | Died) -> Iterator[Outcome]:
        flight = self._flights.get(index)
        if isinstance(event, Died):
            if event.detail != REPLACED:
                self._deaths += 1
            if flight is not None:
                del self._flights[index]
                error = WorkerDiedError(f"the worker died during the call: {event.detail}")
                yield Outcome(flight.call.key, None, error)
            if self._deaths >= MAX_DEATHS_IN_A_ROW:
                raise ExecutorError(f"{self._deaths} workers died one after the other; the last: {event.detail}")
            return
        try:
            answer: Answer = loads(event.payload)
        except Exception as failure:  # what a value's class does when it is rebuilt is anybody's guess
            number = -1 if flight is None else flight.number
            answer = Answer(number, None, CallFailedError(f"the value of the call cannot be rebuilt: {failure}"))
        if answer.number < 0:
            raise ExecutorError(f"a worker cannot start: {answer.error}")
        self._deaths = 0
        if flight is not None and answer.number == flight.number:
            del self._flights[index]
            yield Outcome(flight.call.key, answer.value, answer.error)

    def _abandon(self) -> None:
        for index in list(self._flights):
            del self._flights[index]
            if index < len(self._seats):
                self._seats[index].replace()


@contextlib.contextmanager
def _shielded_from_interrupts() -> Iterator[None]:
    """Let a second Ctrl+C not interrupt the clean-up that the first one started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _open_seat(base: str, canonical: str, spare: frozenset[int]) -> Seat:
    if sys.platform == "linux":
        return SupervisedSeat(base, canonical, spare)
    return SpawnedSeat(canonical)
