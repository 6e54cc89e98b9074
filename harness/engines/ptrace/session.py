"""One run: the directories prepared, the target launched, traced to its end, and everything it left behind ended."""

from __future__ import annotations

import os
import time

import msgspec

from harness.core.fault import FaultPlan
from harness.core.run import Delivered, Ending, RunSpec
from harness.core.trace import Trace
from harness.engines.acks import AckReader
from harness.engines.base import LINGER_S, Beside, EngineError, Observer, TargetNotStartedError
from harness.engines.inject import Injector
from harness.engines.ptrace.launch import Child, Launch, launch, release, why_not_started
from harness.engines.ptrace.loop import Supervisor
from harness.engines.ptrace.minder import Bound, Minder
from harness.engines.ptrace.scheduled import ScheduledSupervisor
from harness.engines.ptrace.watch import Watch
from harness.explore.schedule import scheduler_for
from harness.sandbox.workspace import prepare


class Session:
    """A run and, after :meth:`run`, what was seen of it."""

    def __init__(
        self,
        spec: RunSpec,
        plan: FaultPlan,
        observer: Observer | None = None,
        beside: Beside | None = None,
        start: Launch = launch,
    ) -> None:
        self.spec = spec
        self._start = start
        self._beside = beside
        self._observer = observer
        AckReader(spec.ack, spec.arm)  # a bad pattern is refused before anything happens
        self._injector = Injector(plan, spec.start)
        self._scheduler = None if plan.schedule is None else scheduler_for(plan.schedule)
        prepare(spec)
        if observer is not None:
            observer.prepared()

    def run(self) -> None:
        """Run the target until its last process is dead. Raises :class:`TargetNotStartedError`."""
        spec = self.spec
        child = self._start(spec, self._scheduler is not None)
        self.pid = child.pid
        try:
            reason = self._trace(child)
        finally:
            for descriptor in (child.stdout, child.stderr, child.report):
                os.close(descriptor)
        if reason:
            raise TargetNotStartedError(reason)

    def _trace(self, child: Child) -> str:
        info = os.fstat(child.stdout)
        self._watch = watch = Watch(self.spec, (info.st_dev, info.st_ino), self._injector, self._observer)
        supervisor: Supervisor
        if self._scheduler is None:
            supervisor = Supervisor(watch, child.pid, self.spec)
        else:
            supervisor = ScheduledSupervisor(watch, child.pid, self.spec, self._scheduler, self._beside)
        limits = self.spec.limits
        minder = Minder(child.stdout, child.stderr, limits.output_bytes, supervisor.kill_everything)
        supervisor.minder = minder
        minder.start()
        try:
            timeout = f"did not end within {limits.timeout_s:g} s"
            minder.bound(Bound(time.monotonic() + limits.timeout_s, "timeout", timeout))
            release(child)
            supervisor.run()
        except OSError as error:
            raise EngineError(f"tracing failed: {error.strerror} ({error.filename})") from error
        finally:
            supervisor.end()
            minder.finish()
        reason = why_not_started(child, self.spec)
        self.main_status = supervisor.main_status
        self.delivered: tuple[Delivered, ...] = tuple(
            msgspec.structs.replace(item, signal=_signal_of(supervisor.statuses.get(item.pid)))
            for item in supervisor.delivered
        )
        self.stdout_bytes, self.stdout_tail = minder.stdout.size, minder.stdout.tail
        self.stderr_tail = minder.stderr.tail
        self._decide_ending(supervisor, minder)
        self.scheduled = supervisor.scheduled() if isinstance(supervisor, ScheduledSupervisor) else None
        return reason

    def _decide_ending(self, supervisor: Supervisor, minder: Minder) -> None:
        signalled = self.main_status is not None and os.WIFSIGNALED(self.main_status)
        self.ending: Ending = "signalled" if signalled else "exited"
        self.detail = ""
        passed = minder.passed
        if passed is not None and passed.ending is not None:
            self.ending, self.detail = passed.ending, passed.detail
        elif passed is not None and supervisor.outlived:
            who = "1 process" if supervisor.outlived == 1 else f"{supervisor.outlived} processes"
            self.detail = f"{who} outlived the program, ended after {LINGER_S:g} s"

    @property
    def mapped(self) -> frozenset[int]:
        """The inode numbers of files with shared writable mappings."""
        return frozenset(self._watch.mapped)

    @property
    def armed_us(self) -> int | None:
        """Microseconds from the start to the line that matched the arm pattern."""
        return self._watch.armed_us

    @property
    def acks_buffered(self) -> bool:
        """Whether standard output looks block-buffered."""
        return self._watch.acks_buffered

    def trace(self) -> Trace:
        """Return the trace of the run."""
        return self._watch.trace("ptrace")


def _signal_of(status: int | None) -> int | None:
    """Return the signal that a wait status tells of, if it tells of one."""
    return os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
