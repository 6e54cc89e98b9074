"""Preloaded Python interpreters that fork once per trial, whoever watches what is forked: the engine's side of them.

A server is started for one command, loads once what the command imports, and forks when it is told to. What a forked
trial has in common with a cold start, and what not, is said by the engines that use one.

Non-goals: other runtimes; systems without fork; a target whose imports change files, keep some open, print or start
threads (``ForkServer.reason`` says so, and who wanted to fork starts it cold).
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from harness.core.run import RunSpec
from harness.engines.base import EngineError
from harness.engines.shim import launch
from harness.sandbox.limits import child_setup

SERVER = os.path.join(launch.RUNTIME, "fork_server.py")
Way = Literal["shim", "traced"]
"""Who watches the forks: the shim, which the server has loaded, or a tracer, which hands a filter to each."""

_LENGTH = struct.Struct("<I")
_VERSION = 2
_READY_S = 20.0
_ANSWER_S = 10.0
_ENDED = "it has ended"
_OWN = frozenset((launch.VARIABLE, "TORNWRITE_TOOLS"))
"""Variables that each trial has its own value of."""


class ForkServer:
    """A preloaded interpreter for one command. ``reason`` says why it cannot be used, if it cannot."""

    def __init__(self, command: launch.PythonCommand, spec: RunSpec, way: Way) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_ANSWER_S)
        what = (command.kind, command.what, *command.rest)
        argv = [command.program, *command.flags, SERVER, str(theirs.fileno()), way, *what]
        places = _places(spec) if way == "traced" else ()  # the shim sees for itself what is changed
        before = _listed(places)
        self._popen = subprocess.Popen(
            argv,
            cwd=spec.cwd,
            env=launch.environment(spec.environment, "") if way == "shim" else dict(spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            preexec_fn=child_setup(  # noqa: PLW1509 -- it makes system calls only
                processes=spec.limits.processes if way == "shim" else 0
            ),
        )
        theirs.close()
        try:
            self._control.settimeout(_READY_S)
            self.reason = str(self._receive()["ready"])
        except (OSError, EOFError):
            self.reason = "it did not start"
        self._control.settimeout(_ANSWER_S)
        if not self.reason and _listed(places) != before:
            self.reason = "what it loads changes files"
        assert self._popen.stdout is not None
        with self._popen.stdout as said:
            if not self.reason and way == "traced" and select.select([said], [], [], 0)[0]:
                self.reason = "what it loads prints something"
        if self.reason:
            self.close()

    def _receive(self) -> dict[str, Any]:
        (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        answer: dict[str, Any] = marshal.loads(self._exactly(size))
        return answer

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._control.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def ask(self, order: Mapping[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Give an order, and descriptors with it, and return the answer.

        Raises :class:`EngineError` where the server is gone.
        """
        raw = marshal.dumps(dict(order), _VERSION)
        try:
            if descriptors:
                socket.send_fds(self._control, [_LENGTH.pack(len(raw))], list(descriptors))
            else:
                self._control.sendall(_LENGTH.pack(len(raw)))
            self._control.sendall(raw)
            return self._receive()
        except (OSError, EOFError) as error:
            self.reason = _ENDED
            raise EngineError("the fork server has ended") from error

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether a server that could be used is not there any more: somebody has swept it away."""
        return self.reason == _ENDED or (not self.reason and self._popen.poll() is not None)

    def close(self) -> None:
        """End the server. Its trials have ended before."""
        self._control.close()
        with contextlib.suppress(OSError):
            self._popen.kill()
        self._popen.wait()


class Preloaded(NamedTuple):
    """A server that has a program loaded, or why there is none; ``order``: what a fork of it is told of the run."""

    server: ForkServer | None
    reason: str
    order: Mapping[str, Any]


class Kept:
    """The one server that an engine keeps: that of the last command."""

    def __init__(self, way: Way) -> None:
        self._way: Way = way
        self._server: ForkServer | None = None
        self._key: tuple[Any, ...] = ()

    def preloaded(self, spec: RunSpec) -> Preloaded:
        """Return the server for the command of ``spec``, started if need be."""
        command = launch.PythonCommand(spec.argv) if spec.argv and launch.is_python(spec.argv[0]) else None
        if command is None or command.kind not in ("file", "-c") or not hasattr(os, "fork"):
            return Preloaded(None, "it is not the file of a Python program", {})
        server = self._server_for(spec, command)
        order = {"kind": command.kind, "what": command.what, "rest": list(command.rest), "cwd": spec.cwd}
        return Preloaded(None if server.reason else server, server.reason, order)

    def _server_for(self, spec: RunSpec, command: launch.PythonCommand) -> ForkServer:
        key = (
            command.program,
            tuple(command.flags),
            command.kind,
            command.what,
            _changed(command),
            os.getpid(),
            tuple(sorted(item for item in spec.environment.items() if item[0] not in _OWN)),
        )
        if key != self._key:
            self.close()
        if self._server is None or self._server.has_ended:
            self._server, self._key = ForkServer(command, spec, self._way), key
        return self._server

    @property
    def pid(self) -> int:
        """The process id of the server; 0 without one."""
        return 0 if self._server is None or self._server.reason else self._server.pid

    def close(self) -> None:
        """End the server."""
        if self._server is not None and not self._server.reason:
            self._server.close()
        self._server, self._key = None, ()


def _changed(command: launch.PythonCommand) -> int:
    """Return when the program was last changed: its code is kept compiled."""
    try:
        return os.stat(command.what).st_mtime_ns if command.kind == "file" else 0
    except OSError:
        return 0


def _places(spec: RunSpec) -> tuple[str, ...]:
    """Return the directories in which what is imported may leave something that each run would have made anew."""
    given = (spec.root, spec.cwd, spec.environment.get("HOME", ""), spec.environment.get("TMPDIR", ""))
    return tuple(dict.fromkeys(filter(None, given)))


def _listed(places: Sequence[str]) -> list[tuple[str, int]]:
    """Return what lies in these directories, and when it was last changed; in the first one, whether anything was."""
    found = []
    for place in places:
        with contextlib.suppress(OSError):
            found += [(entry.path, entry.stat(follow_symlinks=False).st_mtime_ns) for entry in os.scandir(place)]
    for place in places[:1]:
        with contextlib.suppress(OSError):
            found.append((place, os.stat(place).st_mtime_ns))
    return sorted(found)
