"""What a recorded disk was asked to do, in order: writes, flushes and the marks that the recorder put between.

Pure. The encoded form is a stream of headers and data, so the server appends to it and whatever was appended
before its death can be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

_HEADER = struct.Struct("<cxxxIq")  # kind, length, offset or mark

START = -1
"""The mark at which the start tree is durable and the writer not yet started."""

END = -2
"""The mark after the writer's end and the last commit."""


class DiskWrite(NamedTuple):
    """``data`` was written at byte ``offset`` and the write reported as done."""

    offset: int
    data: bytes


class Flush(NamedTuple):
    """Every write before it in the log is on stable storage."""


class Mark(NamedTuple):
    """``done`` operations of the writer were done; or it is :data:`START` or :data:`END`."""

    done: int


class Failure(NamedTuple):
    """The server ended because of this."""

    reason: str


DiskEvent: TypeAlias = DiskWrite | Flush | Mark | Failure


def encode(event: DiskEvent) -> bytes:
    """Return one event as bytes."""
    if isinstance(event, DiskWrite):
        return _HEADER.pack(b"w", len(event.data), event.offset) + event.data
    if isinstance(event, Flush):
        return _HEADER.pack(b"f", 0, 0)
    if isinstance(event, Mark):
        return _HEADER.pack(b"m", 0, event.done)
    raw = event.reason.encode("utf-8", "replace")
    return _HEADER.pack(b"x", len(raw), 0) + raw


def decode(raw: bytes) -> Iterator[DiskEvent]:
    """Yield the events of ``raw``; one that is cut at its end (its server was killed) is left out."""
    position = 0
    while position + _HEADER.size <= len(raw):
        kind, length, number = _HEADER.unpack_from(raw, position)
        position += _HEADER.size
        data = raw[position : position + length]
        position += length
        if len(data) < length:
            return
        if kind == b"w":
            yield DiskWrite(number, data)
        elif kind == b"f":
            yield Flush()
        elif kind == b"m":
            yield Mark(number)
        elif kind == b"x":
            yield Failure(data.decode())
        else:
            raise ValueError(f"not a disk log: kind {kind!r} at byte {position}")
