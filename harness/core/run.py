"""What an engine is asked to run, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from harness.core.operation import AnyOperation
from harness.core.trace import Trace
from harness.core.tree import EMPTY_TREE, Tree

DEFAULT_ACK = r"^ACK (?P<id>\S+)"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one run. Passing one ends the run; it is then *inconclusive*, and says which bound it was."""

    timeout_s: float = 30.0
    output_bytes: int = 16 << 20
    processes: int = 256
    operations: int = 200_000
    state_bytes: int = 512 << 20


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a target, fully spelt out: an engine knows no manifest.

    ``root`` is the absolute, symlink-free path of the state directory, ``cwd`` an empty directory outside it.
    ``environment`` is complete: nothing is inherited. ``start`` is what ``root`` holds when the run begins;
    ``files`` are further files the run needs (a workload), by absolute path directly in the workspace's base.
    ``ack`` and ``arm`` are regular expressions over whole lines of standard output; ``ack`` needs a group
    ``id``; the first line that matches ``arm`` starts the clock of a timed fault.
    """

    argv: tuple[str, ...]
    root: str
    cwd: str
    environment: Mapping[str, str]
    start: Tree = EMPTY_TREE
    files: Mapping[str, bytes] = {}
    ack: str = DEFAULT_ACK
    arm: str = ""
    limits: Limits = Limits()


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
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    verify_ms: float = 0.0
