"""What stands whole in a client's transcript at the end of a life: read from the tree, not from what was sent. Pure."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from harness.checks.conversation import Record, record_of
from harness.checks.summary import parse_json
from harness.core.dialogue import LifeSeen
from harness.core.tree import File, Tree

_DIGITS = 16


class OnDisk(NamedTuple):
    """``pairs`` are the ids of calls that stand with their results; ``last`` is what the last whole record holds.

    Of ``last``: ("call" or "result", id), or (role, hash of a text).
    """

    pairs: frozenset[str]
    last: frozenset[tuple[str, str]]


def transcript_of(life: LifeSeen) -> str:
    """Return the path of the transcript that a life worked on: that of its session, else the largest; may be empty."""
    return find_transcript(life.tree, {client.session_id for client in life.clients if client.session_id})


def find_transcript(tree: Tree, sessions: set[str]) -> str:
    """Return the path of a main transcript in a tree, one of ``sessions`` if there is one; else an empty string."""
    found = [
        (path.rsplit("/", 1)[-1].removesuffix(".jsonl") in sessions, file.content.size, path)
        for path, file in tree.files()
        if "projects/" in path and path.endswith(".jsonl") and not path.rsplit("/", 1)[-1].startswith("agent-")
    ]
    return max(found)[2] if found else ""


def on_disk(life: LifeSeen) -> OnDisk:
    """Return what stands whole in the transcript of a life."""
    node = life.tree.node_at(transcript_of(life)) if transcript_of(life) else None
    calls: set[str] = set()
    results: set[str] = set()
    last: frozenset[tuple[str, str]] = frozenset()
    for record in _records(node.content.to_bytes() if isinstance(node, File) else b""):
        items = frozenset(_items(record)) if record.sent else frozenset()
        calls |= {name for kind, name in items if kind == "call"}
        results |= {name for kind, name in items if kind == "result"}
        last = items
    return OnDisk(frozenset(calls & results), last)


def _records(data: bytes) -> list[Record]:
    records = []
    for line in data[: data.rfind(b"\n") + 1].split(b"\n"):
        try:
            value: Any = parse_json(line) if line else None
        except ValueError:
            continue
        record = record_of(value) if isinstance(value, dict) else None
        if record is not None:
            records.append(record)
    return records


def _items(record: Record) -> list[tuple[str, str]]:
    found = []
    for block in record.blocks:
        kind = block.get("type")
        if kind == "tool_use":
            found.append(("call", str(block.get("id"))))
        elif kind == "tool_result":
            found.append(("result", str(block.get("tool_use_id"))))
        elif kind == "text":
            text = str(block.get("text")).encode("utf-8", "surrogatepass")
            found.append((record.type, hashlib.sha256(text).hexdigest()[:_DIGITS]))
    return found
