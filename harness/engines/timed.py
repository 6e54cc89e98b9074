"""The timed engine: sends signals at moments of the clock. Works on every system and sees no operations.

What people meet in the wild: a process killed at some moment. The clock starts when the target prints its arm
line, or when the program starts where the specification names none. A plan without faults is a plain run.

Non-goals: choosing the moments (the campaign draws them), exactness (the ptrace engine has that).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from harness.core.fault import NO_FAULTS, FaultPlan, Timed
from harness.core.run import Delivered, Ending, Recording, RunSpec
from harness.core.tree import EMPTY_TREE, Tree
from harness.engines.acks import AckReader
from harness.engines.base import LINGER_S, TargetNotStartedError, UnsupportedFaultError
from harness.sandbox.child import STDOUT, Child, ChildNotStartedError
from harness.sandbox.limits import child_setup
from harness.sandbox.processes import Custody, custody
from harness.sandbox.snapshot import StateTooLargeError, read_tree
from harness.sandbox.watch import LimitWatch
from harness.sandbox.workspace import prepare

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SIGNALS = ("SIGKILL", "SIGINT", "SIGTERM", "SIGHUP", "SIGSTOP", "SIGCONT")
_PAUSES = ("SIGSTOP", "SIGCONT")
DEFAULT_GRACE_MS = 5000
"""How long a target may take to die of a signal it can catch, where the fault does not say."""

TAIL_BYTES = 1 << 13

_KILL = 9
_BUSY_S = 200e-6
_NO_LOOK_S = 20e-3
_SURVIVOR_TICK_S = 0.02
_LINGER_TICK_S = 2e-3
_KILLED = "timed SIGKILL"
_COARSE_S = 3e-3
"""Below this, waiting in the selector is too coarse (it rounds up to milliseconds)."""


class _Stopped(NamedTuple):
    """Why the engine ended the target itself."""

    ending: Ending
    detail: str


def _check(plan: FaultPlan) -> list[Timed]:
    faults: list[Timed] = []
    if plan.schedule is not None:
        raise UnsupportedFaultError("the timed engine decides nothing; ptrace carries out schedules")
    for fault in plan.faults:
        if not isinstance(fault, Timed):
            kind = type(fault).__name__.lower()
            raise UnsupportedFaultError(f"the timed engine cannot inject a fault of kind {kind}; ptrace can")
        if fault.signal not in SIGNALS:
            raise UnsupportedFaultError(f"unknown signal {fault.signal!r}; valid: {', '.join(SIGNALS)}")
        if os.name == "nt" and fault.signal != "SIGKILL":
            raise UnsupportedFaultError(
                f"{fault.signal} cannot be sent on Windows; SIGKILL (TerminateProcess) can"
            )
        faults.append(fault)
    return sorted(faults, key=lambda fault: fault.delay_us)


def cpu_of_children_ms() -> float:
    """Return the processor time of all children that were reaped so far; 0 where the system does not say."""
    if resource is None:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(used.ru_utime + used.ru_stime) * 1e3


class Hooks(NamedTuple):
    """What a caller does at moments of a run: when its clock starts, and when all faults are delivered.

    A run with hooks goes on after its last fault, unless that ends it. They are not called where the moment does not
    come.
    """

    at_clock: Callable[[], object] | None = None
    after_faults: Callable[[], object] | None = None


NO_HOOKS = Hooks()


class _Run:
    """One run: its child, its clock, what has arrived and what was delivered."""

    def __init__(self, spec: RunSpec, faults: list[Timed], hooks: Hooks) -> None:
        self.spec = spec
        self.faults = faults
        self.hooks = hooks
        self.reader = AckReader(spec.ack, spec.arm, spec.arm_times)
        self.acks: list[str] = []
        self.delivered: list[Delivered] = []
        self.details: list[str] = []
        self.stopped: _Stopped | None = None
        self.armed_ns: int | None = None
        self.said_ns = self.ended_ns = 0
        self.stdout_bytes = 0
        self.tails = {STDOUT: b"", 2: b""}
        setup = child_setup(processes=spec.limits.processes)
        try:
            self.child = Child(
                spec.argv, cwd=spec.cwd, environment=spec.environment, setup=setup, on_output=self._on_output
            )
        except ChildNotStartedError as error:
            raise TargetNotStartedError(str(error)) from error
        self.deadline = self.child.started_ns / 1e9 + spec.limits.timeout_s
        self.watch = LimitWatch(spec.limits, spec.root, self.child.pid)

    def _on_output(self, stream: int, data: bytes) -> None:
        self.tails[stream] = (self.tails[stream] + data)[-TAIL_BYTES:]
        if stream == STDOUT:
            self.said_ns = now = time.monotonic_ns()
            self.stdout_bytes += len(data)
            self.acks += self.reader.feed(data)
            if self.armed_ns is None and self.reader.armed:
                self.armed_ns = now

    @property
    def clock_ns(self) -> int | None:
        """When the clock of the faults started; ``None`` while the arm line has not come."""
        return self.armed_ns if self.spec.arm else self.child.started_ns

    def _look(self) -> None:
        """Stop the run if it has passed a limit."""
        limits = self.spec.limits
        if time.monotonic() >= self.deadline:
            self.stopped = _Stopped("timeout", f"did not end within {limits.timeout_s:g} s; killed")
        elif self.stdout_bytes > limits.output_bytes:
            self.stopped = _Stopped("limit", f"more than {limits.output_bytes} bytes on standard output; killed")
        elif reason := self.watch.passed():
            self.stopped = _Stopped("limit", f"{reason}; killed")

    def wait_until(self, moment: float | None) -> bool:
        """Wait for a ``time.monotonic()`` moment, or without one for the end; false if the target ends first."""
        while not self.child.exited and self.stopped is None:
            now = time.monotonic()
            left = float("inf") if moment is None else moment - now
            if left <= _COARSE_S:
                return self._wait_exactly(now + left)
            if left > _NO_LOOK_S:
                self._look()
            pause = min(left - _COARSE_S / 2, self.deadline - now, max(0.0, self.watch.next_look - now))
            self.child.wait(max(0.0, pause))
        return False

    def _wait_exactly(self, moment: float) -> bool:
        # Asleep, not looking again and again: the target would be slower right before its kill than at any other time.
        if (left := moment - time.monotonic()) > _BUSY_S:
            time.sleep(left - _BUSY_S)
        while time.monotonic() < moment:
            pass
        return not self.child.has_exited()

    def wait_for_clock(self) -> bool:
        """Wait for the arm line; false if the target ends first."""
        while self.clock_ns is None and not self.child.exited and self.stopped is None:
            self._look()
            now = time.monotonic()
            self.child.wait(max(0.0, min(self.deadline - now, self.watch.next_look - now)))
        return self.clock_ns is not None and self.stopped is None

    def deliver(self, fault: Timed) -> None:
        """Send the signal of a fault whose moment has come, and see it through."""
        clock = self.clock_ns
        assert clock is not None
        number = _KILL if os.name == "nt" else int(getattr(signal, fault.signal))
        at_us = (time.monotonic_ns() - clock) // 1000
        self.child.signal(number, group=fault.victim == "tree")
        self.delivered.append(Delivered(fault=f"timed {fault.signal}", seq=-1, pid=self.child.pid, at_us=at_us))
        if number == _KILL:
            if fault.victim != "tree" and fault.grace_ms:
                self._let_survivors_run(fault.grace_ms / 1e3)
            return
        if fault is not self.faults[-1] or fault.signal in _PAUSES:
            return  # the next signal comes at its own moment, and a pause ends nothing
        grace_ms = fault.grace_ms or DEFAULT_GRACE_MS
        if self.wait_until(min(time.monotonic() + grace_ms / 1e3, self.deadline)):
            self.details.append(f"did not end within {grace_ms} ms of {fault.signal}; killed")

    def _let_survivors_run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self.stopped is None:
            self.child.wait(min(left, _SURVIVOR_TICK_S))
            self._look()

    def linger(self, held: Custody) -> None:
        """Let what the target started run on for a while after its first process has ended by itself."""
        if self.stopped is not None or not self.child.exited or any(d.fault == _KILLED for d in self.delivered):
            return
        end = min(time.monotonic() + LINGER_S, self.deadline)
        while left := held.living():
            self._look()
            if self.stopped is not None:
                return
            if time.monotonic() >= end:
                who = "1 process" if len(left) == 1 else f"{len(left)} processes"
                self.details.append(f"{who} outlived the program, ended after {LINGER_S:g} s")
                return
            self.child.wait(_LINGER_TICK_S)

    def go(self) -> None:
        """Run to the end, or to the last fault and what follows it."""
        if (self.faults or any(self.hooks)) and not self.wait_for_clock():
            self.wait_until(None)
            return
        if self.hooks.at_clock is not None:
            self.hooks.at_clock()
        for fault in self.faults:
            clock = self.clock_ns
            if clock is None or not self.wait_until((clock + fault.delay_us * 1000) / 1e9):
                break
            self.deliver(fault)
        done = len(self.delivered) == len(self.faults)
        if done and self.hooks.after_faults is not None:
            self.hooks.after_faults()
        if not done or not self.faults or self.faults[-1].signal in _PAUSES:
            self.wait_until(None)


def _ending(run: _Run, status: int) -> tuple[Ending, int | None, int | None]:
    """Return ending, exit code and signal, and take back a kill that came after the end."""
    signalled = -status if status < 0 else None
    if os.name == "nt" and run.delivered:
        signalled, status = _KILL, -_KILL
    if run.delivered and run.delivered[-1].fault == _KILLED and signalled != _KILL:
        run.delivered.pop()  # waitpid decides: it had ended by itself
    if run.stopped is not None:
        return run.stopped.ending, status if status >= 0 else None, signalled
    if signalled is not None:
        return "signalled", None, signalled
    return "exited", status, None


def _final_tree(run: _Run) -> Tree:
    try:
        return read_tree(run.spec.root, run.spec.limits.state_bytes).tree
    except StateTooLargeError as error:
        run.stopped = run.stopped or _Stopped("limit", str(error))
        return EMPTY_TREE


class TimedEngine:
    """Implements :class:`~harness.engines.base.Engine`.

    ``Delivered.at_us`` counts from the clock's start, as ``Timed.delay_us`` does; ``seq`` is -1, for no operation
    is seen. ``victim = "tree"`` signals the target's process group and, for SIGKILL, then every descendant;
    anything else signals the first process only. A run that ends before its fault has nothing delivered.
    """

    name = "timed"

    def __init__(self, hooks: Hooks = NO_HOOKS) -> None:
        self._hooks = hooks

    def available(self) -> str:
        """Return "": a process can be started and killed everywhere."""
        return ""

    def run(self, spec: RunSpec, plan: FaultPlan = NO_FAULTS, *, verify: bool = True) -> Recording:
        """Run the target once. ``verify`` has no meaning here: there is no trace to verify."""
        faults = _check(plan)
        prepare(spec)
        cpu_before = cpu_of_children_ms()
        with custody() as held:
            run = _Run(spec, faults, self._hooks)
            try:
                run.go()
                run.ended_ns = time.monotonic_ns()
                run.linger(held)
            finally:
                status = run.child.end()
                wall_ms = (time.monotonic_ns() - run.child.started_ns) / 1e6
                held.sweep()
                run.child.close()
        final = _final_tree(run)
        tail_us = max(0.0, (run.ended_ns - run.said_ns) / 1000) if run.said_ns else None
        ending, exit_code, signalled = _ending(run, status)
        details = [run.stopped.detail] if run.stopped else list(run.details)
        return Recording(
            spec=spec,
            engine=self.name,
            final=final,
            ending=ending,
            exit_code=exit_code,
            signal=signalled,
            pid=run.child.pid,
            delivered=tuple(msgspec.structs.replace(item, signal=signalled) for item in run.delivered),
            acks=tuple(run.acks),
            ending_detail="; ".join(details),
            stdout_bytes=run.stdout_bytes,
            stdout_tail=run.tails[STDOUT],
            stderr_tail=run.tails[2],
            armed_us=None if run.armed_ns is None else (run.armed_ns - run.child.started_ns) // 1000,
            said_us=(run.said_ns - run.child.started_ns) / 1000 if run.said_ns else None,
            tail_us=tail_us,
            wall_ms=wall_ms,
            cpu_ms=cpu_of_children_ms() - cpu_before,
        )
