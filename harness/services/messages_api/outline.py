"""A request as its line in the log tells it: the order, ids, types, sizes and hashes of its blocks. Pure.

Any JSON has an outline: what is not of the shape of a request is left out of it, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from harness.core.api_log import BlockLine, hash_of

MOST_BLOCKS = 4_000
"""Blocks of one request that its line lists, the last ones: a conversation is sent whole with every request."""
MOST_LINES = 64
"""Lines of one text that are told apart, the last ones: what a client adds to a result it adds behind."""


def readable(value: object, most: int = 200) -> str:
    """Return a text of a client as a log can hold it: bounded, and with no half of a surrogate pair."""
    return str(value)[:most].encode("utf-8", "backslashreplace").decode("utf-8")


def keepable(messages: Any) -> Any:
    """Return what a request says as a log can hold it; what no log can hold is said in its place."""
    try:
        kept = json.loads(json.dumps(messages, ensure_ascii=False).encode("utf-8", "replace"))
        msgspec.json.encode(kept)
    except (ValueError, OverflowError, RecursionError) as error:
        return f"cannot be kept: {error}"
    return kept


def outline_of(messages: Sequence[Any]) -> tuple[tuple[BlockLine, ...], int]:
    """Return the blocks of a request's messages, the last :data:`MOST_BLOCKS`, and how many are left out."""
    places = [
        (number, readable(message.get("role")), block)
        for number, message in enumerate(messages)
        if isinstance(message, dict)
        for block in _blocks(message.get("content"))
    ]
    left_out = max(0, len(places) - MOST_BLOCKS)
    return tuple(_line(*place) for place in places[left_out:]), left_out


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _line(message: int, role: str, block: dict[str, Any]) -> BlockLine:
    kind = readable(block.get("type"))
    said = said_by(block)
    data = _bytes_of(said)
    return BlockLine(
        message=message,
        role=role,
        type=kind,
        bytes=len(data),
        sha256=hash_of(data),
        id=readable(block.get("id" if kind == "tool_use" else "tool_use_id") or ""),
        name=readable(block.get("name") or "") if kind == "tool_use" else "",
        is_error=block.get("is_error") is True,
        lines=_lines_of(data) if isinstance(said, str) else (),
    )


def _lines_of(text: bytes) -> tuple[str, ...]:
    lines = [line for line in text.rsplit(b"\n", 4 * MOST_LINES) if line]
    return tuple(map(hash_of, lines[-MOST_LINES:])) if len(lines) > 1 else ()


def said_by(block: dict[str, Any]) -> Any:
    """Return what a block says: of a text its text, of a call its input, of a result what it holds.

    A result that is a list of one text is that text: clients send either for the same.
    """
    kind = block.get("type")
    if kind == "text":
        return block.get("text")
    if kind == "tool_use":
        return block.get("input")
    if kind != "tool_result":
        return {key: value for key, value in block.items() if key != "cache_control"}
    content = block.get("content")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        return content[0].get("text", content)
    return content


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")
