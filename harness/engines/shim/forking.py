"""Trials forked from a preloaded Python: the interpreter is started once, and what the target imports is loaded once.

Same guarantees as a cold start: workspace prepared, working directory, environment and standard streams of its own, a
session of its own, exact faults through the shim, nothing left alive. Not the same: the seed of string hashes, and
whatever a module of the standard library or of a package computes when it is imported, are the server's for all trials.

Non-goals: other runtimes; systems without fork; a target whose imports change files or start threads (it is started
cold, and its recordings say so by their ``engine``).
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import struct
import subprocess
import time
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec
from harness.engines.base import EngineError
from harness.engines.shim import launch
from harness.engines.shim.engine import ShimEngine, recorded
from harness.engines.shim.session import Session
from harness.sandbox.limits import child_setup

SERVER = os.path.join(launch.RUNTIME, "fork_server.py")
_LENGTH = struct.Struct("<I")
_VERSION = 2
_READY_S = 20.0
_ANSWER_S = 10.0
_ENDED = "it has ended"
_OWN = frozenset((launch.VARIABLE, "TORNWRITE_TOOLS"))
"""Variables that each trial has its own value of."""


class ForkServer:
    """A preloaded interpreter for one command. ``reason`` says why it cannot be used, if it cannot."""

    def __init__(self, command: launch.PythonCommand, spec: RunSpec) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_ANSWER_S)
        what = (command.kind, command.what, *command.rest)
        argv = [command.program, *command.flags, SERVER, str(theirs.fileno()), *what]
        self._popen = subprocess.Popen(
            argv,
            cwd=spec.cwd,
            env=launch.environment(spec.environment, ""),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            preexec_fn=child_setup(processes=spec.limits.processes),  # noqa: PLW1509 -- it makes system calls only
        )
        theirs.close()
        try:
            self._control.settimeout(_READY_S)
            self.reason = str(self._receive()["ready"])
        except (OSError, EOFError):
            self.reason = "it did not start"
        self._control.settimeout(_ANSWER_S)
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

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Give an order and return the answer. Raises :class:`EngineError` where the server is gone."""
        raw = marshal.dumps(dict(order), _VERSION)
        try:
            self._control.sendall(_LENGTH.pack(len(raw)) + raw)
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


class Forked:
    """A trial's process, a child of the server; see :class:`harness.sandbox.child.Started`."""

    def __init__(self, server: ForkServer, pid: int, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._server = server
        self.pid = pid
        self.stdout: IO[bytes] | None = stdout
        self.stderr: IO[bytes] | None = stderr
        self.returncode = 0
        self._waited = False

    def poll(self) -> int | None:
        """Have the server reap it if it has ended; return how, or ``None``. Only for systems without pidfd."""
        return self._reap(wait=False)

    def wait(self) -> int:
        """Have the server reap it."""
        self._reap(wait=True)
        return self.returncode

    def _reap(self, wait: bool) -> int | None:
        if not self._waited:
            status = self._server.ask({"reap": self.pid, "wait": wait})["status"]
            if status is None:
                return None
            self.returncode = os.waitstatus_to_exitcode(status)
            self._waited = True
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send it a signal; unreaped, its id is its own."""
        os.kill(self.pid, sig)


def _stream(path: str) -> IO[bytes]:
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    # Its name is needed until the trial has opened it; the doors remove what is left.
    return open(descriptor, "rb", buffering=0)


class ForkedEngine:
    """Runs Python targets forked from a preloaded process; what cannot be preloaded is run by the shim engine, cold.

    One server is kept, that of the last command.
    """

    name = "forked"

    def __init__(self) -> None:
        self._server: ForkServer | None = None
        self._key: tuple[Any, ...] = ()
        self._cold = ShimEngine()

    def available(self) -> str:
        """Return ``""``, or why nothing can be forked here."""
        if not hasattr(os, "fork"):
            return "needs a system that forks"
        return self._cold.available()

    def run(self, spec: RunSpec, plan: FaultPlan = NO_FAULTS, *, verify: bool = True) -> Recording:
        """Run the target once under ``plan``; see :class:`harness.engines.base.Engine`."""
        server = self.server_for(spec)
        if server.reason if server is not None else True:
            return self._cold.run(spec, plan, verify=verify)
        command = launch.PythonCommand(spec.argv)

        def start(spec: RunSpec, address: str) -> Forked:
            assert server is not None
            out, err = os.path.join(address, "stdout"), os.path.join(address, "stderr")
            streams = _stream(out), _stream(err)
            order = {
                "kind": command.kind,
                "what": command.what,
                "rest": list(command.rest),
                "in": os.devnull,
                "out": out,
                "err": err,
                "cwd": spec.cwd,
                "env": launch.environment(spec.environment, address),
            }
            return Forked(server, int(server.ask(order)["pid"]), *streams)

        begun = time.monotonic()
        session = Session(spec, plan, start)
        session.run()
        wall_ms = (time.monotonic() - begun) * 1000
        recording = recorded(session, verify=verify, wall_ms=wall_ms, cpu_ms=0.0)
        return msgspec.structs.replace(recording, engine=self.name)

    def server_for(self, spec: RunSpec) -> ForkServer | None:
        """Return the server for the command of ``spec``, started if need be; ``None`` where it is none that forks."""
        if not spec.argv or not launch.is_python(spec.argv[0]) or not hasattr(os, "fork"):
            return None
        command = launch.PythonCommand(spec.argv)
        if command.kind not in ("file", "-c"):
            return None
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
            self._server, self._key = ForkServer(command, spec), key
        elif self._server is not None and self._server.has_ended:
            self._server = ForkServer(command, spec)
        return self._server

    @property
    def server_pid(self) -> int:
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
