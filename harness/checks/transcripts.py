"""What the complete records of a transcript say of it as a whole: its titles, its newest time, how many messages."""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.checks.documents import time_ms
from harness.checks.summary import Fold, SummaryT, object_in
from harness.core.content import Content


class _RecordFold(Fold[SummaryT]):
    """A fold over the complete lines of a transcript that are objects; what does not parse is left out.

    ``mark``: bytes without which a line has nothing to say.
    """

    mark = b""

    def feed(self, before: SummaryT, content: Content) -> SummaryT:
        """Add the lines that this chunk completes."""
        chunk = content.chunk
        end = chunk.rfind(10)
        if end < 0:
            return before
        base = content.size - len(chunk)
        start = _line_start(content)
        data = content.read(start, base) + chunk[:end] if start < base else chunk[:end]
        for line in data.split(b"\n"):
            if self.mark in line:
                record = object_in(line)
                if record is not None:
                    before = self.add(before, record)
        return before

    def add(self, before: SummaryT, record: dict[str, Any]) -> SummaryT:
        """Return the summary with one more record."""
        raise NotImplementedError


def _line_start(content: Content) -> int:
    node = content.prev
    while node is not None and node.prev is not None:
        at = node.chunk.rfind(10)
        if at >= 0:
            return node.size - len(node.chunk) + at + 1
        node = node.prev
    return 0


class _Titles(_RecordFold[tuple[str, ...]]):
    mark = b"custom-title"

    def add(self, before: tuple[str, ...], record: dict[str, Any]) -> tuple[str, ...]:
        title = record.get("customTitle")
        return (*before, title) if record.get("type") == "custom-title" and isinstance(title, str) else before


class Saved(NamedTuple):
    """A record of a transcript and its time, -1 without one; ``before`` it stand the others."""

    name: str
    time_ms: int
    before: Saved | None


class _SavedRecords(_RecordFold[Saved | None]):
    mark = b'"uuid"'

    def add(self, before: Saved | None, record: dict[str, Any]) -> Saved | None:
        name = record.get("uuid")
        return Saved(name, time_ms(record.get("timestamp")), before) if isinstance(name, str) else before


class _EndsUntimed(_RecordFold[bool]):
    def add(self, before: bool, record: dict[str, Any]) -> bool:
        return time_ms(record.get("timestamp")) < 0


class _Newest(_RecordFold[int]):
    mark = b'"timestamp"'

    def add(self, before: int, record: dict[str, Any]) -> int:
        return max(before, time_ms(record.get("timestamp")))


class _Messages(_RecordFold[int]):
    mark = b'"message"'

    def add(self, before: int, record: dict[str, Any]) -> int:
        return before + (record.get("type") in ("user", "assistant") and not record.get("isSidechain"))


TITLES = _Titles(())
"""The custom titles of a transcript, in order, by a strict parse of its complete lines."""
SAVED = _SavedRecords(None)
"""The last complete record of a transcript that has a uuid, and through it those before."""
ENDS_UNTIMED = _EndsUntimed(False)
"""Whether the last complete record of a transcript has no time (a title, say): the file is younger than its records."""
NEWEST = _Newest(-1)
"""The newest ``timestamp`` of a transcript's complete records in milliseconds, or -1."""
MESSAGES = _Messages(0)
"""How many messages of the main conversation a transcript's complete records are."""
