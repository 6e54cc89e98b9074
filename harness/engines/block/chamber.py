"""A place for dangerous work: a child process in mounts of its own, of which nothing is left, whatever happens.

::

    caller ── socket ── keeper ──┬── helper (the disk's server)
       └───── pipe ◄─────────────┴── worker (mounts, traces, reads, sends values)

The keeper inherits every orphan below it. It kills all of them when the worker has ended or when the caller has
closed its socket or died, by whatever. If the keeper itself is killed, helper and worker die with it (a parent's
death signal), what the worker traces dies with the worker (EXITKILL), and the kernel drops mounts, loop devices
and disks with the last of these processes, for nothing of them has a name outside. The helper is not in the private
mounts: a disk's server that was the last one there would wait, in its own end, for answers of its own, for ever.

Linux. Non-goals: limits of time (the worker has its own).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from harness.engines.base import EngineError
from harness.engines.block.system import enter_private_mounts
from harness.sandbox import processes

_LENGTH = struct.Struct("<Q")
_GLANCE_MS = 500
_VALUE, _ERROR = b"v", b"e"

Send = Callable[[object], None]


def chamber(
    work: Callable[[Send], None],
    helper: Callable[[], None] | None = None,
    *,
    between: tuple[socket.socket, ...] = (),
    mounts: bool = True,
) -> Iterator[Any]:
    """Run ``work(send)`` in a chamber and yield what it sends; raise what it raises.

    ``helper`` runs beside it from before its start, and is killed at its end. Closing the iterator ends everything.
    ``between`` are sockets by which the two talk; they are closed here, so each of the two sees the other's end.
    Without ``mounts`` of its own it needs no privilege.
    Raises :class:`EngineError` when the worker dies without a word. Values travel pickled.
    """
    reading, writing = os.pipe()
    control, theirs = socket.socketpair()
    main = os.getpid()
    with processes.deferring_interrupts():
        keeper = os.fork()
        if keeper == 0:
            os.close(reading)
            control.close()
            _keep(theirs, main, writing, work, helper, between, mounts)
    os.close(writing)
    for end in (theirs, *between):
        end.close()
    try:
        with os.fdopen(reading, "rb") as stream:
            yield from _received(stream.read)
    finally:
        control.close()
        _wait_for(keeper)


def _received(read: Callable[[int], bytes]) -> Iterator[Any]:
    while len(head := read(1)) == 1:
        raw = read(_LENGTH.size)
        size = _LENGTH.unpack(raw)[0] if len(raw) == _LENGTH.size else 0
        body = read(size)
        if len(body) < size or not size:
            break
        value = pickle.loads(body)
        if head == _ERROR:
            if value is None:
                return
            raise value
        yield value
    raise EngineError("the process that works with the disk was killed")


def _wait_for(keeper: int) -> None:
    with contextlib.suppress(ChildProcessError):  # a caller that reaps every child has seen it end
        os.waitpid(keeper, 0)


def _keep(
    control: socket.socket,
    main: int,
    writing: int,
    work: Callable[[Send], None],
    helper: Callable[[], None] | None,
    between: tuple[socket.socket, ...],
    mounts: bool,
) -> NoReturn:
    """Be the keeper."""
    try:
        os.setsid()  # the terminal's Ctrl+C is the caller's alone
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        processes.load_libc()
        processes.become_subreaper()
        if helper is not None:
            # Outside of the private mounts: who is killed last there unmounts, and waits for the disk's server.
            _fork(control, lambda: _help(writing, helper))
        try:
            if mounts:
                enter_private_mounts()
        except OSError as error:
            _send(writing, _ERROR, EngineError(f"no mounts of its own: {error.filename}: {error.strerror}"))
            os._exit(0)
        worker = _fork(control, lambda: _work(writing, work))
        os.close(writing)
        for end in between:
            end.close()
        _watch(control, main, worker)
    finally:
        try:
            _kill_everything()
        finally:
            os._exit(0)


def _fork(control: socket.socket, body: Callable[[], object]) -> int:
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        processes.die_with_parent(keeper)
        control.close()
        body()
    finally:
        os._exit(0)


def _help(writing: int, helper: Callable[[], None]) -> None:
    os.close(writing)
    helper()


def _work(writing: int, work: Callable[[Send], None]) -> None:
    try:
        work(lambda value: _send(writing, _VALUE, value))
    except BaseException as error:
        _send(writing, _ERROR, _portable(error))
    else:
        _send(writing, _ERROR, None)


def _portable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an error's own constructor raises
        return EngineError(f"{type(error).__name__}: {error}")
    return error


def _send(writing: int, head: bytes, value: object) -> None:
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    rest = memoryview(head + _LENGTH.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(writing, rest) :]


def _watch(control: socket.socket, main: int, worker: int) -> None:
    """Wait until the worker is dead or the caller is gone.

    The parent's id tells the latter even if a copy of its socket lives on in some process.
    """
    poll = select.poll()
    poll.register(control, select.POLLIN)
    pidfd = os.pidfd_open(worker)
    poll.register(pidfd, select.POLLIN)
    while os.getppid() == main:
        if poll.poll(_GLANCE_MS):
            return


def _kill_everything() -> None:
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        with contextlib.suppress(processes.ProcessesSurvivedError):
            processes.kill_descendants()
            return
