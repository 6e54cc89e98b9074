"""Script and request → the next answer. Pure.

Ids derive from seed, life, turn, attempt and place, so they are the same in every run and none comes twice in one.

A conversation is known by the ``prompt`` of turns: a request belongs to the one whose prompt stands latest in its
users' texts, and takes that one's turns in order; a request with none takes the turns without a prompt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.core.api_log import IssuedCall
from harness.core.api_script import BASH, MCP_TOOLS, ApiScript, Call, Fault, Turn
from harness.services.messages_api.shell import bash_command

SIDE_TEXT = '{"isNewTopic": false, "title": null}'
"""The answer to a request without tools: titles, topics, quota."""

_PLACE = re.compile(r"\{([a-z_]+)\}")


class Held(NamedTuple):
    """A held call of an answer; ``order`` is its place among those that are let go, -1 for one that is not."""

    call: str
    tool_use_id: str
    order: int


class Answer(NamedTuple):
    """What one request is answered with. ``turn`` counts from 1; 0: a closing text, or the answer to a side call."""

    message_id: str
    blocks: tuple[dict[str, Any], ...]
    turn: int = 0
    attempt: int = 0
    closing: bool = False
    fault: Fault | None = None
    delay_ms: int = 0
    pause_ms: int = 0
    calls: tuple[IssuedCall, ...] = ()
    held: tuple[Held, ...] = ()

    @property
    def stop_reason(self) -> str:
        """Why the message ends."""
        return "tool_use" if any(block["type"] == "tool_use" for block in self.blocks) else "end_turn"


class Player:
    """Where a script stands: which turn each conversation is at, and how often that was answered."""

    def __init__(self, script: ApiScript, places: Mapping[str, str]) -> None:
        self._script = script
        self._places = dict(places)
        self._answers = 0
        self._queues: dict[str, list[int]] = {}
        for number, turn in enumerate(script.turn, 1):
            self._queues.setdefault(turn.prompt, []).append(number)
        self._attempts: dict[int, int] = {}

    @property
    def left(self) -> int:
        """How many turns were not answered yet."""
        return sum(map(len, self._queues.values()))

    def side(self) -> Answer:
        """Answer a request that has no tools; the script stays where it is."""
        return Answer(self._message_id(), ({"type": "text", "text": SIDE_TEXT},))

    def next(self, messages: Sequence[Mapping[str, Any]]) -> Answer:
        """Answer a request of a conversation, and move its script on, unless a fault spoils this answer."""
        queue = self._queues.get(route_of(messages, self._queues), [])
        if not queue:
            closing = {"type": "text", "text": self._script.api.closing}
            return Answer(self._message_id(), (closing,), closing=True)
        number = queue[0]
        turn = self._script.turn[number - 1]
        attempt = self._attempts[number] = self._attempts.get(number, 0) + 1
        fault = _fault_of(turn.fault, attempt)
        if fault is None or fault.kind == "stall":
            queue.pop(0)
        return self._answer(number, turn, attempt, fault)

    def _answer(self, number: int, turn: Turn, attempt: int, fault: Fault | None) -> Answer:
        ids = [self._id("toolu", f"{number}/{attempt}/{index}") for index in range(len(turn.call))]
        blocks: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
        for call, name in zip(turn.call, ids, strict=True):
            values = {**self._places, "id": name}
            blocks.append({"type": "tool_use", "id": name, "name": call.tool, "input": input_of(call, values)})
        calls = zip(turn.call, ids, strict=True)
        finishing = turn.finishing
        return Answer(
            message_id=self._message_id(),
            blocks=tuple(blocks),
            turn=number,
            attempt=attempt,
            fault=fault,
            delay_ms=turn.delay_ms,
            pause_ms=turn.pause_ms,
            calls=tuple(IssuedCall(call=call.id, tool=call.tool, tool_use_id=name) for call, name in calls),
            held=tuple(
                Held(call.id, name, finishing.index(call.id) if call.id in finishing else -1)
                for call, name in zip(turn.call, ids, strict=True)
                if call.hold != "no"
            ),
        )

    def _message_id(self) -> str:
        self._answers += 1
        return self._id("msg", f"answer {self._answers}")

    def _id(self, prefix: str, name: str) -> str:
        source = f"{self._script.seed}/{self._script.life}/{name}".encode()
        return f"{prefix}_{hashlib.blake2b(source, digest_size=12).hexdigest()}"


def _fault_of(faults: Iterable[Fault], attempt: int) -> Fault | None:
    """Return what spoils the ``attempt``-th answer (from 1) to a turn."""
    for fault in faults:
        if attempt <= fault.times:
            return fault
        attempt -= fault.times
    return None


def route_of(messages: Sequence[Mapping[str, Any]], prompts: Iterable[str]) -> str:
    """Return the prompt that stands latest in the users' texts; none of them: an empty one."""
    known = [prompt for prompt in prompts if prompt]
    if not known:
        return ""
    for message in reversed(messages):
        if message.get("role") != "user":
            continue
        for text in reversed(_texts(message.get("content"))):
            found = max(known, key=lambda prompt: (text.rfind(prompt), len(prompt)))
            if found in text:
                return found
    return ""


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    blocks = content if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return [text for text in texts if isinstance(text, str)]


def input_of(call: Call, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the input of a call with its places filled in, and with what makes its effect and waits at its gate."""
    given: dict[str, Any] = {key: _filled(item, values) for key, item in call.input.items()}
    if call.tool == BASH and (call.effect or call.hold != "no" or call.result_bytes):
        given["command"] = bash_command(call, values, str(given.get("command", "")))
        given.setdefault("description", f"Run {call.id}")
    elif call.tool in MCP_TOOLS:
        given = {"id": values["id"], "hold": call.hold, "result_bytes": call.result_bytes, **given}
    return given


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _PLACE.sub(lambda found: values.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    return [_filled(item, values) for item in value] if isinstance(value, list) else value
