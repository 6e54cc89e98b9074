"""Traced runs forked from a preloaded Python: the tracer has each from its birth, before it runs the target's program.

Same guarantees as a cold start under ptrace: workspace prepared, working directory, environment and standard streams of
its own, a session of its own, every system call of the program seen and decided about, nothing left alive, an end with
the tracer. Not the same: what the interpreter and the imports did before the program is not in the trace; the seed of
string hashes, and whatever a module of the standard library or of a package computes when it is imported, are the
server's for all runs; a module of the interpreter that the program never imported may be loaded already.

Non-goals: other runtimes; a target whose imports change files, keep some open, print or start threads (it is started
cold, and its recordings say so by their ``engine``); proofs: what is found this way is confirmed by cold starts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec
from harness.engines.base import Beside, EngineError, Observer
from harness.engines.forks import ForkServer, Kept
from harness.engines.ptrace.engine import PtraceEngine, recorded
from harness.engines.ptrace.filter import build
from harness.engines.ptrace.launch import Child, seize


class _Fork:
    """Starts one run: a fork of the server, which the tracer has before it goes on."""

    def __init__(self, server: ForkServer, order: Mapping[str, Any]) -> None:
        self._server = server
        self._order = order
        self._pid = 0

    def __call__(self, spec: RunSpec, reads: bool) -> Child:
        """Fork and seize; see :data:`harness.engines.ptrace.launch.Launch`."""
        (stdout, stdout_in), (stderr, stderr_in), (report, report_in), (waiting, gate) = (
            os.pipe() for _ in range(4)
        )
        stdin = os.open(os.devnull, os.O_RDONLY)
        theirs, ours = (stdin, stdout_in, stderr_in, report_in, waiting), (stdout, stderr, report, gate)
        try:
            order = {**self._order, "argv": list(spec.argv), "env": dict(spec.environment), "filter": build(reads)}
            self._pid = int(self._server.ask(order, theirs)["pid"])
            seize(self._pid)
        except EngineError:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return Child(self._pid, *ours)

    def reap(self) -> float:
        """Have the server reap what was forked, once; return the processor time that it took."""
        pid, self._pid = self._pid, 0
        if not pid:
            return 0.0
        with contextlib.suppress(EngineError):  # then it is gone with the server
            return float(self._server.ask({"reap": pid, "wait": True})["cpu_s"])
        return 0.0


class ForkingPtraceEngine:
    """Runs Python targets forked from a preloaded process; what cannot be preloaded is run by the ptrace engine, cold.

    One server is kept, that of the last command.
    """

    name = "ptrace-forked"

    def __init__(self) -> None:
        self._kept = Kept("traced")
        self._cold = PtraceEngine()

    def available(self) -> str:
        """Return ``""``, or why this machine does not allow tracing."""
        return self._cold.available()

    def decides(self) -> bool:
        """Return true: it carries out the schedule of a plan."""
        return True

    def run(
        self,
        spec: RunSpec,
        plan: FaultPlan = NO_FAULTS,
        *,
        verify: bool = True,
        observer: Observer | None = None,
        beside: Beside | None = None,
    ) -> Recording:
        """Run the target once under ``plan``; see :class:`harness.engines.ptrace.engine.PtraceEngine`."""
        from harness.engines.ptrace.session import Session  # noqa: PLC0415 - Linux only

        server, reason, order = self._kept.preloaded(spec)
        if server is None:
            recording = self._cold.run(spec, plan, verify=verify, observer=observer, beside=beside)
            return msgspec.structs.replace(recording, why_cold=reason)
        fork = _Fork(server, order)
        session = Session(spec, plan, observer, beside, fork)
        try:
            return recorded(session, self.name, verify=verify, elsewhere_s=fork.reap)
        finally:
            fork.reap()

    @property
    def server_pid(self) -> int:
        """The process id of the server; 0 without one."""
        return self._kept.pid

    def close(self) -> None:
        """End the server."""
        self._kept.close()
