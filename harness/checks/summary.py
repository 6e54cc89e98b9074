"""What a file's bytes amount to, folded chunk by chunk along the chain of its content.

A crash state differs from its neighbour by one chunk, so a fold is memoised by content digest and fed only what
was added. A fold depends on the bytes alone, never on how they were cut into chunks. Lines end at ``\\n`` and
nowhere else: U+2028 is legal inside a JSON string.

Non-goals: expectations. What *should* be in the file is :mod:`harness.checks.expectation`.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import msgspec

from harness.checks.lister import HEAD_BYTES, Shown, shown_by_line
from harness.core.content import Content
from harness.core.verdict import Damage

_LONG_NUMBER = 4000
_MEMO_LIMIT = 1 << 16
_PROBLEM_LIMIT = 16
"""Problems kept per file; a file with more is broken enough."""

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_decode = msgspec.json.Decoder().decode

SummaryT = TypeVar("SummaryT")


class Fold(ABC, Generic[SummaryT]):
    """A left fold over the chunks of a content, memoised by digest."""

    def __init__(self, empty: SummaryT) -> None:
        self._empty = empty
        self._memo: dict[bytes, SummaryT] = {}

    @abstractmethod
    def feed(self, before: SummaryT, content: Content) -> SummaryT:
        """Return the summary of ``content``, given that of ``content.prev``; ``content.chunk`` was added."""

    def of(self, content: Content) -> SummaryT:
        """Return the summary of the whole content."""
        memo = self._memo
        found = memo.get(content.digest)
        if found is not None:
            return found
        pending: list[Content] = []
        node = content
        while node.prev is not None and node.digest not in memo:
            pending.append(node)
            node = node.prev
        summary = self._empty if node.prev is None else memo[node.digest]
        if len(memo) > _MEMO_LIMIT:
            memo.clear()
        for step in reversed(pending):
            summary = memo[step.digest] = self.feed(summary, step)
        return summary


class Problem(NamedTuple):
    """What is wrong with one complete line: which invariant it breaks, where, and how, without quoting it."""

    invariant: str
    line: int
    offset: int
    what: str
    damage: Damage


class Lines(NamedTuple):
    """The complete lines of a record file: their number, their problems, where the tail after them begins.

    ``nul_at`` is the offset of the first NUL byte of the file, or -1. ``session_ids`` are the distinct values of
    ``sessionId``. ``shown`` is what a lister of heads and tails makes of these lines, as far as they alone decide
    (transcripts). The tail itself is not held: it is ``content.read(tail_start, content.size)``.
    """

    complete: int = 0
    tail_start: int = 0
    nul_at: int = -1
    problems: tuple[Problem, ...] = ()
    session_ids: frozenset[str] = frozenset()
    shown: Shown = "unknown"


NO_LINES = Lines()


class LineFold(Fold[Lines]):
    """Summarise a record file. ``parse``: records are JSON; ``transcript``: they are a conversation's."""

    def __init__(self, *, parse: bool, transcript: bool = False) -> None:
        super().__init__(NO_LINES)
        self._parse = parse
        self._transcript = transcript

    def feed(self, before: Lines, content: Content) -> Lines:
        """Add one chunk. A chunk without a newline or NUL leaves the summary of the complete lines as it was."""
        chunk = content.chunk
        base = content.size - len(chunk)
        if before.nul_at < 0 and 0 in chunk:
            before = before._replace(nul_at=base + chunk.index(0))
        end = chunk.rfind(10)
        if end < 0:
            return before
        if before.tail_start == base:
            lines = chunk[:end].split(b"\n")
        else:
            first_end = chunk.index(10)
            lines = [content.read(before.tail_start, base + first_end)]
            lines += chunk[first_end + 1 : end].split(b"\n") if end > first_end else []
        return self._add_lines(before, lines)

    def _add_lines(self, before: Lines, lines: list[bytes]) -> Lines:
        problems, offset = list(before.problems), before.tail_start
        session_ids, shown = before.session_ids, before.shown
        for number, line in enumerate(lines, before.complete + 1):
            found, session_id = line_problems(line, parse=self._parse, transcript=self._transcript)
            if found and len(problems) < _PROBLEM_LIMIT:
                problems += [Problem(which, number, offset, what, damage) for which, what, damage in found]
            if session_id is not None and session_id not in session_ids:
                session_ids = session_ids | {session_id}
            if self._transcript and shown == "unknown" and offset + len(line) <= HEAD_BYTES:
                shown = shown_by_line(line, first=number == 1)
            offset += len(line) + 1
        complete = before.complete + len(lines)
        return Lines(complete, offset, before.nul_at, tuple(problems[:_PROBLEM_LIMIT]), session_ids, shown)


class NulFold(Fold[int]):
    """The offset of the first NUL byte, or -1."""

    def __init__(self) -> None:
        super().__init__(-1)

    def feed(self, before: int, content: Content) -> int:
        """Look at one chunk."""
        if before >= 0:
            return before
        at = content.chunk.find(0)
        return at if at < 0 else content.size - len(content.chunk) + at


class PrefixFold(Fold[tuple[int, ...]]):
    """Which of some known byte strings the content is a prefix of, by index."""

    def __init__(self, known: tuple[bytes, ...]) -> None:
        super().__init__(tuple(range(len(known))))
        self._known = known

    def feed(self, before: tuple[int, ...], content: Content) -> tuple[int, ...]:
        """Compare one chunk."""
        chunk = content.chunk
        base = content.size - len(chunk)
        for index in before:
            if not self._known[index].startswith(chunk, base):
                return tuple(which for which in before if self._known[which].startswith(chunk, base))
        return before


class DigestFold(Fold[tuple[bytes, ...]]):
    """The digests of the complete lines, each line passed through ``mask`` first."""

    def __init__(self, mask: Callable[[bytes], bytes] | None) -> None:
        super().__init__(())
        self._mask = mask

    def feed(self, before: tuple[bytes, ...], content: Content) -> tuple[bytes, ...]:
        """Add the lines that this chunk completes."""
        chunk = content.chunk
        end = chunk.rfind(10)
        if end < 0:
            return before
        base = content.size - len(chunk)
        start = self._line_start(content)
        data = content.read(start, base) + chunk[:end] if start < base else chunk[:end]
        mask = self._mask
        return before + tuple(line_digest(mask(line) if mask else line) for line in data.split(b"\n"))

    @staticmethod
    def _line_start(content: Content) -> int:
        """Return where the line begins that this chunk goes on with."""
        node = content.prev
        while node is not None and node.prev is not None:
            at = node.chunk.rfind(10)
            if at >= 0:
                return node.size - len(node.chunk) + at + 1
            node = node.prev
        return 0


def line_digest(line: bytes) -> bytes:
    """Return the 16 bytes that stand for a line."""
    return hashlib.blake2b(line, digest_size=16).digest()


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _number(digits: str) -> int | float:
    # JSON knows no largest number; Python refuses to convert very long ones to int.
    return int(digits) if len(digits) < _LONG_NUMBER else float(digits)


def is_json(data: bytes) -> bool:
    """Whether ``data`` is strict JSON, of whatever kind."""
    try:
        parse_json(data)
    except ValueError:
        return False
    return True


def parse_json(data: bytes) -> Any:
    """Parse strict JSON (no NaN, no trailing bytes). Raises ``ValueError``, whatever is wrong.

    Unpaired surrogate escapes are accepted here: JSON's grammar allows them, and B4 names them.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_not_json, parse_int=_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def object_in(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object that bytes are, or ``None`` where they are none."""
    try:
        value = parse_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def line_problems(
    line: bytes, *, parse: bool, transcript: bool
) -> tuple[list[tuple[str, str, Damage]], str | None]:
    """Return what is wrong with one line, as (invariant, what, damage), and its ``sessionId`` if it has one."""
    found: list[tuple[str, str, Damage]] = []
    if not parse:
        return found, None
    utf8 = True
    if not line.isascii():
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            utf8 = False
            found.append(("B4", f"is not UTF-8 at byte {error.start} of the line", "torn"))
    try:
        record = parse_json(line) if utf8 else None
    except ValueError:
        record = None
    if not isinstance(record, dict):
        damage: Damage = "nul" if 0 in line else "torn"
        found.append(("B2", f"of {len(line)} bytes is not one JSON object", damage))
        return found, None
    if _SURROGATE_ESCAPE.search(line) and _has_lone_surrogate(line):
        found.append(("B4", "has an unpaired surrogate escape", "other"))
    missing = _missing_fields(record) if transcript else []
    if missing:
        found.append(("B8", f"of type {record['type']} lacks {', '.join(missing)}", "other"))
    session_id = record.get("sessionId")
    return found, session_id if isinstance(session_id, str) else None


def _has_lone_surrogate(line: bytes) -> bool:
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _missing_fields(record: dict[str, Any]) -> list[str]:
    kind = record.get("type")
    fields = TRANSCRIPT_FIELDS.get(kind, ()) if isinstance(kind, str) else ()
    missing = [name for name in fields if name not in record]
    if "message" in fields and "message" in record and not isinstance(record["message"], dict):
        missing.append("an object as message")
    return missing


TRANSCRIPT_FIELDS: Mapping[str, tuple[str, ...]] = {
    "user": ("uuid", "parentUuid", "sessionId", "timestamp", "message"),
    "assistant": ("uuid", "parentUuid", "sessionId", "timestamp", "message"),
    "system": ("uuid", "sessionId"),
    "progress": ("uuid", "parentUuid", "data"),
    "attachment": ("uuid", "parentUuid", "attachment"),
    "summary": ("summary", "leafUuid"),
    "file-history-snapshot": ("messageId", "snapshot"),
    "queue-operation": ("operation",),
    "custom-title": ("customTitle", "sessionId"),
    "tag": ("tag", "sessionId"),
}
"""Required fields of the transcript's record types; other types and further fields are legal."""
