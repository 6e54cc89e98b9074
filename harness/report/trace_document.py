"""What ``tornwrite trace --json`` prints as its ``result``."""

from __future__ import annotations

import msgspec

from harness.core.advice import Advice, Audit


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. ``at_ms`` counts from the start of the run, in milliseconds.

    ``durable_after`` maps a profile to the operation after whose return this one survives a power loss, -1 where that
    is not so by the end of the run; of an acknowledgement, from when on everything before it does. It has no entry for
    an operation that changes nothing.
    """

    seq: int
    at_ms: float
    actor: str
    kind: str
    path: str
    detail: str
    syscall: str
    failed: str
    durable_after: dict[str, int] = {}


class TraceResult(msgspec.Struct, frozen=True, kw_only=True):
    """The operations of one run, what the engine could not see of it, and whether replaying them gives the disk.

    ``audit`` and ``advice`` are there where they were asked for and the run can be built upon; ``…_text`` says them in
    sentences.
    """

    operations: tuple[TraceRow, ...]
    unseen: tuple[str, ...]
    exit_code: int | None
    signal: int | None
    verified: bool
    differences: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    audit: Audit | None = None
    advice: Advice | None = None
    audit_text: tuple[str, ...] = ()
    advice_text: tuple[str, ...] = ()
