"""Runs a judging command (``--check``, ``recover``, ``list``, ``read``) and never believes it will behave.

It gets a session of its own, a deadline and a bound on what is kept of its output; when the call returns,
nothing it started is alive. Misbehaviour is data in the result, never an exception.

Non-goals: targets under a fault (the engines run those); two commands at once in one process (they wait).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.sandbox.child import STDERR, STDOUT, Child, ChildNotStartedError
from harness.sandbox.limits import child_setup
from harness.sandbox.processes import custody


class CommandResult(NamedTuple):
    """How a command ended. Exactly one of ``exit_code``, ``signal`` and ``not_started`` says so.

    A command that passed its deadline has ``timed_out`` and the signal that ended it. ``stdout`` and ``stderr``
    hold the first bytes of each; ``truncated`` says that there were more.
    """

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    stdout: bytes = b""
    stderr: bytes = b""
    not_started: str = ""
    truncated: bool = False
    wall_ms: float = 0.0


class _Kept:
    """The head of each output stream; the rest is read and forgotten, so the writer never blocks."""

    def __init__(self, limit: int) -> None:
        self.data = {STDOUT: bytearray(), STDERR: bytearray()}
        self.limit = limit
        self.truncated = False

    def add(self, stream: int, part: bytes) -> None:
        room = self.limit - len(self.data[stream])
        self.data[stream] += part[:room]
        self.truncated |= len(part) > room


def run_command(
    argv: Sequence[str],
    *,
    cwd: str,
    environment: Mapping[str, str],
    timeout_s: float = 10.0,
    output_bytes: int = 1 << 20,
) -> CommandResult:
    """Run ``argv`` in ``cwd`` with exactly ``environment`` and return how it ended.

    ``timeout_s`` bounds the wall time in seconds, ``output_bytes`` what is kept of each output stream. The whole
    process tree is gone on return (Linux: daemons included).
    """
    kept = _Kept(output_bytes)
    began = time.monotonic()
    try:
        with custody() as held:
            child = Child(argv, cwd=cwd, environment=environment, setup=child_setup(), on_output=kept.add)
            try:
                while not child.exited and (left := began + timeout_s - time.monotonic()) > 0:
                    child.wait(left)
                timed_out = not child.exited
            finally:
                status = child.end()
                held.sweep()
                child.close()
    except ChildNotStartedError as error:
        return CommandResult(not_started=str(error))
    return CommandResult(
        exit_code=status if status >= 0 else None,
        signal=None if status >= 0 else -status,
        timed_out=timed_out,
        stdout=bytes(kept.data[STDOUT]),
        stderr=bytes(kept.data[STDERR]),
        truncated=kept.truncated,
        wall_ms=(time.monotonic() - began) * 1e3,
    )
