"""What is wrong with the files that are left: each function returns what it found, in words, or nothing.

The first line of a function is what holds of a run that is not disturbed. Contents are never shown.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from harness.export.parts.tracer import is_like

Files = dict[str, bytes]


def documents_are_whole(files: Files, role: str) -> list[str]:
    """Each of these files is one JSON document."""
    found = []
    for path, data in files.items():
        if is_like(role, path):
            try:
                json.loads(data)
            except ValueError:
                nul = data and not data.strip(b"\0")
                what = "empty" if not data else "nothing but NULs" if nul else "not JSON: torn"
                found.append(f"{path!a} is {what}, {len(data):,} bytes, sha256 {digest(data)[:16]}")
    return found


def lines_are_whole(files: Files, role: str) -> list[str]:
    """Each line of these files is one JSON record, to its newline."""
    found = []
    for path, data in files.items():
        if is_like(role, path):
            *lines, tail = data.split(b"\n")
            broken = [number for number, line in enumerate(lines, 1) if record_of(line) is None]
            if tail:
                found.append(f"{path!a} ends in {len(tail):,} bytes without a newline, after {len(lines):,} lines")
            if broken:
                found.append(
                    f"{path!a}: {len(broken):,} of {len(lines):,} lines are no records, from line {broken[0]}"
                )
    return found


def files_hold_something(files: Files, role: str) -> list[str]:
    """None of these files is empty."""
    return [f"{path!a} is empty" for path, data in files.items() if is_like(role, path) and not data]


def files_are_there(files: Files, paths: list[str]) -> list[str]:
    """Each of these files is there, and not empty."""
    return [f"{path!a} is {'missing' if path not in files else 'empty'}" for path in paths if not files.get(path)]


def saved_records_are_there(files: Files, role: str, key: str, saved: list[str]) -> list[str]:
    """Each record that the writer said to have saved is in its file."""
    there = {record_id(line, key) for path in files if is_like(role, path) for line in files[path].split(b"\n")}
    lost = [name for name in saved if name not in there]
    return (
        [f"{len(lost):,} of {len(saved):,} are lost: {', '.join(ascii(name) for name in lost[:5])}"]
        if lost
        else []
    )


def saved_ids_are_there(files: Files, role: str, saved: list[str]) -> list[str]:
    """What the writer said to have saved stands in one of these documents."""
    there: set[str] = set()
    for path, data in files.items():
        if is_like(role, path):
            there |= set(scalars_of(data))
    lost = [name for name in saved if name not in there]
    return (
        [f"{len(lost):,} of {len(saved):,} are lost: {', '.join(ascii(name) for name in lost[:5])}"]
        if lost
        else []
    )


def calls_are_answered(files: Files, role: str) -> list[str]:
    """Each tool that the model called has its result."""
    found = []
    for path, data in files.items():
        if is_like(role, path):
            blocks = [block for line in data.split(b"\n") for block in blocks_of(record_of(line))]
            answered = {block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"}
            called = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
            open_calls = [name for name in called if name not in answered]
            if open_calls:
                shown = ", ".join(ascii(name) for name in open_calls[:5])
                found.append(f"{path!a}: {len(open_calls):,} of {len(called):,} calls have no result: {shown}")
    return found


def records_are_linked(files: Files, role: str) -> list[str]:
    """The record that another one follows is in the same file."""
    found = []
    for path, data in files.items():
        if is_like(role, path):
            records = [record_of(line) or {} for line in data.split(b"\n")]
            there = {record.get("uuid") for record in records}
            parents = [record.get("parentUuid") for record in records]
            gone = [str(parent) for parent in parents if parent is not None and parent not in there]
            if gone:
                found.append(f"{path!a}: {len(gone):,} records follow one that is not there: {gone[0]!a}")
    return found


def files_are_not_these(files: Files, damaged: dict[str, str]) -> list[str]:
    """The file is not the damaged one (known by its fingerprint, sha256: no simpler check tells damaged from whole)."""
    same = {path: known for path, known in damaged.items() if hash_of(files, path) == known}
    return (
        [f"{path!a} is the damaged one: {known[:32]}" for path, known in same.items()] if same == damaged else []
    )


def success_is_true(files: Files, whole: dict[str, str], exit_code: int) -> list[str]:
    """A run that reports success leaves what an undisturbed run leaves (sha256)."""
    other = [path for path, known in whole.items() if hash_of(files, path) != known]
    return [f"exit code 0, and {path!a} is {hash_of(files, path)[:16]}" for path in other if exit_code == 0]


def digest(data: bytes) -> str:
    """Return the sha256 of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def hash_of(files: Files, path: str) -> str:
    """Return what a file is: the sha256 of its bytes, or that it is missing."""
    return digest(files[path]) if path in files else "missing"


def scalars_of(data: bytes) -> list[str]:
    """Return all names and values of a JSON document, as text."""
    try:
        left = [json.loads(data)]
    except (ValueError, RecursionError):
        return []
    found: list[str] = []
    while left:
        value = left.pop()
        if isinstance(value, dict):
            found += value.keys()
            left += value.values()
        elif isinstance(value, list):
            left += value
        else:
            found.append(str(value))
    return found


def record_of(line: bytes) -> dict[str, Any] | None:
    """Return the record that a line is; nothing for a line that is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def record_id(line: bytes, key: str) -> str | None:
    """Return the id of the record that a line is; ``key`` may be a path with dots."""
    value: Any = record_of(line)
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return None if value is None else str(value)


def blocks_of(record: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the blocks of a message's content."""
    message = (record or {}).get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
