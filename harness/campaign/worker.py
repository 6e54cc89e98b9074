"""What a worker process does: take a call, run it, leave nothing behind, answer.

A worker has one thread and, between calls, no child but those it was told to :func:`keep`: an engine that waits for
any child can run in it. Values and errors travel as :mod:`harness.sandbox.portable` packs them.

Non-goals: deadlines and deaths (the executor and the supervisor see to those).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Any, NamedTuple

from multiprocess.connection import Connection

from harness.sandbox import processes
from harness.sandbox.namespace import NamespaceError, bind_private
from harness.sandbox.portable import CallFailedError, dumps, loads, portable

_KEPT: set[int] = set()
"""What the call of this worker has left running for the next one: a fork server, say."""


class Request(NamedTuple):
    """One call on its way to a worker. ``number`` tells its answer from that of an abandoned call."""

    number: int
    function: Any
    args: tuple[Any, ...]


class Answer(NamedTuple):
    """What a worker sends back. ``number`` is -1 when the worker could not start at all."""

    number: int
    value: Any = None
    error: BaseException | None = None


def keep(*pids: int) -> None:
    """Leave these children of this process running when the call is over; if the next does not keep them, they end."""
    _KEPT.update(pid for pid in pids if pid)


def _answer(request: Request) -> Answer:
    _KEPT.clear()
    try:
        answer = Answer(request.number, request.function(*request.args))
    except BaseException as error:
        answer = Answer(request.number, None, portable(error))
    try:
        processes.kill_descendants(keep=frozenset(_KEPT))
    except processes.ProcessesSurvivedError as error:
        return Answer(request.number, None, error)
    return answer


def _packed(answer: Answer) -> bytes:
    try:
        return dumps(answer)
    except Exception as error:
        return dumps(Answer(answer.number, None, CallFailedError(f"the value of the call cannot travel: {error}")))


def serve(connection: Connection, base: str, canonical: str) -> None:
    """Answer calls until the other end closes. ``base`` is shown at ``canonical`` where they differ."""
    # A handler, not SIG_IGN: what is ignored stays ignored across exec, and targets must meet the default.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        processes.become_subreaper()
    try:
        if base != canonical:
            bind_private(base, canonical)
    except NamespaceError as error:
        connection.send_bytes(dumps(Answer(-1, None, error)))
        return
    while True:
        try:
            payload = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            request = Request(*loads(payload))
        except Exception as error:
            connection.send_bytes(dumps(Answer(-1, None, CallFailedError(f"a call cannot travel: {error}"))))
            return
        packed = _packed(_answer(request))
        try:
            connection.send_bytes(packed)
        except OSError:
            return


def serve_and_exit(connection: Connection, base: str, canonical: str) -> None:
    """As :func:`serve`; ends the process without running the finalisers it inherited by fork."""
    status = 1
    try:
        serve(connection, base, canonical)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
