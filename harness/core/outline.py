"""What may be said of a tree without quoting it: paths, sizes, digests, the form of each file, and its records.

Of a record: offset, size, whether it is whole, and the values of ``type`` and of an id where they are plain words. A
transcript is private; an outline of it can be pasted into a bug tracker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from harness.core.content import Content
from harness.core.json_record import RecordError, parse_json
from harness.core.tree import Directory, File, Node, Symlink, Tree

OUTLINE_FORMAT_VERSION = 1
ENTRIES_KEPT = 200
RECORDS_KEPT = 8
"""Records of a file that are told, half from its start and half from its end; the rest is counted."""
READ_BYTES = 4 << 20
"""Of a longer file no records are told."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Form = Literal["empty", "nul", "records", "document", "bytes", "directory", "link", "special"]
RecordState = Literal["whole", "torn", "nul", "not JSON"]


class RecordOutline(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a file: the ``number``-th, from 1. ``torn``: the last one, without its newline, and not whole."""

    number: int
    offset: int
    size: int
    state: RecordState = "whole"
    type: str = ""
    id: str = ""


class EntryOutline(msgspec.Struct, frozen=True, kw_only=True):
    """One name of a tree. ``records`` are the first and the last of ``record_count``, of the file in focus only."""

    path: str
    form: Form
    size: int = 0
    digest: str = ""
    record_count: int = 0
    records: tuple[RecordOutline, ...] = ()


class TreeOutline(msgspec.Struct, frozen=True, kw_only=True):
    """A tree: its entries by path, the one in focus first; ``left_out`` more are not told."""

    entries: tuple[EntryOutline, ...] = ()
    left_out: int = 0
    format_version: int = OUTLINE_FORMAT_VERSION


def outline_of(tree: Tree, focus: str = "") -> TreeOutline:
    """Return the outline of ``tree``; the file ``focus`` with its records."""
    paths = sorted(tree.names, key=lambda path: (path != focus, path))
    kept = paths[:ENTRIES_KEPT]
    return TreeOutline(
        entries=tuple(entry_outline(path, tree.nodes[tree.names[path]], path == focus) for path in kept),
        left_out=len(paths) - len(kept),
    )


def entry_outline(path: str, node: Node, in_focus: bool = False) -> EntryOutline:
    """Return the outline of one name; with its records if ``in_focus``."""
    if isinstance(node, File):
        return _file(path, node.content, in_focus)
    form: Form = "directory" if isinstance(node, Directory) else "link" if isinstance(node, Symlink) else "special"
    return EntryOutline(path=path, form=form)


def _file(path: str, content: Content, in_focus: bool) -> EntryOutline:
    digest, size = content.digest.hex(), content.size
    if size == 0:
        return EntryOutline(path=path, form="empty", digest=digest)
    if not in_focus or size > READ_BYTES:
        return EntryOutline(path=path, form="bytes", size=size, digest=digest)
    data = content.to_bytes()
    if not data.strip(b"\0"):
        return EntryOutline(path=path, form="nul", size=size, digest=digest)
    lines = list(_lines(data))
    if (len(lines) < 2 and not data.endswith(b"\n")) or _is_document(data, lines):
        return EntryOutline(path=path, form="document", size=size, digest=digest)
    shown = lines if len(lines) <= RECORDS_KEPT else [*lines[: RECORDS_KEPT // 2], *lines[-RECORDS_KEPT // 2 :]]
    return EntryOutline(
        path=path,
        form="records",
        size=size,
        digest=digest,
        record_count=len(lines),
        records=tuple(_record(data, *line) for line in shown),
    )


def _is_document(data: bytes, lines: Sequence[tuple[int, int, int]]) -> bool:
    """Whether these lines are those of one JSON value, whole or torn, and not records of their own.

    The first line of a record file is a value. One that is none, as the brace that a pretty-printed document begins
    with, is no record; a damaged first record is told from it by the lines after it, which are.
    """
    if len(lines) < 2:
        return False
    return not any(_is_value(data[start:end]) for _, start, end in lines[: RECORDS_KEPT // 2]) and (
        data.lstrip()[:1] in (b"{", b"[")
    )


def _is_value(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except RecordError:
        return False


def _lines(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, end without the newline) of each line."""
    start, number = 0, 1
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield number, start, end
        start, number = end + 1, number + 1


def _record(data: bytes, number: int, start: int, end: int) -> RecordOutline:
    line = data[start:end]
    told: dict[str, Any] = {"number": number, "offset": start, "size": end - start}
    if b"\0" in line:
        return RecordOutline(**told, state="nul")
    try:
        value = parse_json(line)
    except RecordError:
        return RecordOutline(**told, state="torn" if end == len(data) else "not JSON")
    if not isinstance(value, dict):
        return RecordOutline(**told)
    ids = (value.get(name) for name in ("uuid", "id", "sessionId"))
    return RecordOutline(
        **told,
        type=_plain(value.get("type"), _WORD),
        id=next(filter(None, (_plain(each, _ID) for each in ids)), ""),
    )


def _plain(value: object, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""
