"""What an engine is: the one door through which a target is run.

An engine knows no manifest and judges nothing. It prepares the directories of a :class:`RunSpec`, runs the
target once under a :class:`FaultPlan`, and returns a :class:`Recording` when every process it started is dead.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec

LINGER_S = 2.0
"""How long what a program started may run on after its first process has ended, before it is ended too."""


class TargetNotStartedError(Exception):
    """The command of the run could not be started. The message is one line: what, and the system's reason."""


class UnsupportedFaultError(Exception):
    """The fault plan asks for something this engine cannot do; the message names the engine that can."""


class EngineError(Exception):
    """The engine itself failed: the system refused a request that its self-test had granted."""


class Observer(Protocol):
    """Who is told how far a run has come, while the run waits. What a method raises ends the run and is passed on.

    Not an ``OSError``: the engine would take it for one of its own.
    """

    def prepared(self) -> None:
        """The state directory holds the start tree; no process of the target is alive yet."""
        ...

    def recorded(self, count: int) -> None:
        """``count`` operations are in the trace, and the system calls behind them are done.

        The thread that made the last of them does not go on before this returns. Other threads can be inside
        calls that may wait for somebody else (a lock, a pipe), never inside another operation on the files.
        """
        ...


class Beside(Protocol):
    """What feeds a target while it runs, and can wait with what it has to say until nobody else is on the way."""

    @property
    def pid(self) -> int:
        """The process that feeds; 0 where nothing does."""
        ...

    def ready(self) -> bool:
        """Whether it has something to say."""
        ...

    def go(self) -> None:
        """Let it say one thing."""
        ...


class Engine(Protocol):
    """One way to run a target and see, or fault, what it does."""

    @property
    def name(self) -> str:
        """The name under which recordings quote this engine."""
        ...

    def available(self) -> str:
        """Return ``""`` where the engine works, else the reason why it does not."""
        ...

    def run(self, spec: RunSpec, plan: FaultPlan = NO_FAULTS, *, verify: bool = True) -> Recording:
        """Run the target once.

        ``verify`` replays the trace and compares it with the disk (engines that watch operations). Raises
        :class:`TargetNotStartedError` for a command that cannot be started and
        :class:`UnsupportedFaultError` for a plan this engine cannot carry out.
        """
        ...


@runtime_checkable
class SchedulingEngine(Protocol):
    """An engine that can decide who goes next."""

    def run(
        self, spec: RunSpec, plan: FaultPlan = NO_FAULTS, *, verify: bool = True, beside: Beside | None = None
    ) -> Recording:
        """Run the target once; under a schedule, ``beside`` speaks when nobody else is on the way."""
        ...

    def decides(self) -> bool:
        """Return true: it carries out the schedule of a plan."""
        ...


@runtime_checkable
class KeepingEngine(Protocol):
    """An engine that keeps a process between runs, for the next one to begin sooner."""

    @property
    def server_pid(self) -> int:
        """The process that is kept; 0 for none."""
        ...

    def close(self) -> None:
        """End it."""
        ...
