"""Where an offset stands among the boundaries at which something can stop: what a cut's place says of its cause.

Sources: a kill ends a write only at a page of the file offset (:data:`harness.core.fault.PAGE_BYTES`); Node's
``fs.writeFile`` goes out in pieces of 512 KiB, its streams in 64 or 16 KiB; libc's and Python's buffers are 4 or 8
KiB; disks write sectors of 512 bytes.
"""

from __future__ import annotations

from typing import Literal

from harness.core.fault import PAGE_BYTES

SECTOR_BYTES = 512
Boundary = Literal["page", "block", "piece", "token", "inside"]

_NAMED = (
    (524288, "512 KiB, the piece of Node's writeFile"),
    (65536, "64 KiB, the piece of pipes and Node's streams"),
    (16384, "16 KiB, the piece of Node's streams"),
    (8192, "8 KiB, a stdio buffer"),
    (PAGE_BYTES, "4 KiB, a page"),
)


def boundary_of(offset: int, *, start: int = 0, between_tokens: bool = False) -> Boundary:
    """Return what stands at ``offset``.

    ``page``: a multiple of 4,096 of the file. ``piece``: so many bytes behind ``start``, where a write began.
    ``block``: a multiple of 512 of either. ``token``: none of these, but between two tokens of the format.
    """
    if offset % PAGE_BYTES == 0:
        return "page"
    length = offset - start
    if start and length and length % PAGE_BYTES == 0:
        return "piece"
    if offset % SECTOR_BYTES == 0:
        return "block"
    return "token" if between_tokens else "inside"


def told(offset: int, *, start: int = 0) -> str:
    """Return the evidence in words: which multiple ``offset`` is, or that it is none."""
    for size, name in _NAMED:
        if offset and offset % size == 0:
            return f"a multiple of {name}"
    length = offset - start
    for size, name in _NAMED:
        if start and length and length % size == 0:
            return f"{length:,} bytes behind the start of its record, a multiple of {name}"
    if offset and offset % SECTOR_BYTES == 0:
        return "a multiple of 512, a sector"
    return "not a multiple of 512"


def past_page(offset: int) -> str:
    """Return how far ``offset`` stands behind the page boundary before it, in words."""
    page = offset - offset % PAGE_BYTES
    if not page:
        return "no page boundary stands before it"
    return f"{offset - page:,} bytes behind the page boundary at {page:,}"
