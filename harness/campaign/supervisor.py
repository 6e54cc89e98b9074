"""A worker under a supervisor (Linux): main → supervisor → worker → target.

The supervisor inherits every orphan below it and holds one end of a socket whose other end only the main process
has. When that closes (main ended, even by SIGKILL) it kills everything below it and ends. When the worker dies or
is to be replaced, it kills what is left of it, says so, and starts another from its own clean state: it was
forked before main had threads. Each worker's connection is passed to main over that socket.

Messages: main sends ``R`` and a number (replace the n-th worker, if it is still the one); the supervisor sends
``W`` with a descriptor (a worker is there) and ``D`` with a text (it is gone, and so is everything it started).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import time
from types import FrameType
from typing import NoReturn

import multiprocess
from multiprocess.connection import Connection, Pipe

from harness.campaign.seat import REPLACED, Answered, Died
from harness.campaign.worker import serve_and_exit
from harness.sandbox import processes

_PATIENCE_S = 10.0
"""How long a supervisor may take to answer a request before it is replaced too."""

_GLANCE_MS = 500
_POLL_MS = 20

_MAIN_ONLY: set[int] = set()
"""Descriptors of the main process that no fork of it may keep: a copy would hide main's death."""


class _StopError(BaseException):
    """SIGTERM arrived."""


def _on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _StopError


def _close_all(descriptors: set[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _start_worker(control: socket.socket, base: str, canonical: str) -> int:
    """Fork a worker, pass its connection to main, and return its process id."""
    ours, theirs = Pipe()
    me = os.getpid()
    with processes.deferring_interrupts():
        pid = os.fork()
    if pid == 0:
        processes.die_with_parent(me)
        control.close()
        theirs.close()
        serve_and_exit(ours, base, canonical)
    ours.close()
    with contextlib.suppress(OSError):  # main is gone: the next poll says so
        socket.send_fds(control, [b"W"], [theirs.fileno()])
    theirs.close()
    return pid


def _watch(control: socket.socket, worker: int, generation: int, main: int) -> bool:
    """Wait until the worker is dead or shall be replaced (true), or main is gone (false).

    The closed socket tells at once that main is gone; a look at the parent's id, twice a second, tells it even if
    a copy of main's end has got into some process.
    """
    request = b"R%d" % generation
    try:
        pidfd = os.pidfd_open(worker)
    except OSError:
        pidfd = -1
    poll = select.poll()
    poll.register(control, select.POLLIN)
    if pidfd >= 0:
        poll.register(pidfd, select.POLLIN)
    try:
        while True:
            if os.getppid() != main:
                return False
            for descriptor, _ in poll.poll(_GLANCE_MS if pidfd >= 0 else _POLL_MS):
                if descriptor != control.fileno():
                    return True
                message = control.recv(32)
                # A request may cross the news that its worker died: the next one is not meant.
                if not message or message == request:
                    return bool(message)
            if pidfd < 0 and os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return True
    except OSError:
        return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _end_worker(worker: int) -> str:
    """Kill the worker and everything below this process; return how the worker ended, in words."""
    # A result other than "still running" means that it ended by itself.
    pid, status = os.waitpid(worker, os.WNOHANG)
    processes.kill_descendants()
    if pid == 0:
        return REPLACED
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"killed by signal {-code}"
    return f"exited with status {code}"


def _kill_everything() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        with contextlib.suppress(processes.ProcessesSurvivedError):
            processes.kill_descendants()
            return


def _supervise(control: socket.socket, main: int, main_only: set[int], base: str, canonical: str) -> None:
    """Be the supervisor of one seat until main is gone or SIGTERM arrives."""
    try:
        _close_all(main_only)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _on_sigterm)
        os.setsid()  # the terminal's Ctrl+C is main's alone
        processes.become_subreaper()
        for generation in itertools.count(1):
            worker = _start_worker(control, base, canonical)
            if not _watch(control, worker, generation, main):
                break
            control.send(b"D" + _end_worker(worker).encode())
    except (_StopError, OSError):
        pass
    finally:
        try:
            _kill_everything()
        finally:
            os._exit(0)


class SupervisedSeat:
    """The main process' end of one supervisor. Implements :class:`~harness.campaign.seat.Seat`."""

    def __init__(self, base: str, canonical: str, spare: frozenset[int] = frozenset()) -> None:
        """``spare`` are children of this process that have nothing to do with workers."""
        self._spare = spare
        self._base = base
        self._canonical = canonical
        self._connection: Connection | None = None
        self._asked_at: float | None = None
        self._start()

    def _start(self) -> None:
        self._generation = 0
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        _MAIN_ONLY.add(self._control.fileno())
        context = multiprocess.get_context("fork")
        self._process = context.Process(
            target=_supervise,
            args=(theirs, os.getpid(), set(_MAIN_ONLY), self._base, self._canonical),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    @property
    def supervisor_pid(self) -> int:
        """The process id of the supervisor."""
        return int(self._process.pid)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            _MAIN_ONLY.discard(self._connection.fileno())
            self._connection.close()
            self._connection = None

    def _drop_control(self) -> None:
        if self._control.fileno() >= 0:
            _MAIN_ONLY.discard(self._control.fileno())
            self._control.close()

    def waitables(self) -> list[int]:
        """Return the descriptors that become readable when :meth:`collect` has something to do."""
        connection = [] if self._connection is None else [self._connection.fileno()]
        return [self._control.fileno(), *connection]

    def _answers(self) -> list[Answered | Died]:
        answers: list[Answered | Died] = []
        try:
            while self._connection is not None and self._connection.poll():
                answers.append(Answered(self._connection.recv_bytes()))
        except (EOFError, OSError):
            self._drop_connection()
        return answers

    def collect(self) -> list[Answered | Died]:
        """Return what happened since the last call, in order."""
        events = self._answers()  # first: an answer sent before a death counts
        if self._asked_at is not None and time.monotonic() - self._asked_at > _PATIENCE_S:
            self._process.kill()
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._control, 256, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return events
            except OSError:
                message, descriptors = b"", []
            if message == b"W" and descriptors:
                self._drop_connection()
                self._generation += 1
                self._connection = Connection(descriptors[0])
                _MAIN_ONLY.add(descriptors[0])
            elif message[:1] == b"D":
                events += [*self._answers(), Died(message[1:].decode())]
                self._asked_at = None
                self._drop_connection()
            elif not message:
                events += [*self._answers(), Died("its supervisor died")]
                self._restart()
                return events

    def is_ready(self) -> bool:
        """Return whether a worker is there to be sent a call."""
        return self._connection is not None and self._asked_at is None

    def send(self, payload: bytes) -> None:
        """Send a packed call; a worker that dies meanwhile shows up in :meth:`collect`."""
        assert self._connection is not None
        with contextlib.suppress(OSError):
            self._connection.send_bytes(payload)

    def replace(self) -> None:
        """End the worker and all it started, whatever it is doing; another takes its place."""
        self._drop_connection()
        self._asked_at = time.monotonic()
        with contextlib.suppress(OSError):
            self._control.send(b"R%d" % self._generation)

    def _restart(self) -> None:
        """The supervisor itself was killed: what it had fell to this process, which is a subreaper too."""
        self._drop_connection()
        self._drop_control()
        self._asked_at = None
        self._process.join(_PATIENCE_S)
        _sweep_orphans(self._spare)
        with processes.deferring_interrupts():
            self._start()

    def close(self) -> None:
        """Ask the supervisor to end everything, without waiting."""
        self._drop_connection()
        self._drop_control()

    def join(self, deadline_s: float) -> None:
        """Wait until everything below the supervisor is gone; by force when the deadline passes."""
        self._process.join(deadline_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_PATIENCE_S)
            _sweep_orphans(self._spare)


def _sweep_orphans(spare: frozenset[int]) -> None:
    """Kill what a dead supervisor left to this process; other children of this process are spared."""
    keep = spare | frozenset(child.pid for child in multiprocess.active_children())
    processes.kill_descendants(keep=keep)
