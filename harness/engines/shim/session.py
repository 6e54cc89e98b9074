"""One run: directories prepared, the target started with the shim, served to its end, everything it left ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec

from harness.core.fault import FaultPlan, Kill
from harness.core.run import Delivered, Ending, RunSpec
from harness.engines.acks import AckReader
from harness.engines.base import LINGER_S, TargetNotStartedError, UnsupportedFaultError
from harness.engines.inject import Injector
from harness.engines.record import LimitReachedError
from harness.engines.shim import launch
from harness.engines.shim.doors import BadFrameError, PipeDoors, PipeLine, QueueDoors
from harness.engines.shim.serving import Connection, Server, refuse_on_windows
from harness.engines.shim.watch import Watch
from harness.sandbox.child import STDOUT, Child, ChildNotStartedError, Started
from harness.sandbox.limits import child_setup
from harness.sandbox.processes import Custody, custody, kill_process
from harness.sandbox.watch import LimitWatch
from harness.sandbox.workspace import prepare

TAIL_BYTES = 64 << 10
Starter = Callable[[RunSpec, str], Started]
"""Starts the target of a specification with the shim told of an address."""

SIGKILL = 9
_LINGER_TICK_S = 2e-3
_PUMP_S = 0.01


class Session:
    """A run and, after :meth:`run`, what was seen of it."""

    def __init__(self, spec: RunSpec, plan: FaultPlan, start: Starter | None = None) -> None:
        self._start = start
        refused = refuse_on_windows(plan.faults)
        if plan.schedule is not None:
            refused = "the shim engine decides nothing; ptrace carries out schedules"
        if refused:
            raise UnsupportedFaultError(refused)
        self.spec = spec
        self._heard = AckReader(spec.ack)
        self._heard_acks = 0
        injector = Injector(plan, spec.start, "shim")
        prepare(spec)
        self.watch = Watch(spec, injector)
        self.stdout_bytes = self._output_bytes = 0
        self.tails = {STDOUT: b"", 2: b""}
        self.status = 0
        self.ending: Ending = "exited"
        self.detail = ""
        self._stopped = False
        self._ready: dict[int, Connection] = {}
        self._connections: dict[int, Connection] = {}
        self._grace_end = float("inf")

    # -- running --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the target until its last process is dead. Raises :class:`TargetNotStartedError`."""
        with custody() as held:
            self._lines: list[PipeLine] = []
            self._child: Child | None = None
            self._doors = (
                QueueDoors() if os.name == "nt" else PipeDoors(os.path.dirname(self.spec.root), self._made)
            )
            try:
                self._run(held)
            finally:
                self._doors.close()

    def _run(self, held: Custody) -> None:
        spec = self.spec
        started = self._start(spec, self._doors.address) if self._start is not None else None
        try:
            self._child = child = Child(
                launch.booted(spec.argv),
                cwd=spec.cwd,
                environment=launch.environment(spec.environment, self._doors.address),
                setup=child_setup(processes=spec.limits.processes),
                on_output=self._on_output,
                started=started,
            )
        except ChildNotStartedError as error:
            raise TargetNotStartedError(str(error)) from error
        self.pid = child.pid
        try:
            self._deadline = time.monotonic() + spec.limits.timeout_s
            self._limits = LimitWatch(spec.limits, spec.root, child.pid)
            self.server = Server(self.watch, child.pid, child.stdout_identity, self._deadline)
            self.server.kill, self.server.hello, self.server.pump = self._kill, self._doors.taken, self._pump
            for line in self._lines:
                self._attend(line)
            self._serve(held)
        finally:
            self.status = child.end()
            held.sweep()
            self._settle()
            child.close()

    def _made(self, line: PipeLine, descriptor: int) -> None:
        del descriptor
        if self._child is None:
            self._lines.append(line)
        else:
            self._attend(line)

    def _attend(self, line: PipeLine) -> None:
        assert self._child is not None
        connection = Connection(line)
        self._connections[line.up] = connection
        self._child.also(line.up, lambda: self._ready.setdefault(line.up, connection))

    def _on_output(self, stream: int, data: bytes) -> None:
        self.tails[stream] = (self.tails[stream] + data)[-TAIL_BYTES:]
        self._output_bytes += len(data)
        if stream == STDOUT:
            self.stdout_bytes += len(data)
            self._heard_acks += len(self._heard.feed(data))
        if self._output_bytes > self.spec.limits.output_bytes:
            self._stop("limit", f"printed more than {self.spec.limits.output_bytes} bytes")

    def _pump(self) -> None:
        assert self._child is not None
        self._child.wait(_PUMP_S)
        self._look()

    def _serve(self, held: Custody) -> None:
        """Answer until the target has ended, and what it started has had its time."""
        child, server = self._child, self.server
        assert child is not None
        linger_end: float | None = None
        while not self._stopped and not server.dying:
            if child.exited and not server.waiting:
                if linger_end is None:
                    linger_end = time.monotonic() + LINGER_S
                if not self._lives_on(held, linger_end):
                    break
            left = min(self._deadline, self._grace_end, self._limits.next_look) - time.monotonic()
            tick = _LINGER_TICK_S if child.exited else self._doors.patience_s
            child.wait(0 if server.waiting else max(0.0, min(left, tick)))
            try:
                self._absorb()
                if server.waiting:
                    server.serve()
            except (LimitReachedError, BadFrameError) as error:
                self._stop("limit", str(error))
            self._look()

    def _absorb(self) -> None:
        for line in self._doors.arrived():
            connection = self._connections.setdefault(id(line), Connection(line))
            self._ready[id(line)] = connection
        ready, self._ready = self._ready, {}
        for key, connection in ready.items():
            self.server.absorb(connection)
            if connection.over and isinstance(connection.line, PipeLine):
                assert self._child is not None
                self._child.no_longer(key)

    def _lives_on(self, held: Custody, end: float) -> bool:
        """Whether to wait for what the target's first process has left behind."""
        left = held.living() or (1,) * self.server.living
        if not left:
            return bool(self._ready)
        if time.monotonic() < min(end, self._grace_end):
            return True
        who = "1 process" if len(left) == 1 else f"{len(left)} processes"
        if self._grace_end == float("inf"):
            self.detail = f"{who} outlived the program, ended after {LINGER_S:g} s"
        return False

    def _look(self) -> None:
        """Stop the run if it has passed a bound."""
        now = time.monotonic()
        if now >= self._deadline:
            self._stop("timeout", f"did not end within {self.spec.limits.timeout_s:g} s")
        elif now >= self._grace_end:
            self._stopped = True
        elif now >= self._limits.next_look and (reason := self._limits.passed()):
            self._stop("limit", reason)

    def _stop(self, ending: Ending, detail: str) -> None:
        if not self._stopped:
            self._stopped, self.ending, self.detail = True, ending, detail

    def _kill(self, kill: Kill, pid: int) -> None:
        assert self._child is not None
        if kill.victim == "tree" or not kill.grace_ms:
            self._child.signal(SIGKILL, group=True)
            for other in self.server.processes.values():
                if other.lines:
                    kill_process(other.pid)
            return
        kill_process(pid)
        self._grace_end = time.monotonic() + kill.grace_ms / 1000

    # -- afterwards -----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Say how the run ended and what of it was not seen."""
        server, watch = self.server, self.watch
        self.delivered: tuple[Delivered, ...] = tuple(
            msgspec.structs.replace(item, signal=self._died_of(item.pid)) for item in server.delivered
        )
        if self._stopped and self.ending != "exited":
            return
        if self.status < 0 or (os.name == "nt" and self.pid in server.held):
            self.ending = "signalled"
        if not server.processes and not server.delivered:
            self.ending = "limit"
            self.detail = (
                f"was not watched: {os.path.basename(self.spec.argv[0])} did not load the shim, which works in Python "
                "and Node"
            )
        unheard = self._heard_acks - len([op for op in watch.operations if op.kind == "ack"])
        if unheard > 0 and not server.dying:
            watch.not_seen(f"the place of {unheard} acknowledgements, said by a process that the shim is not in")

    def _died_of(self, pid: int) -> int | None:
        """Return the signal that a struck process died of: one held by the engine when it was killed ran no further."""
        if pid == self.pid and os.name != "nt":
            return -self.status if self.status < 0 else None
        return SIGKILL if pid in self.server.held else None

    @property
    def signal(self) -> int | None:
        """The signal that the first process died of."""
        if os.name == "nt":
            return SIGKILL if self.pid in self.server.held else None
        return -self.status if self.status < 0 else None
