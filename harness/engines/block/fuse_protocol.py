"""The part of the FUSE protocol (7.23 and newer) that a file system with one file needs.

Requests come from ``/dev/fuse`` as bytes and answers go back as bytes; nothing here does I/O. The layouts are those
of ``linux/fuse.h``.
"""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, OPENDIR, RELEASEDIR = 18, 20, 25, 26, 27, 29
INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE = 36, 38, 42, 43

UNANSWERED = frozenset((FORGET, BATCH_FORGET, INTERRUPT))
EMPTY_ANSWER = frozenset((RELEASE, FLUSH, RELEASEDIR, DESTROY))

ROOT_NODE, DISK_NODE = 1, 2
MAX_WRITE_BYTES = 1 << 20
REQUEST_BYTES = MAX_WRITE_BYTES + 4096
"""Size of the buffer that any request fits into."""

_MAJOR, _MOST_MINOR = 7, 38
_ASYNC_READ, _BIG_WRITES, _ASYNC_DIO, _MAX_PAGES = 1, 1 << 5, 1 << 15, 1 << 22
_IN_FLIGHT = 256
_FOREVER_S = 3600

_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_RANGE = struct.Struct("<QQI")
_ATTRIBUTES = struct.Struct("<6Q10I")
_INIT_OUT = struct.Struct("<IIIIHHIIHHIIHH5I")


class Request(NamedTuple):
    """One request: ``opcode``, the number that its answer must carry, the inode, and the rest undecoded."""

    opcode: int
    unique: int
    node: int
    body: bytes


def request(raw: bytes) -> Request:
    """Decode one message of the kernel."""
    _, opcode, unique, node, *_ = _IN.unpack_from(raw)
    return Request(opcode, unique, node, raw[_IN.size :])


def extent(body: bytes) -> tuple[int, int]:
    """Return (offset, length) of a READ or WRITE."""
    _, offset, length = _RANGE.unpack_from(body)
    return offset, length


def payload(body: bytes, length: int) -> bytes:
    """Return the data of a WRITE."""
    return body[40 : 40 + length]


def answer(unique: int, data: bytes = b"", error: int = 0) -> bytes:
    """Return the answer to the request ``unique``; ``error`` is an errno or 0."""
    return _OUT.pack(_OUT.size + len(data), -error, unique) + data


def _attributes(node: int, size: int) -> bytes:
    length = 0 if node == ROOT_NODE else size
    mode = 0o40700 if node == ROOT_NODE else 0o100600
    return _ATTRIBUTES.pack(node, length, length // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer_init(body: bytes) -> bytes:
    """Accept the connection: large writes, and many of them in flight at once (loop devices use direct I/O)."""
    _, minor, read_ahead, offered = struct.unpack_from("<IIII", body)
    flags = offered & (_ASYNC_READ | _BIG_WRITES | _ASYNC_DIO | _MAX_PAGES)
    return _INIT_OUT.pack(
        *(_MAJOR, min(minor, _MOST_MINOR), read_ahead, flags, _IN_FLIGHT, _IN_FLIGHT * 3 // 4, MAX_WRITE_BYTES, 1),
        *(MAX_WRITE_BYTES // 4096, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    )


def answer_simple(asked: Request, name: bytes, size: int) -> tuple[bytes, int]:
    """Return (data, errno) for whatever neither reads nor writes the disk called ``name``."""
    if asked.opcode == LOOKUP:
        if asked.body.rstrip(b"\0") != name:
            return b"", errno.ENOENT
        entry = struct.pack("<QQQQII", DISK_NODE, 0, _FOREVER_S, _FOREVER_S, 0, 0)
        return entry + _attributes(DISK_NODE, size), 0
    if asked.opcode in (GETATTR, SETATTR):
        return struct.pack("<QII", _FOREVER_S, 0, 0) + _attributes(asked.node, size), 0
    if asked.opcode in (OPEN, OPENDIR):
        return struct.pack("<QII", 1, 0, 0), 0
    if asked.opcode == STATFS:
        return struct.pack("<5Q4I6I", 1, 0, 0, 2, 0, 4096, 255, 4096, 0, *[0] * 6), 0
    if asked.opcode in EMPTY_ANSWER:
        return b"", 0
    return b"", errno.EOPNOTSUPP if asked.opcode == FALLOCATE else errno.ENOSYS


def write_answer(length: int) -> bytes:
    """Return the data of the answer to a WRITE of ``length`` bytes."""
    return struct.pack("<II", length, 0)
