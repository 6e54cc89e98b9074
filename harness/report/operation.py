"""One operation in words, for a line of a list. Pure; what a target named is not yet escaped here."""

from __future__ import annotations

from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    MakeNode,
    Map,
    Open,
    Outside,
    Rename,
    SetMode,
    SetTimes,
    Sync,
    Truncate,
    Write,
)


def operation_detail(op: AnyOperation) -> str:
    """Return what a line says of an operation beyond its kind and path."""
    if isinstance(op, Open):
        words = [
            word for word, on in (("create", op.created), ("truncate", op.truncated), ("append", op.append)) if on
        ]
        return " ".join(words)
    if isinstance(op, Write):
        short = f" of {len(op.requested)}" if op.requested else ""
        return f"{len(op.data)} bytes{short} at {op.offset}"
    if isinstance(op, Truncate):
        return f"to {op.size} bytes"
    if isinstance(op, Rename):
        return ("exchange with " if op.exchange else "from ") + op.path
    if isinstance(op, Link | MakeNode):
        return f"mode {op.mode:o}"
    if isinstance(op, SetMode):
        return f"to {op.mode:o}"
    if isinstance(op, SetTimes):
        return "to now" if op.mtime_ns is None else f"to {op.mtime_ns} ns"
    if isinstance(op, Sync):
        return op.scope
    if isinstance(op, Close):
        return "" if op.writers_left == 0 else f"{op.writers_left} descriptors still open"
    if isinstance(op, Map):
        return op.what
    if isinstance(op, Ack):
        return op.id
    return "not seen further" if isinstance(op, Outside) else ""
