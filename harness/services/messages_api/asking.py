"""The body of a request → what it asks, or why it is refused. Pure.

What is not of the shape of a request gets a 400 in the way of the API's own input check; what is, is judged by the
validator of the checks, without messages of role ``system``: clients put them where they like.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from harness.checks.messages_api import validate
from harness.core.api_log import BlockLine
from harness.core.api_script import BASH
from harness.services.messages_api.events import error_body
from harness.services.messages_api.outline import outline_of, readable

_ROLES = ("user", "assistant", "system")
_NOT_JSON = "The request body is not valid JSON"
_TOO_DEEP = f"{_NOT_JSON}: nested too deeply"


class RefusedError(Exception):
    """A request is refused; with its outline where it has one."""

    def __init__(self, status: int, kind: str, message: str, asked: Asked | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(kind, message)
        self.asked = asked


class Asked(NamedTuple):
    """A request of the right shape, and its outline. ``main``: it is of the conversation, and takes a turn."""

    messages: list[dict[str, Any]]
    blocks: tuple[BlockLine, ...]
    left_out: int
    main: bool
    stream: bool
    model: str


def asked_in(body: bytes, unique_ids: bool) -> Asked:
    """Return what a body asks. Raises :class:`RefusedError` with what the API answers in place of that."""
    try:
        asked = _shaped(json.loads(body))
    except ValueError as error:
        raise _invalid(f"{_NOT_JSON}: {readable(error)}") from None
    except RecursionError:
        raise _invalid(_TOO_DEEP) from None
    try:
        said = [message for message in asked.messages if message["role"] != "system"]
        wrong = validate(said, unique_ids=unique_ids)
    except RecursionError:
        raise _invalid(_TOO_DEEP, asked) from None
    if wrong is not None:
        raise _invalid(wrong.message, asked)
    return asked


def _shaped(value: Any) -> Asked:
    if not isinstance(value, dict):
        raise _invalid("Input should be an object")
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages: at least one message is required")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise _invalid(f"messages.{number}.role: Input should be 'user' or 'assistant'")
    blocks, left_out = outline_of(messages)
    return Asked(
        messages=messages,
        blocks=blocks,
        left_out=left_out,
        main=BASH in _names_of(value.get("tools")),
        stream=value.get("stream") is True,
        model=readable(value.get("model")),
    )


def _names_of(tools: Any) -> list[str]:
    listed = tools if isinstance(tools, list) else []
    return [str(tool.get("name")) for tool in listed if isinstance(tool, dict)]


def _invalid(message: str, asked: Asked | None = None) -> RefusedError:
    return RefusedError(400, "invalid_request_error", message, asked)
