"""The pure session lister: which transcripts a reader of heads and tails shows.

The rule of the published agent SDK: read the first and the last 64 KiB, search them as text. A session is shown
unless its first line marks a side chain, or neither a title, a summary, a last prompt nor a first user prompt can
be found. A torn transcript is therefore listed as long as its first prompt survived.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from harness.core.content import Content

HEAD_BYTES = 65536
"""How much of either end of a transcript a lister reads."""

Shown = Literal["unknown", "yes", "no"]

_NOT_A_PROMPT = re.compile(
    r"<local-command-stdout>|<session-start-hook>|<tick>|<goal>|\[Request interrupted by user"
    r"|<ide_opened_file>[\s\S]*</ide_opened_file>\s*$|<ide_selection>[\s\S]*</ide_selection>\s*$"
)
_TITLES = ("customTitle", "aiTitle")
_TAIL_SUMMARIES = ("lastPrompt", "summary")


def lists_session(content: Content) -> bool:
    """Whether a reader of the first and last 64 KiB shows this transcript as a session."""
    if not content.size:
        return False
    head = content.read(0, HEAD_BYTES).decode("utf-8", "replace")
    if _has_true(head.split("\n", 1)[0], "isSidechain"):
        return False
    tail = content.read(max(0, content.size - HEAD_BYTES), content.size).decode("utf-8", "replace")
    if any(_last_text(part, key) for key in _TITLES for part in (tail, head)):
        return True
    return any(_last_text(tail, key) for key in _TAIL_SUMMARIES) or any(map(_is_prompt_line, head.split("\n")))


def shown_by_line(line: bytes, *, first: bool) -> Shown:
    """Return what one complete line of the head decides: "no" for a side chain's first, "yes" for a first prompt."""
    text = line.decode("utf-8", "replace")
    if first and _has_true(text, "isSidechain"):
        return "no"
    return "yes" if _is_prompt_line(text) else "unknown"


def _has_true(line: str, key: str) -> bool:
    return f'"{key}":true' in line or f'"{key}": true' in line


def _last_text(text: str, key: str) -> str:
    """Return the last non-torn string value of ``key`` as raw text; empty if there is none."""
    pattern = re.compile(rf'"{key}": ?"((?:[^"\\]|\\.)*)"', re.DOTALL)
    last = ""
    for match in pattern.finditer(text):
        last = match.group(1)
    return last


def _is_prompt_line(line: str) -> bool:
    if '"type":"user"' not in line and '"type": "user"' not in line:
        return False
    if '"tool_result"' in line or _has_true(line, "isMeta") or _has_true(line, "isCompactSummary"):
        return False
    return any(_is_prompt(text) for text in _user_texts(line))


def _is_prompt(text: str) -> bool:
    plain = text.replace("\n", " ").strip()
    return bool(plain) and not _NOT_A_PROMPT.match(plain)


def _user_texts(line: str) -> list[str]:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        return []
    if not isinstance(entry, dict) or entry.get("type") != "user" or not isinstance(entry.get("message"), dict):
        return []
    content = entry["message"].get("content")
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    return [
        block["text"]
        for block in content
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)
    ]
