"""A Python function in place of a judging command: run in a forked child, bounded and ended as a command is.

Starting an interpreter for every state costs more than all else. Where processes fork, the worker has the function
already: it stands in for the command that would do the same. Where that is not safe (everywhere but on Linux), or
where the function was registered too late for this worker, nothing stands in, and the command is started.

The child has the function's own modules and environment, an empty standard input, and the given working directory.
Non-goals: functions that need their threads, which a fork does not copy.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from harness.sandbox.command import CommandResult
from harness.sandbox.limits import child_setup
from harness.sandbox.processes import custody, kill_group

Function = Callable[[Sequence[str]], int]
"""Gets the words of the command it stands for, and returns its exit code."""

_READ_BYTES = 1 << 16
_FAILED = 70
"""What a child exits with whose function raised: it stands for a program, and that would not."""
_FUNCTIONS: dict[str, Function] = {}


@contextlib.contextmanager
def standing_in(word: str, function: Function) -> Iterator[None]:
    """Have ``function`` stand in for every command that has ``word``, in this process and in its forks."""
    _FUNCTIONS[word] = function
    try:
        yield
    finally:
        del _FUNCTIONS[word]


def stand_in(argv: Sequence[str]) -> Function | None:
    """Return the function that stands in for a command here, if one does."""
    if sys.platform != "linux":
        return None
    return next((_FUNCTIONS[word] for word in argv if word in _FUNCTIONS), None)


def run_function(
    function: Function, argv: Sequence[str], *, cwd: str, timeout_s: float = 10.0, output_bytes: int = 1 << 20
) -> CommandResult:
    """Run ``function(argv)`` in a forked child and return how it ended, as of a command.

    ``timeout_s`` bounds the wall time, ``output_bytes`` what is kept of each stream. Nothing it started is alive on
    return (Linux: daemons included).
    """
    began = time.monotonic()
    setup = child_setup()
    out, out_in = os.pipe()
    err, err_in = os.pipe()
    with custody() as held:
        pid = os.fork()
        if pid == 0:
            _be_the_child(function, argv, cwd, setup, (out_in, err_in))
        os.close(out_in)
        os.close(err_in)
        kept = {out: bytearray(), err: bytearray()}
        try:
            truncated = _read(kept, began + timeout_s, output_bytes)
            timed_out = not _wait_for(pid, began + timeout_s)
        finally:
            kill_group(pid)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)  # it may have been asked to end before it had a group
            _, status = os.waitpid(pid, 0)
            held.sweep()
            os.close(out)
            os.close(err)
    code = os.waitstatus_to_exitcode(status)
    return CommandResult(
        exit_code=code if code >= 0 else None,
        signal=None if code >= 0 else -code,
        timed_out=timed_out,
        stdout=bytes(kept[out]),
        stderr=bytes(kept[err]),
        truncated=truncated,
        wall_ms=(time.monotonic() - began) * 1e3,
    )


def _read(kept: dict[int, bytearray], deadline: float, limit: int) -> bool:
    """Read both streams to their ends, at most until ``deadline``; return whether there was more than is kept."""
    poll = select.poll()
    for descriptor in kept:
        poll.register(descriptor, select.POLLIN)
    waiting, truncated = set(kept), False
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1e3):
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                poll.unregister(descriptor)
                waiting.discard(descriptor)
            room = limit - len(kept[descriptor])
            kept[descriptor] += data[:room]
            truncated |= len(data) > room
    return truncated


def _wait_for(pid: int, deadline: float) -> bool:
    """Return whether the child has ended by ``deadline``; it is not reaped."""
    pause = 0.0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause + 0.0005, 0.01)
    return True


def _be_the_child(
    function: Function,
    argv: Sequence[str],
    cwd: str,
    setup: Callable[[], None] | None,
    streams: tuple[int, int],
) -> NoReturn:
    code = _FAILED
    try:
        os.setsid()
        if setup is not None:
            setup()
        for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (streams[0], 1), (streams[1], 2)):
            os.dup2(source, target)
        # Whoever captures output has put objects of its own in their place.
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- the child ends without closing anything
        sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.chdir(cwd)
        code = function(argv)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)
