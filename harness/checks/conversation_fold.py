"""From the bytes of a transcript to its conversation, cheap for many contents that differ by little.

Lines are folded chunk by chunk and parsed once each; what a sequence of complete lines amounts to is worked out once,
and the cuts of one write share it. A rewrite of the whole file costs hashes of its bytes. One more record on a
conversation in order costs that record; the conversation itself is built only for who asks for it.

A last line without its newline counts if it is a whole record: readers take it.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

from harness.checks.conversation import Conversation, Record, record_of
from harness.checks.conversation_faults import ConversationFault, faults_of
from harness.checks.conversation_growth import Growth, grown, new_growth
from harness.checks.summary import Fold, line_digest, parse_json
from harness.core.content import Content

_MEMO_LIMIT = 1 << 14
_CLOSING_BRACE = 0x7D
_NOT_PARSED = object()


class Transcript:
    """The complete lines of a file up to one of them. ``key`` stands for them all, ``before`` is one line less.

    ``record`` is what the last line is to the conversation, ``count`` how many records there are. ``growth`` is
    ``None`` where the conversation is not plainly in order.
    """

    __slots__ = ("before", "count", "growth", "key", "offset", "record", "tail_start")

    def __init__(self, before: Transcript | None, record: Record | None, size: int, key: bytes) -> None:
        self.before = before
        self.record = record
        self.key = key
        self.offset: int = before.tail_start if before is not None else 0
        self.tail_start: int = self.offset + size
        count: int = before.count if before is not None else 0
        growth = before.growth if before is not None else new_growth()
        if record is not None and growth is not None:
            growth = grown(growth, record, count)
        self.growth: Growth | None = growth
        self.count: int = count + (record is not None)

    def records(self) -> tuple[tuple[Record, ...], tuple[int, ...]]:
        """Return the records and the offsets of their lines."""
        records: list[Record] = []
        offsets: list[int] = []
        node: Transcript | None = self
        while node is not None:
            if node.record is not None:
                records.append(node.record)
                offsets.append(node.offset)
            node = node.before
        return tuple(reversed(records)), tuple(reversed(offsets))


class Judged:
    """A transcript with its conversation, and what is wrong with it.

    ``in_order``: plainly nothing but perhaps an open turn, and every record is reached.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self.in_order = transcript.growth is not None

    @cached_property
    def _records(self) -> tuple[tuple[Record, ...], tuple[int, ...]]:
        return self._transcript.records()

    @cached_property
    def conversation(self) -> Conversation:
        """The conversation, built when it is first asked for."""
        return Conversation(self._records[0])

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the line of each record begins."""
        return self._records[1]

    @property
    def thinks(self) -> bool:
        """Whether the latest answer may have thinking in it."""
        growth = self._transcript.growth
        return growth is None or growth.thoughts

    @cached_property
    def faults(self) -> tuple[ConversationFault, ...]:
        """What breaks a rule of graph or pairing, whatever the run promised."""
        growth = self._transcript.growth
        if growth is None:
            return faults_of(self.conversation)
        waiting = growth.open_turn()
        return () if waiting is None else (ConversationFault("T1", "rejected", *waiting, open=True),)


class TranscriptFold(Fold[Transcript]):
    """The records of the complete lines."""

    def __init__(self) -> None:
        super().__init__(Transcript(None, None, 0, b""))
        self._parsed: dict[bytes, Record | None] = {}
        self._added: dict[tuple[bytes, bytes], Transcript] = {}
        self._known: dict[bytes, Transcript] = {}

    def feed(self, before: Transcript, content: Content) -> Transcript:
        """Add the lines that this chunk completes."""
        end = content.chunk.rfind(10)
        if end < 0:
            return before
        data = content.read(before.tail_start, content.size - len(content.chunk) + end)
        name = before.key, line_digest(data)
        found = self._added.get(name)
        if found is None:
            if len(self._added) > _MEMO_LIMIT:
                self._added.clear()
            found = self._added[name] = self.add(before, data.split(b"\n"))
        return found

    def add(self, before: Transcript, lines: list[bytes]) -> Transcript:
        """Return the transcript with these lines at its end."""
        if len(self._known) > _MEMO_LIMIT:
            self._known.clear()
        for line in lines:
            digest = line_digest(line)
            key = hashlib.blake2b(before.key + digest, digest_size=16).digest()
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = Transcript(before, self.record(digest, line), len(line) + 1, key)
            before = found
        return before

    def record(self, digest: bytes, line: bytes) -> Record | None:
        """Return what a line is to the conversation; what is no JSON object is nothing."""
        found = self._parsed.get(digest, _NOT_PARSED)
        if found is _NOT_PARSED:
            if len(self._parsed) > _MEMO_LIMIT:
                self._parsed.clear()
            try:
                value = parse_json(line)
            except ValueError:
                value = None
            found = self._parsed[digest] = record_of(value) if isinstance(value, dict) else None
        return found  # type: ignore[return-value]


class Conversations:
    """The conversations of contents, each built once."""

    def __init__(self) -> None:
        self._fold = TranscriptFold()
        self._judged: dict[bytes, Judged] = {}

    def of(self, content: Content) -> Judged:
        """Return the conversation of a transcript's content."""
        transcript = self._fold.of(content)
        if content.size > transcript.tail_start and content.chunk[-1] == _CLOSING_BRACE:
            tail = content.read(transcript.tail_start, content.size)
            if self._fold.record(line_digest(tail), tail) is not None:
                transcript = self._fold.add(transcript, [tail])
        found = self._judged.get(transcript.key)
        if found is None:
            if len(self._judged) > _MEMO_LIMIT:
                self._judged.clear()
            found = self._judged[transcript.key] = Judged(transcript)
        return found
