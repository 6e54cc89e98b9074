"""What a file is meant to be, by its name first, and by its bytes where the name does not say."""

from __future__ import annotations

import re

from harness.checks.explain.explanation import Shape
from harness.checks.explain.sqlite import MAGIC
from harness.checks.summary import parse_json

_RECORDS = re.compile(r"\.(jsonl|ndjson|jsonlines)(\W|_|$)", re.IGNORECASE)
_DOCUMENT = re.compile(r"\.json(\W|_|$)", re.IGNORECASE)
_DATABASE = re.compile(r"\.(sqlite3?|db3?)$", re.IGNORECASE)
_BESIDE_DATABASE = re.compile(r"-(journal|wal|shm)$")
_TEXT = re.compile(r"\.(txt|log|md|toml|ya?ml|csv|ini|cfg|conf|xml|html?|py|js|ts)$", re.IGNORECASE)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b")) + b"\x7f"
_BINARY_SHARE = 100
"""One control byte in so many is no text."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def shape_of_name(name: str) -> Shape:
    """Return what a name promises: ``x.jsonl``, ``x.json``, ``x.json.tmp.123``, ``x.db``; else unknown."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    if _BESIDE_DATABASE.search(name):
        return "binary"
    if _RECORDS.search(name):
        return "records"
    if _DOCUMENT.search(name):
        return "document"
    if _DATABASE.search(name):
        return "sqlite"
    return "text" if _TEXT.search(name) else "unknown"


def shape_of(data: bytes, name: str) -> Shape:
    """Return what ``data`` is, or was meant to be."""
    if data.startswith(MAGIC):
        return "sqlite"
    named = shape_of_name(name)
    if named == "sqlite":  # without its header: overwritten by NULs, or else encrypted, or another database
        return "binary" if data[: len(MAGIC)].strip(b"\0") else "sqlite"
    if named in ("records", "document", "text", "binary") or not data.strip(b"\0"):
        return named
    return _by_content(data)


def _by_content(data: bytes) -> Shape:
    bare = data.replace(b"\0", b"").lstrip()
    if bare[:1] == b"{":
        first, newline, more = bare.partition(b"\n")
        if newline and more.strip() and _is_object(first):
            return "records"
        return "document"
    if bare[:1] == b"[" and bare[1:2] in b' \t\n\r{["]0123456789-':
        return "document"
    if data.startswith(UTF_16):
        return "text"
    controls = len(bare) - len(bare.translate(None, _CONTROLS))
    if controls * _BINARY_SHARE > len(bare) or not _is_utf8(bare):
        return "binary"
    return "text"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False
