"""The bytes of one file as an immutable, content-addressed chain of chunks.

A crash state differs from its neighbour by a few bytes, so a :class:`Content` is "an earlier content plus one
chunk": appending costs the chunk, not the file. The digest is that of the bytes alone, however they were cut
into chunks; two contents are equal exactly when their digests are.

Non-goals: sparse storage. A hole is a chunk of zeros, bounded by :data:`MAX_FILE_BYTES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

MAX_FILE_BYTES = 1 << 28
"""No modelled file grows past this size (256 MiB); beyond it a recording is refused, not truncated."""

_DIGEST_BYTES = 16


class FileTooLargeError(Exception):
    """A recorded operation would grow a file past :data:`MAX_FILE_BYTES`."""


class Content:
    """Immutable file content. Build from :data:`EMPTY` or :func:`content_of`; never call the constructor."""

    __slots__ = ("_hasher", "chunk", "digest", "prev", "size")

    def __init__(self, prev: Content | None, chunk: bytes) -> None:
        self.prev = prev
        self.chunk = chunk
        if prev is None:
            self.size = 0
            self._hasher = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        else:
            self.size = prev.size + len(chunk)
            self._hasher = prev._hasher.copy()
            self._hasher.update(chunk)
        self.digest: bytes = self._hasher.digest()

    def append(self, data: bytes) -> Content:
        """Return this content with ``data`` at its end."""
        if not data:
            return self
        if self.size + len(data) > MAX_FILE_BYTES:
            raise FileTooLargeError(f"a file would grow to {self.size + len(data)} bytes, limit {MAX_FILE_BYTES}")
        return Content(self, data)

    def write(self, offset: int, data: bytes) -> Content:
        """Return this content with ``data`` at byte ``offset``; a gap before it reads as zeros."""
        if not data:
            return self
        if offset == self.size:
            return self.append(data)
        if offset > self.size:
            return self.truncate(offset).append(data)
        tail = self.read(offset + len(data), self.size)
        return self.truncate(offset).append(data).append(tail)

    def truncate(self, size: int) -> Content:
        """Return this content cut, or extended with zeros, to ``size`` bytes."""
        if size == self.size:
            return self
        if size > self.size:
            if size > MAX_FILE_BYTES:
                raise FileTooLargeError(f"a file would grow to {size} bytes, limit {MAX_FILE_BYTES}")
            return self.append(bytes(size - self.size))
        node = self
        while node.prev is not None and node.prev.size >= size:
            node = node.prev
        return node if node.size == size else (node.prev or EMPTY).append(node.chunk[: size - node.size])

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes in ``[start, end)``; both are clipped to the content."""
        end = min(end, self.size)
        if start >= end:
            return b""
        parts: list[bytes] = []
        node: Content | None = self
        while node is not None and node.prev is not None and node.size > start:
            base = node.prev.size
            if base < end:
                parts.append(node.chunk[max(0, start - base) : end - base])
            node = node.prev
        parts.reverse()
        return b"".join(parts)

    def to_bytes(self) -> bytes:
        """Return the whole content."""
        return self.read(0, self.size)

    def chain(self) -> Iterator[Content]:
        """Yield this content and its prefixes, longest first, down to and including the empty one."""
        node: Content | None = self
        while node is not None:
            yield node
            node = node.prev

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and other.size == self.size and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Content({self.size} bytes, {self.digest.hex()[:8]})"

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return content_of, (self.to_bytes(),)


EMPTY = Content(None, b"")


def content_of(data: bytes) -> Content:
    """Return ``data`` as a content of one chunk."""
    return EMPTY.append(data)
