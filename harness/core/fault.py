"""Faults and where they strike: one vocabulary for every engine.

A crash point names a place in a run without counting on exact repetition: the n-th operation of a kind on a
path role by a process, and the moment relative to it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from harness.core.schedule import AnySchedule

PAGE_BYTES = 4096
"""A kill can cut a write only where the file offset is a multiple of this."""

FaultClass = Literal["none", "kill", "signal", "short", "errno", "concurrency", "damage", "power"]
FAULT_CLASSES: tuple[FaultClass, ...] = ("kill", "signal", "short", "errno", "concurrency", "damage", "power")
Phase = Literal["before", "torn", "after"]
Victim = Literal["actor", "process", "tree"]
FileDamage = Literal["torn", "holed", "nul", "empty", "stale"]
"""What became of a damaged file: its first half is left, its first half is NULs, NULs in its full size, no bytes, what
it held when the run began."""


class CrashPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The ``occurrence``-th (from 1) ``operation`` on a path of ``role`` by process ``actor``; then the phase.

    ``bytes`` counts the bytes that land when ``phase`` is ``torn``; below 0, those at the end that do not. ``role`` is
    empty for operations without a path. ``actor`` is a process label (``p0``).
    """

    operation: str
    role: str
    occurrence: int
    actor: str = "p0"
    phase: Phase = "before"
    bytes: int = 0

    def __str__(self) -> str:
        landed = f"torn after {self.bytes} bytes" if self.bytes >= 0 else f"torn, {-self.bytes} bytes short"
        moment = landed if self.phase == "torn" else self.phase
        place = f" of {self.role}" if self.role else ""
        return f"{self.operation} #{self.occurrence}{place} by {self.actor}, {moment}"


class Kill(msgspec.Struct, frozen=True, kw_only=True, tag="kill"):
    """SIGKILL at a crash point. Survivors of the victim run on for ``grace_ms``; what they write counts."""

    at: CrashPoint
    victim: Victim = "tree"
    grace_ms: int = 0


class Timed(msgspec.Struct, frozen=True, kw_only=True, tag="timed"):
    """A signal ``delay_us`` after the run's clock starts (at the arm line, else at the start of the process)."""

    delay_us: int
    signal: str = "SIGKILL"
    victim: Victim = "tree"
    grace_ms: int = 0


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag="signal"):
    """A signal that can be caught, sent to the process right after the operation at ``at`` (phase ``after``).

    The operation may be an acknowledgement (operation ``ack``, no role): what was said to be saved must be there.
    """

    at: CrashPoint
    signal: str = "SIGTERM"


class Damaged(msgspec.Struct, frozen=True, kw_only=True, tag="damaged"):
    """``path`` is damaged when the run is over: by a power loss, another program, an older version of this one.

    Then the target's own programs are started on what there is. With a ``Kill`` beside it in the plan, its recovery
    runs first, and is killed there.
    """

    path: str
    damage: FileDamage


class Short(msgspec.Struct, frozen=True, kw_only=True, tag="short"):
    """The write at ``at`` (phase ``torn``) accepts ``at.bytes`` bytes and returns that; the program runs on.

    ``then_errno``: every later write fails with it ("disk full from here on"); 0 for none. ``kill``: the process
    is killed at the exit of the short write, before it can go on.
    """

    at: CrashPoint
    then_errno: int = 0
    kill: bool = False


class Errno(msgspec.Struct, frozen=True, kw_only=True, tag="errno"):
    """The operation at ``at`` (phase ``before``) fails with ``errno`` and has no effect.

    ``persistent``: every later operation that needs space fails too (open that creates, write, extend, mkdir,
    link, symlink), as on a full disk.
    """

    at: CrashPoint
    errno: int
    persistent: bool = False


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What of the operation at ``at`` (phase ``after``) did not reach the disk.

    ``part``: the bytes ``start`` to ``end`` (exclusive) of the file, its sizes from ``start`` to ``end`` as the write
    went on, the truncation to ``end``, or the directory entries that it changed.
    """

    at: CrashPoint
    part: Literal["data", "size", "truncation", "names"]
    start: int = 0
    end: int = 0


class PowerLoss(msgspec.Struct, frozen=True, kw_only=True, tag="power"):
    """The power goes after the operation at ``at`` (``None``: at the end of the run), on a file system of ``profile``.

    ``acked`` acknowledgements were out. All up to then reached the disk but for ``losses``; ``stale``: blocks
    without data read as what was there before.
    """

    at: CrashPoint | None
    profile: str
    losses: tuple[Loss, ...] = ()
    acked: int = 0
    stale: bool = False


Fault: TypeAlias = Kill | Timed | Signal | Damaged | Short | Errno | PowerLoss


_CLASSES: dict[type, FaultClass] = {Signal: "signal", Damaged: "damage"}


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The faults of one trial, at most one per crash point; empty for the null run. ``Damaged`` comes first.

    ``concurrency``: nothing strikes, and the run is a trial all the same: of what the target's threads, processes and
    tools do to each other when they meet by chance. ``draw`` is then the number of the durations that its tools have:
    two runs are two sessions, whose tools take their own time; 0 is the time they take in the recording.
    ``schedule``: who goes next where the target's threads and processes meet; tools then take no time.
    """

    faults: tuple[Fault, ...] = ()
    concurrency: bool = False
    draw: int = 0
    schedule: AnySchedule | None = None

    @property
    def fault_class(self) -> FaultClass:
        """The class under which the trial's state is judged: power, where the power goes after other faults."""
        if any(isinstance(fault, PowerLoss) for fault in self.faults):
            return "power"
        for fault in self.faults:
            if isinstance(fault, Kill):
                return "kill"
            if isinstance(fault, Timed):
                return "kill" if fault.signal == "SIGKILL" else "signal"
            if isinstance(fault, Signal | Damaged):
                return _CLASSES[type(fault)]
            return "short" if isinstance(fault, Short) else "errno"
        return "concurrency" if self.concurrency or self.schedule is not None else "none"


NO_FAULTS = FaultPlan()
CONCURRENCY = FaultPlan(concurrency=True)
