"""What is wrong with a file that should be one JSON document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from harness.checks.explain.boundary import boundary_of, past_page, told
from harness.checks.explain.explanation import Seen
from harness.checks.explain.scan import Scan, scan
from harness.core.fault import PAGE_BYTES

BOM = b"\xef\xbb\xbf"
_NEAR_BYTES = 512
"""So far behind a page boundary a text may still read on as if nothing had happened."""
_TRIES = 8
"""Places where a second document may begin that are tried; keeps the work linear."""
_OPENING_BYTES = 8
_NOT_JSON = re.compile(rb"(?:undefined|True|False|None)\b|//|/\*|#|'")
_COMMA_TOO_MUCH = re.compile(rb",(\s*+[}\]])")
_NOT_NUMBERS = re.compile(rb"-?(?:NaN|Infinity)\b")


def document_damage(data: bytes) -> Iterator[Seen]:
    """Yield what is wrong with bytes that are no whole document; they hold no NUL."""
    found = scan(data)
    first = data.lstrip()[:1]
    if first == b"<":
        yield _own("misnamed", "the file begins as HTML or XML does, and is no JSON", 0, 0)
    elif found.state in ("broken", "followed") and first not in (b"{", b"[", BOM[:1]):
        what = f"the {len(data):,} bytes are no document, and do not begin like one: the end of a longer one, or a text"
        yield Seen(pattern="headless", what=what, size=len(data))
    elif found.state == "blank":
        yield Seen(
            pattern="empty", what=f"there is nothing but {len(data):,} bytes of white space", size=len(data)
        )
    elif found.state == "cut":
        seam = _second_start(data, found) if data.rstrip()[-1:] in (b"}", b"]") else 0
        yield _stub_before(data, seam) if seam else cut_at_end(data, found, "cut", "the document")
    elif found.state == "followed":
        yield from _followed(data, found.end)
    elif found.state == "broken":
        yield broken(data, found)


def cut_at_end(data: bytes, found: Scan, family: str, noun: str, start: int = 0, line: int = 0) -> Seen:
    """Return a cut: the bytes of ``data`` from ``start`` on are the beginning of something, and end."""
    size = len(data)
    place = boundary_of(size, start=start, between_tokens=not found.inside)
    within = (
        "within a character" if found.character else "within a token" if found.inside else "between two tokens"
    )
    return Seen(
        pattern=f"{family}/{place}",
        what=f"{noun} is cut at byte {size:,} ({told(size, start=start)}), {within}, {found.depth} "
        f"{'bracket' if found.depth == 1 else 'brackets'} open; nothing before that is damaged",
        offset=size,
        line=line,
    )


def _followed(data: bytes, end: int) -> Iterator[Seen]:
    """A whole document ends at ``end``, and something comes behind it."""
    documents, at = 1, end
    more = _next(data, at)
    while more is not None and more[1].state in ("whole", "followed") and documents <= _TRIES:
        documents += 1
        at = more[0] + more[1].end
        more = _next(data, at)
    if documents > 1:
        many = "more than " if documents > _TRIES else ""
        yield Seen(
            pattern="glued_documents",
            what=f"{many}{min(documents, _TRIES)} whole documents stand one behind the other; the second begins behind "
            f"byte {end:,}",
            offset=end,
            size=at - end,
        )
    if documents > _TRIES or (more is None and not data[at:].strip()):
        return
    if more is not None and more[1].state == "cut":
        yield cut_at_end(data, more[1], "cut", f"a document begins at byte {more[0]:,} and", start=more[0])
        return
    rest = len(data) - at
    closes = ", which closes what it did not open" if data.rstrip()[-1:] in (b"}", b"]") else ""
    yield Seen(
        pattern="old_tail",
        what=f"a whole document of {at:,} bytes ({told(at)}) is followed by {rest:,} bytes more{closes}: the end of "
        "something longer",
        offset=at,
        size=rest,
    )


def _next(data: bytes, at: int) -> tuple[int, Scan] | None:
    """Return where the next document begins and what it is; ``None`` where none begins."""
    while data[at : at + 1] in (b" ", b"\t", b"\n", b"\r"):
        at += 1
    if data[at : at + 1] not in (b"{", b"["):
        return None
    return at, scan(data[at:])


def broken(data: bytes, found: Scan, start: int = 0, line: int = 0) -> Seen:
    """Return what stands where bytes stop being JSON; ``data`` begins at offset ``start`` of its file."""
    at = start + found.end
    rest = data[found.end : found.end + 16]
    noun = f"line {line}" if line else "the document"
    if data.startswith(BOM) and not start:
        return _own(
            "encoding", f"{noun} begins with a byte order mark, which strict JSON does not allow", at, line
        )
    if _is_lenient(data, found.end):
        return _own(
            "not_strict", f"{noun} has a word or a mark at byte {at:,} that strict JSON does not have", at, line
        )
    if rest and rest[0] >= 0x80 and _is_latin(data):
        return _own(
            "encoding", f"{noun} is JSON in an 8-bit encoding, not in UTF-8 (first at byte {at:,})", at, line
        )
    seam = 0 if line else _second_start(data, found)
    if seam:
        return _stub_before(data, seam)
    page = at - at % PAGE_BYTES
    near = page > 0 and (page >= start + found.start or at - page <= _NEAR_BYTES)
    return Seen(
        pattern="mixed/page" if near else "mixed/later" if page > 0 else "mixed/early",
        what=f"{noun} stops being JSON at byte {at:,}, {past_page(at)}, and goes on for "
        f"{len(data) - found.end:,} bytes: halves of two versions, or of two writers",
        offset=at,
        line=line,
    )


def _is_lenient(data: bytes, end: int) -> bool:
    """Whether a lenient reader would go on at ``end``: a comment, a word of a language, NaN, a comma too much.

    Where halves of two versions meet, a comma may stand before a bracket too: then the rest is no JSON either.
    """
    if _NOT_JSON.match(data, end):
        return True
    if _NOT_NUMBERS.match(data, end):
        return scan(_NOT_NUMBERS.sub(b"0", data)).state == "whole"
    if data[end : end + 1] not in (b"}", b"]") or data[:end].rstrip()[-1:] != b",":
        return False
    return scan(_COMMA_TOO_MUCH.sub(rb"\1", data)).state == "whole"


def _stub_before(data: bytes, seam: int) -> Seen:
    place = boundary_of(seam, between_tokens=not scan(data[:seam]).inside)
    return Seen(
        pattern=f"glued/{place}",
        what=f"the document is cut at byte {seam:,} ({told(seam)}), and a whole one begins there",
        offset=seam,
    )


def _own(pattern: str, what: str, at: int, line: int) -> Seen:
    return Seen(pattern=pattern, what=what, offset=at, line=line)


def _is_latin(data: bytes) -> bool:
    return scan(data.decode("latin-1").encode("utf-8")).state == "whole"


def _second_start(data: bytes, found: Scan) -> int:
    """Return where a whole document begins behind the beginning of one; 0 if nowhere."""
    opening = data.lstrip()[:_OPENING_BYTES]
    at = data.find(opening, 1)
    for _ in range(_TRIES):
        if at < 0 or at > found.end:
            return 0
        if scan(data[at:]).state == "whole" and scan(data[:at]).state == "cut":
            return at
        at = data.find(opening, at + 1)
    return 0


class _Repeats:
    """Counts keys that stand twice in one object."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, pairs: list[tuple[str, Any]]) -> None:
        self.count += len(pairs) - len({key for key, _ in pairs})


def repeated_keys(data: bytes) -> int:
    """Return how many keys of a whole document stand twice in their object: a reader sees only the last."""
    repeats = _Repeats()
    try:
        json.loads(data, object_pairs_hook=repeats)
    except (ValueError, RecursionError):
        return 0
    return repeats.count
