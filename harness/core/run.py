"""What an engine is asked to run, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from harness.core.derived import number
from harness.core.operation import AnyOperation
from harness.core.schedule import Scheduled
from harness.core.trace import Trace
from harness.core.tree import EMPTY_TREE, Tree

_SIGINT = 2
_SIGINT_EXIT = 130
"""What a program exits with that catches SIGINT and ends because of it."""

DEFAULT_ACK = r"^ACK (?P<id>\S+)"

NO_ACKNOWLEDGEMENT = (
    "no acknowledgement was seen: whether an update that was finished is lost again was not judged; print "
    "'ACK <id>' when something is saved"
)
"""What is said of a run that acknowledged nothing: its old version is as good as its new one at any moment."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one run. Passing one ends the run; it is then *inconclusive*, and says which bound it was."""

    timeout_s: float = 30.0
    output_bytes: int = 16 << 20
    processes: int = 256
    operations: int = 200_000
    state_bytes: int = 512 << 20


class ToolStep(msgspec.Struct, frozen=True, kw_only=True):
    """What the tool service waits for (``tool_start``) or says next, in order.

    ``duration_ms`` is how long the tool takes, at its start; ``result_bytes`` how many characters it says, when done.
    """

    do: Literal["tool_start", "tool_done", "new_message", "mode_switch", "escape", "ctrl_c"]
    tool_id: str = ""
    session: str = ""
    at: int = 0
    duration_ms: int = 0
    result_bytes: int = 0


class ToolPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The tools and interruptions of one run, as plain data; without steps, the service only passes on the exit.

    ``duration_ms`` is the range that the durations of its tools are drawn from.
    """

    seed: int = 0
    steps: tuple[ToolStep, ...] = ()
    exit: bool = False
    """Whether a target that is through its steps is asked to exit without anybody saying so."""
    duration_ms: tuple[int, int] = (0, 0)

    @property
    def ends_by_sigint(self) -> bool:
        """Whether the target is told to raise SIGINT in itself, so that dying of it is its normal end."""
        return any(step.do == "ctrl_c" for step in self.steps)

    def at_once(self) -> ToolPlan:
        """Return the plan with tools that take no time."""
        steps = tuple(msgspec.structs.replace(step, duration_ms=0) for step in self.steps)
        return msgspec.structs.replace(self, steps=steps)

    def redrawn(self, draw: int) -> ToolPlan:
        """Return the plan with other durations, drawn by ``draw``; 0 is the plan as it is.

        The tools of one turn are done in the order of the steps in every draw, so all draws leave the same records:
        what differs is how close to each other two of them end.
        """
        if not draw:
            return self
        order: dict[tuple[str, int], list[str]] = {}
        for step in sorted(self.steps, key=lambda step: step.do != "tool_done"):
            if step.tool_id and step.tool_id not in order.setdefault((step.session, step.at), []):
                order[step.session, step.at].append(step.tool_id)
        drawn: dict[str, int] = {}
        for names in order.values():
            durations = sorted(number(self.seed, f"{name} draw {draw}", *self.duration_ms) for name in names)
            drawn |= zip(names, durations, strict=True)
        steps = (
            msgspec.structs.replace(step, duration_ms=drawn[step.tool_id]) if step.do == "tool_start" else step
            for step in self.steps
        )
        return msgspec.structs.replace(self, steps=tuple(steps))


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """That a run may only be in full isolation, and what it needs there.

    ``shown``: directories that it reads, wherever they are; ``hidden``: directories that are to be empty for it.
    """

    shown: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a target, fully spelt out: an engine knows no manifest.

    ``root`` is the absolute, symlink-free path of the state directory, ``cwd`` an empty directory outside it.
    ``environment`` is complete: nothing is inherited. ``start`` is what ``root`` holds when the run begins;
    ``files`` are further files the run needs (a workload), by absolute path directly in the workspace's base.
    ``ack`` and ``arm`` are regular expressions over whole lines of standard output; ``ack`` needs a group
    ``id``; the first line that matches ``arm`` (the ``arm_times``-th, where several programs say it) starts the
    clock of a timed fault. ``tools`` are served beside the run
    by whoever starts the engine (:mod:`harness.services`), and so are further ``instances`` of the program on the same
    state, and ``readers`` of that state beside them, of which one more is ``listing``, where that is a
    program; engines know nothing of them. With ``isolation`` it is refused outside of a cell.
    """

    argv: tuple[str, ...]
    root: str
    cwd: str
    environment: Mapping[str, str]
    start: Tree = EMPTY_TREE
    files: Mapping[str, bytes] = {}
    ack: str = DEFAULT_ACK
    arm: str = ""
    arm_times: int = 1
    limits: Limits = Limits()
    tools: ToolPlan | None = None
    instances: int = 1
    isolation: Isolation | None = None
    readers: int = 0
    listing: tuple[str, ...] = ()


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """Proof that a fault struck: which operation, in which process, and what the call returned.

    ``signal`` is the signal that process died of, as its parent was told; ``None`` while it lived on or exited.
    """

    fault: str
    seq: int
    pid: int
    operation: AnyOperation | None = None
    returned: int | None = None
    at_us: int = 0
    signal: int | None = None


Ending = Literal["exited", "signalled", "timeout", "limit", "not-started"]


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One run as an engine saw it.

    ``trace`` is ``None`` for an engine that does not watch operations. ``final`` is the tree read from disk after
    the death of the last process. ``differences`` is empty when replaying the trace gives ``final``; otherwise
    the recording is *broken* and these lines say how. ``ending_detail`` explains timeouts and limits.
    """

    spec: RunSpec
    engine: str
    final: Tree
    ending: Ending
    trace: Trace | None = None
    exit_code: int | None = None
    signal: int | None = None
    pid: int = 0
    delivered: tuple[Delivered, ...] = ()
    acks: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    ending_detail: str = ""
    stdout_bytes: int = 0
    stdout_tail: bytes = b""
    stderr_tail: bytes = b""
    acks_buffered: bool = False
    armed_us: int | None = None
    scheduled: Scheduled | None = None
    """The decisions of a run under a schedule."""
    said_us: float | None = None
    """Microseconds from the start to its last word on standard output, where the engine looks at the clock then."""
    tail_us: float | None = None
    """How long it ran on after that."""
    reads: Mapping[str, tuple[bytes | None, ...]] = {}
    """What readers beside the run have read, by path; ``None``: there was no file."""
    listed: tuple[int, bytes] | None = None
    """The exit code of the lister beside the run, and what it printed."""
    why_cold: str = ""
    """Why the program was started anew by an engine that forks preloaded ones; empty where nobody asked for a fork."""
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    verify_ms: float = 0.0

    @property
    def ended_as_told(self) -> bool:
        """Whether the run ended by itself with success, or by the SIGINT that its last step is."""
        if self.ending == "exited" and not self.exit_code:
            return True
        told = self.spec.tools is not None and self.spec.tools.ends_by_sigint
        return told and (self.signal == _SIGINT or self.exit_code == _SIGINT_EXIT)
