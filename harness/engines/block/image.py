"""The content of a small disk as a value: blocks that are not all zero, by number.

Pure. An image is never changed; :meth:`Image.after` gives the one that some writes lead to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

BLOCK_BYTES = 4096
_ZEROES = bytes(BLOCK_BYTES)


class Image:
    """A disk of ``size`` bytes. ``blocks`` maps block numbers to :data:`BLOCK_BYTES` bytes; the others are zero."""

    __slots__ = ("blocks", "size")

    def __init__(self, size: int, blocks: Mapping[int, bytes]) -> None:
        self.size = size
        self.blocks = blocks

    @classmethod
    def of_data(cls, size: int, parts: Iterable[tuple[int, bytes]]) -> Image:
        """Return the disk that holds ``parts`` (offset, bytes) and is zero elsewhere."""
        return cls(size, {}).after(parts)

    def after(self, writes: Iterable[tuple[int, bytes]]) -> Image:
        """Return this disk after ``writes`` (offset, bytes) in their order. Raises ``ValueError`` past the end."""
        blocks = dict(self.blocks)
        for offset, data in writes:
            if offset < 0 or offset + len(data) > self.size:
                raise ValueError(f"{len(data)} bytes at {offset} do not fit into a disk of {self.size} bytes")
            position = 0
            while position < len(data):
                number, within = divmod(offset + position, BLOCK_BYTES)
                length = min(BLOCK_BYTES - within, len(data) - position)
                piece = bytes(data[position : position + length])
                if length < BLOCK_BYTES:
                    old = blocks.get(number, _ZEROES)
                    piece = old[:within] + piece + old[within + length :]
                if piece == _ZEROES:
                    blocks.pop(number, None)
                else:
                    blocks[number] = piece
                position += length
        return Image(self.size, blocks)

    def extents(self) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of each run of neighbouring blocks that are not all zero, in order."""
        run: list[bytes] = []
        begin = previous = -2
        for number in sorted(self.blocks):
            if number != previous + 1:
                if run:
                    yield begin * BLOCK_BYTES, b"".join(run)
                run, begin = [], number
            run.append(self.blocks[number])
            previous = number
        if run:
            yield begin * BLOCK_BYTES, b"".join(run)

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``."""
        first, last = offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES)
        whole = b"".join(self.blocks.get(number, _ZEROES) for number in range(first, last))
        return whole[offset - first * BLOCK_BYTES :][:length]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and (self.size, self.blocks) == (other.size, other.blocks)

    def __hash__(self) -> int:
        return hash((self.size, frozenset(self.blocks.items())))
