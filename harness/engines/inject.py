"""From a fault plan to decisions at the entry and exit of calls: the same for every engine that watches operations.

Operations are counted by :class:`PointCounter` over the tree as it stands, exactly as an explorer counts over
the stored trace; so a crash point found by exploring strikes the same operation here. The model tree is kept
only when the plan has faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.core.apply import ReplayError, apply
from harness.core.content import FileTooLargeError
from harness.core.fault import CrashPoint, Damaged, Errno, FaultPlan, Kill, PowerLoss, Short, Signal, Timed
from harness.core.operation import Ack, AnyOperation
from harness.core.point import PointCounter, is_strikeable, operation_path
from harness.core.trace import Actor
from harness.core.tree import Tree
from harness.engines.base import UnsupportedFaultError

PointFault = Kill | Signal | Short | Errno
FAULT_NAMES = {Kill: "kill", Signal: "signal", Short: "short", Errno: "errno"}


class Decision(NamedTuple):
    """What to do with a call that is about to run.

    ``cut`` is the number of bytes it may accept, or -1; ``errno`` what it fails with instead of running, or 0;
    with neither, the process is killed before it runs. ``fault`` is ``None`` for what follows from an earlier
    fault ("the disk stays full").
    """

    fault: PointFault | None
    cut: int = -1
    errno: int = 0


def _same_place(at: CrashPoint, point: CrashPoint) -> bool:
    return (
        at.occurrence == point.occurrence
        and at.operation == point.operation
        and at.role == point.role
        and at.actor == point.actor
    )


class Injector:
    """Watches operations go by and says when a fault strikes."""

    def __init__(self, plan: FaultPlan, start: Tree, engine: str = "ptrace") -> None:
        self._waiting: list[PointFault] = []
        for fault in plan.faults:
            if isinstance(fault, PowerLoss):
                raise UnsupportedFaultError(f"the {engine} engine cuts no power; use the block engine")
            if isinstance(fault, Timed | Damaged):
                raise UnsupportedFaultError(f"the {engine} engine strikes crash points; use the timed engine")
            if isinstance(fault, Signal) and fault.at.phase != "after":
                raise UnsupportedFaultError("a signal needs a crash point of phase after")
            if isinstance(fault, Short) and fault.at.phase != "torn":
                raise UnsupportedFaultError("a short write needs a crash point of phase torn")
            if isinstance(fault, Errno) and fault.at.phase != "before":
                raise UnsupportedFaultError("an errno needs a crash point of phase before")
            self._waiting.append(fault)
        self.active = bool(self._waiting)
        self.struck_after: Kill | Signal | None = None
        """What strikes after the operation just recorded; the loop carries it out at this exit stop."""
        self._full = 0
        self._tree = start
        self._counter = PointCounter()

    def at_entry(self, op: AnyOperation, process: int, needs_space: bool, cuttable: int) -> Decision | None:
        """Return what to do with the call whose effect would be ``op``; ``None`` to let it run.

        ``cuttable`` is the number of bytes the call asks to write, 0 for a call that cannot be cut.
        """
        if self._full and needs_space:
            return Decision(None, errno=self._full)
        if not self._waiting or not is_strikeable(op):
            return None
        point = self._counter.peek(op.kind, operation_path(op, self._tree), f"p{process}")
        for fault in self._waiting:
            if not _same_place(fault.at, point):
                continue
            if isinstance(fault, Errno):
                return Decision(fault, errno=fault.errno)
            if fault.at.phase == "before":
                return Decision(fault)
            cut = fault.at.bytes if fault.at.bytes >= 0 else cuttable + fault.at.bytes
            if fault.at.phase == "torn" and 0 < cut < cuttable:
                return Decision(fault, cut=cut)
            if fault.at.phase == "torn" and fault.at.bytes == 0 and isinstance(fault, Kill):
                return Decision(fault)
        return None

    @property
    def strikes_after(self) -> bool:
        """Whether a fault waits that strikes when an operation is done."""
        return any(isinstance(fault, Kill | Signal) and fault.at.phase == "after" for fault in self._waiting)

    def delivered(self, fault: PointFault) -> None:
        """Note that a fault struck: it strikes once; what it leaves behind begins now."""
        self._waiting.remove(fault)
        if isinstance(fault, Errno) and fault.persistent:
            self._full = fault.errno
        elif isinstance(fault, Short):
            self._full = fault.then_errno
        self.active = bool(self._waiting or self._full)

    def observe(self, op: AnyOperation, actors: Sequence[Actor]) -> None:
        """Count a finished operation and bring the model tree up to date."""
        if is_strikeable(op) or isinstance(op, Ack):
            label = f"p{actors[op.actor].process}"
            point = self._counter.next(op.kind, operation_path(op, self._tree), label)
            for fault in self._waiting:
                if isinstance(fault, Kill | Signal) and fault.at.phase == "after" and _same_place(fault.at, point):
                    self.struck_after = fault
        try:
            self._tree = apply(self._tree, op)
        except (ReplayError, FileTooLargeError):
            return  # the verification of the recording reports it
