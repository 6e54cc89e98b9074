"""What is wrong with a file of one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from harness.checks.explain.boundary import boundary_of, told
from harness.checks.explain.document import BOM, broken
from harness.checks.explain.explanation import Seen
from harness.checks.explain.scan import Scan, scan
from harness.checks.summary import parse_json

_OPENING_BYTES = 12
_TRIES = 8
"""Places in a line where another record may begin that are tried; keeps the work linear."""
_BAD_LINES = 4096
"""So many lines that are no records are looked at, and the last one; a file with more is broken enough."""
_LINES_APART = 3
"""So many bad lines after a stub are tried as its rest."""


class Line(NamedTuple):
    """A line that is no record. ``last``: no newline ends it. ``stub``: as many of its bytes begin a record."""

    number: int
    offset: int
    data: bytes
    last: bool
    stub: int = 0
    headless: bool = False


class Records(NamedTuple):
    """The lines of a file: those that are records, with their line numbers, and what is wrong with others.

    ``more``: so many lines are none and were not looked at. ``whole_tail``: the last line is a whole record
    without its newline.
    """

    values: list[dict[str, Any]]
    numbers: list[int]
    seen: tuple[Seen, ...]
    more: int = 0
    whole_tail: bool = False


def read_records(data: bytes) -> Records:
    """Judge each line of ``data``. Lines with a NUL are left to :mod:`harness.checks.explain.nuls`."""
    values: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[Line] = []
    opening = b""
    blank_after: set[int] = set()
    more = 0
    whole_tail = False
    for number, (at, line, last) in enumerate(_lines(data), 1):
        value = _object(line)
        if value is not None:
            opening = opening or line[:_OPENING_BYTES]
            values.append(value)
            numbers.append(number)
            whole_tail = last
        elif not line.strip():
            if bad and bad[-1].number == number - 1:
                blank_after.add(number - 1)
        elif 0 not in line:
            if last or len(bad) < _BAD_LINES:
                bad.append(Line(number, at, line, last))
            else:
                more += 1
    return Records(values, numbers, tuple(_damage(bad, opening, blank_after)), more, whole_tail)


def _lines(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield offset, bytes and "no newline behind it" of each line; a list of all would cost more than the file."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        last = end < 0
        yield at, data[at:] if last else data[at:end], last
        at = len(data) if last else end + 1


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.rstrip().endswith(b"}"):
        return None  # saves the parse of a torn line
    try:
        value = parse_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _damage(bad: Sequence[Line], opening: bytes, blank_after: set[int]) -> Iterator[Seen]:
    looked = [(line, scan(line.data)) for line in bad]
    told_as = [_piece(line, found, opening) for line, found in looked]
    rest = _proven_pieces(told_as)
    unproven = any(line.stub for line in told_as) and any(
        line.headless for index, line in enumerate(told_as) if index not in rest
    )
    for index, (line, found) in enumerate(looked):
        piece = told_as[index]
        if index in rest:
            if rest[index] >= 0:
                yield _interleaved(piece, told_as[rest[index]])
        elif unproven and (piece.stub or piece.headless):
            part = "only the beginning" if piece.stub and not piece.headless else "not the beginning"
            what = f"line {line.number} at offset {line.offset:,} has {part} of a record; other lines have other parts"
            yield Seen(pattern="pieces", what=what, offset=line.offset, size=len(line.data), line=line.number)
        else:
            yield _alone(piece, found, blank_after)


def _piece(line: Line, found: Scan, opening: bytes) -> Line:
    """Return the line with what it is a piece of."""
    if found.state == "cut":
        return line._replace(stub=len(line.data))
    if found.state != "broken":
        return line._replace(headless=line.data.lstrip()[:1] not in (b"{", b"["))
    if line.data.startswith(BOM):
        return line
    seam = _seam(line.data, found, opening)
    if seam:
        return line._replace(stub=seam)
    return line._replace(headless=line.data.lstrip()[:1] != b"{")


def _seam(line: bytes, found: Scan, opening: bytes) -> int:
    """Return where a whole record begins behind the beginning of another; 0 if nowhere.

    Records of one file mostly begin alike; a place that looks like their beginning is tried first.
    """
    for mark in dict.fromkeys((opening, line[:_OPENING_BYTES], b'{"')):
        at = line.find(mark, 1) if mark else -1
        for _ in range(_TRIES):
            if at < 0 or at > found.end:
                break
            if _object(line[at:]) is not None and scan(line[:at]).state == "cut":
                return at
            at = line.find(mark, at + 1)
    return 0


def _proven_pieces(bad: Sequence[Line]) -> dict[int, int]:
    """Return which stub goes on in which later line, by index: both are one record in two pieces; -1 marks the rest."""
    found: dict[int, int] = {}
    for index, line in enumerate(bad):
        if not line.stub or line.last:
            continue
        for other in range(index + 1, min(len(bad), index + 1 + _LINES_APART)):
            if not bad[other].headless or other in found:
                continue
            if _object(line.data[: line.stub] + bad[other].data) is not None:
                found[index], found[other] = other, -1
                break
    return found


def _interleaved(line: Line, rest: Line) -> Seen:
    seam = line.offset + line.stub
    return Seen(
        pattern="interleaved",
        what=f"the record at offset {line.offset:,} is in two pieces: {line.stub:,} bytes to offset {seam:,}, and the "
        f"other {len(rest.data):,} in line {rest.number} at offset {rest.offset:,}; together they are whole",
        offset=seam,
        size=rest.offset - seam,
        line=line.number,
    )


def _alone(line: Line, found: Scan, blank_after: set[int]) -> Seen:
    number, offset, size = line.number, line.offset, len(line.data)
    if found.state == "cut" and line.last:
        return _torn_tail(line, found)
    if line.stub:
        seam = offset + line.stub
        behind = scan(line.data[: line.stub]) if line.stub < size else found
        place = boundary_of(seam, start=offset, between_tokens=not behind.inside)
        family = "glued" if line.stub < size else "stub"
        then = (
            "and the next record begins there, on the same line"
            if family == "glued"
            else "and the line ends there"
        )
        return Seen(
            pattern=f"{family}/{place}",
            what=f"line {number}: the record at offset {offset:,} is cut at byte {seam:,} "
            f"({told(seam, start=offset)}), {then}",
            offset=seam,
            line=number,
        )
    if line.headless:
        return Seen(
            pattern="headless",
            what=f"line {number} at offset {offset:,}, {size:,} bytes, is no record, and does not begin like one: the "
            "end of a longer one",
            offset=offset,
            size=size,
            line=number,
        )
    if found.state == "followed":
        return _followed(line, found, blank_after)
    if found.state == "whole":
        what = f"line {number} at offset {offset:,} is JSON, and no object: not a record"
        return Seen(pattern="misnamed", what=what, offset=offset, size=size, line=number)
    return broken(line.data, found, offset, number)


def _torn_tail(line: Line, found: Scan) -> Seen:
    """The file ends within the record of its last line."""
    size = line.offset + len(line.data)
    place = boundary_of(size, start=line.offset, between_tokens=not found.inside)
    within = (
        "within a character" if found.character else "within a token" if found.inside else "between two tokens"
    )
    return Seen(
        pattern=f"torn_tail/{place}",
        what=f"the last record, line {line.number} at offset {line.offset:,}, is cut at byte {size:,} "
        f"({told(size, start=line.offset)}), {within}: {len(line.data):,} bytes of it are there",
        offset=size,
        line=line.number,
    )


def _followed(line: Line, found: Scan, blank_after: set[int]) -> Seen:
    """A whole value and more, on one line."""
    rest = line.data[found.end :]
    seam = line.offset + found.end
    if _object(rest) is not None:
        swapped = line.number in blank_after
        return Seen(
            pattern="newlines_swapped" if swapped else "no_newline_between",
            what=f"line {line.number} holds two whole records, the second from byte {seam:,}; the newline between them "
            + ("stands behind both" if swapped else "is nowhere"),
            offset=seam,
            line=line.number,
        )
    return Seen(
        pattern="old_tail",
        what=f"line {line.number}: a whole record to byte {seam:,} ({told(seam)}) is followed by {len(rest):,} bytes "
        "that are none: the end of something longer",
        offset=seam,
        size=len(rest),
        line=line.number,
    )
