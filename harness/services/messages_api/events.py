"""An answer → the bytes of its HTTP response, and where its fault cuts them. Pure.

A stream has the events of the real API: ``message_start``, ``ping``, per block start, deltas and stop, then
``message_delta`` and ``message_stop``. Texts and inputs come in several deltas, so that a cut can fall inside one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from harness.core.api_script import STATUS_TYPES, Fault
from harness.services.messages_api.answering import Answer

_USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
_OUTPUT_TOKENS = 5
_DELTAS = 3
_OVERLOADED = "overloaded_error"
_MESSAGES = {_OVERLOADED: "Overloaded", "rate_limit_error": "Number of requests has exceeded your rate limit"}

Ending = Literal["complete", "drop", "error_event"]


class Piece(NamedTuple):
    """Bytes that are sent at once, after a pause."""

    data: bytes
    before_ms: int = 0


class Stream(NamedTuple):
    """The body of a response, and how it ends; ``drop``: the connection ends before the body does."""

    pieces: tuple[Piece, ...]
    ending: Ending


class Plain(NamedTuple):
    """A response that is one JSON object. Of a dropped one only the first ``sent`` bytes go out."""

    status: int
    body: bytes
    sent: int
    before_ms: int = 0


def error_body(kind: str, message: str) -> bytes:
    """Return the body of an HTTP error."""
    return _json({"type": "error", "error": {"type": kind, "message": message}})


def status_error(fault: Fault) -> tuple[int, bytes]:
    """Return the status and the body of a ``status`` fault."""
    kind = fault.type or STATUS_TYPES[fault.status]
    return fault.status, error_body(kind, _message_of(kind))


def plain_of(answer: Answer, model: str) -> Plain:
    """Return the answer as one JSON object. What spoils a stream spoils this too: an error event is an error status."""
    fault = answer.fault
    if fault is not None and fault.kind == "error_event":
        kind = fault.type or _OVERLOADED
        status = next(status for status, name in STATUS_TYPES.items() if name == kind)
        body = error_body(kind, _message_of(kind))
        return Plain(status, body, len(body))
    message = {**_message(answer, model), "content": list(answer.blocks), "stop_reason": answer.stop_reason}
    message["usage"] = {**_USAGE, "output_tokens": _OUTPUT_TOKENS}
    body = _json(message)
    dropped = fault is not None and fault.kind == "drop"
    stalled_ms = fault.ms if fault is not None and fault.kind == "stall" else 0
    return Plain(200, body, len(body) // 2 if dropped else len(body), stalled_ms)


def stream_of(answer: Answer, model: str) -> Stream:
    """Return the answer as a stream of events, cut by its fault."""
    before = [_event(event) for event in _opening(answer, model)]
    blocks = [[_event(event) for event in _of_block(index, block)] for index, block in enumerate(answer.blocks)]
    after = [_event(event) for event in _closing(answer)]
    pieces, ending = _struck(before, blocks, after, answer.fault)
    first, *rest = pieces
    paused = [Piece(each.data, each.before_ms + answer.pause_ms) for each in rest]
    return Stream((first, *paused), ending)


def _struck(
    before: list[bytes], blocks: list[list[bytes]], after: list[bytes], fault: Fault | None
) -> tuple[list[Piece], Ending]:
    whole = [*before, *(event for block in blocks for event in block), *after]
    if fault is None or fault.kind == "status":
        return [Piece(event) for event in whole], "complete"
    told = [*before, *(event for block in blocks[: fault.after_blocks] for event in block)]
    if fault.inside:
        told += blocks[fault.after_blocks][:2]
    if fault.kind == "stall":
        rest = whole[len(told) :]
        stalled = [Piece(rest[0], fault.ms), *map(Piece, rest[1:])]
        return [*map(Piece, told), *stalled], "complete"
    if fault.kind == "error_event":
        kind = fault.type or _OVERLOADED
        told.append(b"event: error\ndata: " + error_body(kind, _message_of(kind)) + b"\n\n")
        return [*map(Piece, told)], "error_event"
    if fault.inside:  # inside an event as well
        torn = whole[len(told)]
        told.append(torn[: len(torn) // 2])
    return [*map(Piece, told)], "drop"


def _opening(answer: Answer, model: str) -> Iterator[dict[str, Any]]:
    usage = {**_USAGE, "output_tokens": 1}
    message = {**_message(answer, model), "content": [], "stop_reason": None, "usage": usage}
    yield {"type": "message_start", "message": message}
    yield {"type": "ping"}


def _closing(answer: Answer) -> Iterator[dict[str, Any]]:
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": _OUTPUT_TOKENS}}
    yield {"type": "message_stop"}


def _of_block(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    empty: dict[str, Any]
    if block["type"] == "text":
        empty, text = {"type": "text", "text": ""}, block["text"]
        kind, key = "text_delta", "text"
    else:
        empty, text = {**block, "input": {}}, json.dumps(block["input"])
        kind, key = "input_json_delta", "partial_json"
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for part in _parts(text):
        yield {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: part}}
    yield {"type": "content_block_stop", "index": index}


def _parts(text: str) -> Iterator[str]:
    size = max(1, -(-len(text) // _DELTAS))
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _message(answer: Answer, model: str) -> dict[str, Any]:
    return {
        "id": answer.message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _message_of(kind: str) -> str:
    return _MESSAGES.get(kind, "Scripted error")


def _event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: ".encode("ascii") + _json(event) + b"\n\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
