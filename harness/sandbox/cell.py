"""A cell: a function runs where it reaches nothing but its own directories, and nothing of it is left.

::

    caller ── fork ── keeper (enters isolation) ── first process (reaps) ── the function, and all that it starts
       └──── pipes ◄────┴──────────────────────────────────────────────────────┘

Inside there is a network with nothing but loopback, private places for temporary files, a read-only rest, and an own
count of process ids with the ``/proc`` that belongs to it: the function, its engines and the targets see the same
ids, and nobody outside (:mod:`harness.sandbox.isolation`). When the first process of such a place dies, the kernel
kills every other one, daemons too; it dies with the keeper, and the keeper with its caller, however that ends. The
keeper counts what the network saw when all are dead.

The function runs in a forked child with one thread, and may make more. Its arguments come by the fork; its value or its
error travel as :mod:`harness.sandbox.portable` packs them. Linux; :func:`isolation_available` says why not.

Non-goals: keeping a target from harming the cell it is in; limits of memory and processes (``child_setup`` has them).
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from harness.core.run import Isolation, RunSpec
from harness.sandbox import processes
from harness.sandbox.isolation import IsolationError, NetworkUse, enter, forget_environment, mount_processes
from harness.sandbox.portable import CallFailedError, dumps, loads, portable

BASE = "/tmp/tornwrite"
"""Where a target's workspace is seen in a cell: the same in every run, for programs write their own paths down."""

DEFAULT_TIMEOUT_S = 300.0
_END_S = 10.0
_NO_PROCESSES = 124
"""What the first process exits with that could not mount ``/proc``, or start the function."""
_SIGNALLED = 128
_READ_BYTES = 1 << 16
_inside = False


class CellEndedError(Exception):
    """The function gave no answer: its process died, or its time was over. Nothing of the cell is left."""


class Isolated(NamedTuple):
    """What a function returned in a cell, and what the network of the cell saw."""

    value: Any
    network: NetworkUse


class _Ended(NamedTuple):
    """What the keeper says when all are dead: how the function's process ended, or why there was none."""

    status: int = 0
    network: NetworkUse | None = None
    told: bool = False
    failure: str = ""


def inside() -> bool:
    """Return whether this process is in a cell."""
    return _inside


def isolated(
    function: Callable[..., Any],
    *args: Any,
    writable: Sequence[str] = (),
    shown: Sequence[str] = (),
    hidden: Sequence[str] = (),
    base: str = "",
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Isolated:
    """Return what ``function(*args)`` returns in a cell, or raise what it raises.

    It may write below the directories in ``writable``, below ``base``, which it sees at :data:`BASE`, and nowhere else
    that lasts. ``shown`` are directories that it needs and that may lie where a cell has private ones; ``hidden`` ones
    are empty inside. On return everything in
    the cell is dead. Raises :class:`IsolationError` where there is no such place, :class:`CellEndedError` where the
    function did not answer within ``timeout_s`` seconds or at all.
    """
    if _inside:
        raise IsolationError("this process is in a cell already")
    places = {
        "writable": tuple(writable),
        "shown": tuple(shown),
        "hidden": tuple(hidden),
        "moved": ((base, BASE),) if base else (),
    }
    end = time.monotonic() + timeout_s
    pipes = _Pipes()
    processes.load_libc()
    caller = os.getpid()
    with processes.deferring_interrupts():
        keeper = os.fork()
        if keeper == 0:
            _keep(pipes, caller, places, lambda: function(*args))
    pipes.close("value_in", "said_in", "order_out")
    try:
        answer, said = _collect(pipes, end)
    finally:
        pipes.close("order_in", "value_out", "said_out")
        _wait_for(keeper)
    return _outcome(answer, said, timeout_s)


def in_cell(spec: RunSpec, base: str, function: Callable[..., Any], *args: Any, timeout_s: float) -> Isolated:
    """As :func:`isolated`, with what the isolation of ``spec`` names; ``base`` is a workspace for its directories."""
    needs = spec.isolation or Isolation()
    return isolated(function, *args, shown=needs.shown, hidden=needs.hidden, base=base, timeout_s=timeout_s)


class _Pipes:
    """The function's value, what the keeper says, and the order to end: the end of the pipe that the caller holds."""

    def __init__(self) -> None:
        self.value_out, self.value_in = os.pipe()
        self.said_out, self.said_in = os.pipe()
        self.order_out, self.order_in = os.pipe()

    def close(self, *names: str) -> None:
        for name in names:
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
            setattr(self, name, -1)


def _collect(pipes: _Pipes, end: float) -> tuple[bytes, bytes]:
    """Read what function and keeper say until the keeper has ended; tell it to end when the time is over."""
    read = {pipes.value_out: bytearray(), pipes.said_out: bytearray()}
    value, said = read[pipes.value_out], read[pipes.said_out]
    poll = select.poll()
    for descriptor in read:
        poll.register(descriptor, select.POLLIN)
    while read:
        left = end - time.monotonic()
        if left <= 0:
            if pipes.order_in < 0:
                break  # it was told, and does not end
            pipes.close("order_in")
            end += _END_S
            continue
        for descriptor, _ in poll.poll(left * 1e3):
            data = os.read(descriptor, _READ_BYTES)
            read[descriptor] += data
            if not data:
                poll.unregister(descriptor)
                del read[descriptor]
    return bytes(value), bytes(said)


def _outcome(answer: bytes, said: bytes, timeout_s: float) -> Isolated:
    if not said:
        raise CellEndedError("the process that keeps the cell was killed")
    ended: _Ended = loads(said)
    if ended.failure:
        raise IsolationError(ended.failure)
    assert ended.network is not None
    if not answer or ended.status:
        how = f"ended with exit code {ended.status}"
        if ended.told:
            how = f"did not end within {timeout_s:g} s"
        elif ended.status > _SIGNALLED or ended.status < 0:
            how = f"was killed by signal {abs(ended.status) % _SIGNALLED}"
        raise CellEndedError(f"what ran in the cell {how}")
    value, error = loads(answer)
    if error is not None:
        raise error
    return Isolated(value, ended.network)


def _wait_for(keeper: int) -> None:
    """Reap the keeper, by force where it does not end by itself."""
    end = time.monotonic() + _END_S
    pause = 0.0
    with contextlib.suppress(ChildProcessError):  # a caller that reaps every child has seen it end
        while not os.waitpid(keeper, os.WNOHANG)[0]:
            if time.monotonic() >= end:
                os.kill(keeper, signal.SIGKILL)
                os.waitpid(keeper, 0)
                return
            time.sleep(pause)
            pause = min(pause + 0.0005, 0.01)


def _keep(pipes: _Pipes, caller: int, places: Mapping[str, Any], work: Callable[[], Any]) -> NoReturn:
    """Be the keeper: enter, start the first process, wait for its end or the caller's, count, tell."""
    try:
        os.setsid()  # the terminal's Ctrl+C is the caller's alone
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        pipes.close("value_out", "said_out", "order_in")
        ended = _Ended(failure="the cell could not be made")
        try:
            ended = _kept(pipes, caller, places, work)
        except IsolationError as error:
            ended = _Ended(failure=str(error))
        except BaseException as error:  # whatever it is, the caller is to know
            reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            ended = _Ended(failure=f"the cell could not be made: {reason}")
        _write(pipes.said_in, dumps(ended))
    finally:
        os._exit(0)


def _kept(pipes: _Pipes, caller: int, places: Mapping[str, Any], work: Callable[[], Any]) -> _Ended:
    processes.die_with_parent(caller)
    forget_environment()
    counters = enter(**places)
    processes.die_with_parent(caller)  # again: new credentials take it back
    first = _start_first(pipes, work)
    told = _watch(pipes.order_out, first)
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])  # comes when all inside are dead
    if status == _NO_PROCESSES:
        return _Ended(failure="the processes of a cell cannot be shown in it: /proc cannot be mounted")
    return _Ended(status=status, network=counters.read(), told=told)


def _start_first(pipes: _Pipes, work: Callable[[], Any]) -> int:
    """Start the first process of the cell; it dies with this one."""
    ready, ready_in = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(ready)
        _be_first(pipes, ready_in, work)
    os.close(ready_in)
    pipes.close("value_in")
    os.read(ready, 1)
    os.close(ready)
    return first


def _be_first(pipes: _Pipes, ready: int, work: Callable[[], Any]) -> NoReturn:
    """Be the first process: start the function, reap whoever is left to it, end with the function."""
    status = _NO_PROCESSES
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        processes.die_with_parent(0)  # the keeper is outside: nobody, seen from here
        os.write(ready, b"r")  # fails, and ends this process, where the keeper has died before
        os.close(ready)
        pipes.close("said_in", "order_out")
        mount_processes()
        worker = os.fork()
        if worker == 0:
            _work(pipes.value_in, work)
        pipes.close("value_in")
        while True:
            pid, ended = os.wait()
            if pid == worker:
                code = os.waitstatus_to_exitcode(ended)
                status = code if code >= 0 else 128 - code
                break
    finally:
        os._exit(status)


def _work(value_in: int, work: Callable[[], Any]) -> NoReturn:
    """Run the function and send what it gives."""
    global _inside  # noqa: PLW0603 -- a fact about this process
    _inside = True
    status = 1
    try:
        os.setsid()
        # A handler, not SIG_IGN: what is ignored stays ignored across exec, and targets must meet the default.
        signal.signal(signal.SIGINT, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        processes.become_subreaper()
        try:
            answer: tuple[Any, BaseException | None] = (work(), None)
        except BaseException as error:
            answer = (None, portable(error))
        try:
            packed = dumps(answer)
        except Exception as error:
            packed = dumps((None, CallFailedError(f"the value of the call cannot travel: {error}")))
        _write(value_in, packed)
        status = 0
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _watch(order: int, first: int) -> bool:
    """Wait until the first process is dead, or (true) the caller has closed its end of ``order``."""
    pidfd = os.pidfd_open(first)
    poll = select.poll()
    poll.register(order, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    ready = [descriptor for descriptor, _ in poll.poll()]
    os.close(pidfd)
    return pidfd not in ready


def _look() -> tuple[int, tuple[str, ...]]:
    return os.getpid(), tuple(name for name in os.listdir("/proc") if name.isdigit())


@functools.lru_cache(maxsize=1)
def isolation_available() -> str:
    """Return "" if there can be cells here, or this is one; else the reason, in one line. One is tried, once."""
    if _inside:
        return ""
    if sys.platform != "linux":
        return f"no namespaces on {sys.platform}"
    try:
        seen = isolated(_look, writable=[tempfile.gettempdir()], timeout_s=_END_S)
    except (IsolationError, CellEndedError) as error:
        return str(error)
    except OSError as error:
        return f"the self-test could not run: {error.strerror}"
    pid, found = seen.value
    if str(pid) not in found or len(found) > 2:
        return "the self-test saw processes of the outside"
    return ""
