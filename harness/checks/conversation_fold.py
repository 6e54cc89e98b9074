"""From the bytes of a transcript to its conversation, cheap for many contents that differ by little.

Lines are folded chunk by chunk and parsed once each; a conversation is built once per sequence of complete lines, and
the cuts of one write share it. A rewrite of the whole file costs one hash of its bytes.

A last line without its newline counts if it is a whole record: readers take it.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import NamedTuple

from harness.checks.conversation import Conversation, Record, record_of
from harness.checks.conversation_faults import ConversationFault, faults_of
from harness.checks.summary import Fold, line_digest, parse_json
from harness.core.content import Content

_MEMO_LIMIT = 1 << 14
_CLOSING_BRACE = 0x7D
_NOT_PARSED = object()


class Transcript(NamedTuple):
    """The records among the complete lines of a file. ``key`` stands for all its lines; ``offsets`` are per record."""

    records: tuple[Record, ...] = ()
    offsets: tuple[int, ...] = ()
    key: bytes = b""
    tail_start: int = 0


class Judged:
    """A transcript with its conversation, and what is wrong with it."""

    def __init__(self, transcript: Transcript) -> None:
        self.offsets = transcript.offsets
        self.conversation = Conversation(transcript.records)

    @cached_property
    def faults(self) -> tuple[ConversationFault, ...]:
        """What breaks a rule of graph or pairing, whatever the run promised."""
        return faults_of(self.conversation)


class TranscriptFold(Fold[Transcript]):
    """The records of the complete lines."""

    def __init__(self) -> None:
        super().__init__(Transcript())
        self._parsed: dict[bytes, Record | None] = {}
        self._added: dict[tuple[bytes, bytes], Transcript] = {}

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
        records, offsets = list(before.records), list(before.offsets)
        key, offset = before.key, before.tail_start
        for line in lines:
            digest = line_digest(line)
            key = hashlib.blake2b(key + digest, digest_size=16).digest()
            record = self.record(digest, line)
            if record is not None:
                records.append(record)
                offsets.append(offset)
            offset += len(line) + 1
        return Transcript(tuple(records), tuple(offsets), key, offset)

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
