"""Trials forked from a preloaded Python: the interpreter is started once, and what the target imports is loaded once.

Same guarantees as a cold start: workspace prepared, working directory, environment and standard streams of its own, a
session of its own, exact faults through the shim, nothing left alive. Not the same: the seed of string hashes, and
whatever a module of the standard library or of a package computes when it is imported, are the server's for all trials.

Non-goals: other runtimes; systems without fork; a target whose imports change files or start threads (it is started
cold, and its recordings say so by their ``engine``).
"""

from __future__ import annotations

import os
import time
from typing import IO

import msgspec

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec
from harness.engines.forks import ForkServer, Kept
from harness.engines.shim import launch
from harness.engines.shim.engine import ShimEngine, recorded
from harness.engines.shim.session import Session


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
        self._kept = Kept("shim")
        self._cold = ShimEngine()

    def available(self) -> str:
        """Return ``""``, or why nothing can be forked here."""
        if not hasattr(os, "fork"):
            return "needs a system that forks"
        return self._cold.available()

    def run(self, spec: RunSpec, plan: FaultPlan = NO_FAULTS, *, verify: bool = True) -> Recording:
        """Run the target once under ``plan``; see :class:`harness.engines.base.Engine`."""
        server, _, known = self._kept.preloaded(spec)
        if server is None:
            return self._cold.run(spec, plan, verify=verify)

        def start(spec: RunSpec, address: str) -> Forked:
            out, err = os.path.join(address, "stdout"), os.path.join(address, "stderr")
            streams = _stream(out), _stream(err)
            environment = launch.environment(spec.environment, address)
            order = {**known, "in": os.devnull, "out": out, "err": err, "env": environment}
            return Forked(server, int(server.ask(order)["pid"]), *streams)

        begun = time.monotonic()
        session = Session(spec, plan, start)
        session.run()
        wall_ms = (time.monotonic() - begun) * 1000
        recording = recorded(session, verify=verify, wall_ms=wall_ms, cpu_ms=0.0)
        return msgspec.structs.replace(recording, engine=self.name)

    @property
    def server_pid(self) -> int:
        """The process id of the server; 0 without one."""
        return self._kept.pid

    def close(self) -> None:
        """End the server."""
        self._kept.close()
