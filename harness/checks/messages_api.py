"""The rules of the Messages API on tool calls and their results, and the exact texts of its refusals.

``validate`` says what the API would answer to a request with these messages: nothing, or its first error, byte for
byte. Turns of one role are merged first, and indices count merged messages. A result answers a call only if it is
among the results that come first in the very next message. ``breaches`` names all broken rules, not just the first.

Two families of text are not in the published list and stand here as the API's own input check words them: a malformed
id, and a block in a message of the wrong role.

Non-goals: models, limits, sizes, block types without a rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Block = Mapping[str, Any]
Message = Mapping[str, Any]
"""``{"role": …, "content": [block, …]}``; as the API does, ``validate`` also takes a string for a list of one text."""

UNANSWERED, UNASKED, DOUBLE_RESULT, DOUBLE_USE, EMPTY_MESSAGE, EMPTY_TEXT, THINKING, SURROGATE = range(1, 9)
"""The numbers of the texts; 0 stands for those outside the list."""

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_ID_KEYS = {"tool_use": "id", "tool_result": "tool_use_id"}
_ROLES = {"tool_use": "assistant", "tool_result": "user"}
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_LONE = re.compile("[\ud800-\udfff]")


class ApiError(NamedTuple):
    """A refusal with status 400. ``text`` is the number of the message's form, 1 to 8, or 0."""

    message: str
    text: int = 0

    @property
    def body(self) -> str:
        """The body of the HTTP response."""
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": self.message}}
        return json.dumps(error, separators=(",", ":"), ensure_ascii=False)

    @property
    def shown(self) -> str:
        """The line that a client shows to its user."""
        return f"API Error: 400 {self.body}"


class Breach(NamedTuple):
    """A broken pairing rule: which text, where (``content`` is -1 for a whole message), and for which ids.

    Of unanswered calls, ``late`` are those whose result is in the next message, but after something else; and the
    turn is ``open`` if nothing but results follows it: more may still come.
    """

    text: int
    message: int
    content: int
    ids: tuple[str, ...]
    late: tuple[str, ...] = ()
    open: bool = False


def validate(
    messages: Sequence[Message], *, thinking: Sequence[Block] | None = None, unique_ids: bool = True
) -> ApiError | None:
    """Return what the API refuses these messages with, or ``None``.

    ``thinking`` are the thinking blocks of the latest assistant message as the API returned them; without them it is
    not known whether they were changed. Without ``unique_ids`` a call may come again: there are clients that repeat
    every pair of call and result, and would never get further than that.
    """
    error = _not_json(messages) or _malformed(messages)
    if error is not None:
        return error
    turns = merged(messages)
    found = next((each for each in breaches(turns) if unique_ids or each.text != DOUBLE_USE), None)
    if found is not None:
        return error_of(found)
    return None if thinking is None else _changed_thinking(turns, thinking)


def blocks_of(content: Any) -> list[Block]:
    """Return the content of a message as blocks; what is no block is left out."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def merged(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages with neighbours of one role made one."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        blocks = blocks_of(message.get("content"))
        if turns and turns[-1]["role"] == message.get("role"):
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": message.get("role"), "content": list(blocks)})
    return turns


def breaches(turns: Sequence[Message]) -> Iterator[Breach]:
    """Yield every broken pairing rule of merged messages, in their order."""
    used: set[str] = set()
    asked: dict[str, None] = {}
    for number, turn in enumerate(turns):
        content = turn["content"]
        if turn["role"] == "assistant":
            asked = {}
            for index, block in enumerate(content):
                if block.get("type") == "tool_use":
                    name = _id_of(block)
                    if name in used:
                        yield Breach(DOUBLE_USE, number, index, (name,))
                    used.add(name)
                    asked[name] = None
            if asked:
                yield from _unanswered(turns, number, asked)
            continue
        answered: set[str] = set()
        for index, block in enumerate(content):
            if block.get("type") == "tool_result":
                name = _id_of(block)
                if name not in asked:
                    yield Breach(UNASKED, number, index, (name,))
                elif name in answered:
                    yield Breach(DOUBLE_RESULT, number, index, (name,))
                answered.add(name)
        asked = {}


def _unanswered(turns: Sequence[Message], number: int, asked: Mapping[str, None]) -> Iterator[Breach]:
    first: set[str] = set()
    late: set[str] = set()
    only_results = True
    for block in turns[number + 1]["content"] if number + 1 < len(turns) else ():
        if block.get("type") != "tool_result":
            only_results = False
        else:
            (first if only_results else late).add(_id_of(block))
    missing = tuple(name for name in asked if name not in first)
    if missing:
        behind = tuple(name for name in missing if name in late)
        yield Breach(UNANSWERED, number, -1, missing, behind, only_results and number + 2 >= len(turns))


def _id_of(block: Block) -> str:
    return str(block.get("id") if block["type"] == "tool_use" else block.get("tool_use_id"))


def error_of(breach: Breach) -> ApiError:
    """Return the refusal that a broken pairing rule is."""
    place = f"messages.{breach.message}"
    if breach.content >= 0:
        place += f".content.{breach.content}"
    names = ", ".join(breach.ids)
    if breach.text == UNANSWERED:
        message = (
            f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {names}. "
            "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
        )
    elif breach.text == UNASKED:
        message = (
            f"{place}: unexpected `tool_use_id` found in `tool_result` blocks: {names}. "
            "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
        )
    elif breach.text == DOUBLE_RESULT:
        message = f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {names}"
    else:
        message = f"{place}: `tool_use` ids must be unique"
    return ApiError(message, breach.text)


def _malformed(messages: Sequence[Message]) -> ApiError | None:
    """Return what the check of the request's shape refuses, before any message is looked at with its neighbours."""
    for number, message in enumerate(messages):
        content, role = message.get("content"), message.get("role")
        if not content and not (number == len(messages) - 1 and role == "assistant"):
            text = "all messages must have non-empty content except for the optional final assistant message"
            return ApiError(f"messages.{number}: {text}", EMPTY_MESSAGE)
        for index, block in enumerate(blocks_of(content) if content else ()):
            kind = block.get("type")
            if kind == "text" and not block.get("text"):
                return ApiError("messages: text content blocks must be non-empty", EMPTY_TEXT)
            key = _ID_KEYS.get(kind) if isinstance(kind, str) else None
            if key is None:
                continue
            place = f"messages.{number}.content.{index}"
            if not isinstance(block.get(key), str) or not _ID.fullmatch(block[key]):
                return ApiError(f"{place}.{kind}.{key}: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if _ROLES[str(kind)] != role:
                return ApiError(f"{place}: `{kind}` blocks can only be in `{_ROLES[str(kind)]}` messages")
    return None


def _changed_thinking(turns: Sequence[Message], thinking: Sequence[Block]) -> ApiError | None:
    latest = next((n for n in range(len(turns) - 1, -1, -1) if turns[n]["role"] == "assistant"), -1)
    returned = list(thinking)
    content = turns[latest]["content"] if latest >= 0 else ()
    for index, block in enumerate(content):
        if block.get("type") in THOUGHTS and (not returned or returned.pop(0) != block):
            return thinking_error(latest, index)
    return thinking_error(latest, 0) if returned and latest >= 0 else None


def thinking_error(message: int, content: int) -> ApiError:
    """Return the refusal of a thinking block that is not as the API returned it."""
    return ApiError(
        f"messages.{message}.content.{content}: `thinking` or `redacted_thinking` blocks in the latest assistant "
        "message cannot be modified. These blocks must remain as they were in the original response.",
        THINKING,
    )


def _not_json(messages: Sequence[Message]) -> ApiError | None:
    """Half a surrogate pair has no form in a request: clients send it as an escape, which the API does not parse."""
    body = json.dumps({"messages": messages}, separators=(",", ":"), ensure_ascii=False)
    lone = _LONE.search(body)
    if lone is None:
        return None
    after = lone.start() + len("\\ud800")
    return ApiError(
        "The request body is not valid JSON: no low surrogate in string: "
        f"line 1 column {after + 1} (char {after})",
        SURROGATE,
    )
