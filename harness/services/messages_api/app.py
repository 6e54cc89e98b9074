"""The scripted Messages API over HTTP: reads a request, validates it, logs it, answers it. Effects; bounded everywhere.

A request with a tool named ``Bash`` is of the conversation and takes a turn; one without is a side call. What the
validator refuses gets the API's own text and takes no turn. Messages of role ``system`` stand where a client likes
them and are left out of what is validated.

Non-goals: authentication (any key is as good), rate limits of its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from harness.checks.messages_api import ApiError, validate
from harness.core.api_log import AnswerEnd, BlockLine, EndLine, RequestKind, RequestLine
from harness.core.api_script import BASH, ApiScript
from harness.services.messages_api.answering import Answer, Player
from harness.services.messages_api.events import Piece, Stream, error_body, plain_of, status_error, stream_of
from harness.services.messages_api.gates import Gates
from harness.services.messages_api.log import Log, LogError
from harness.services.messages_api.outline import keepable, outline_of, readable

BODY_BYTES = 32 << 20
"""Largest request, as the API has it."""
BODY_S = 30.0
SEND_S = 60.0
"""How long a client may take for one piece of an answer."""
MOST_REQUESTS = 100_000
MOST_AT_ONCE = 64

_MESSAGES = "/v1/messages"
_NOT_AGAIN = {"x-should-retry": "false"}


class DroppedError(Exception):
    """Raised through the server while it sends: it then ends the connection without ending the answer."""


class _RefusedError(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(kind, message)


class _Asked(NamedTuple):
    """A request that is of the right shape, and its outline."""

    messages: list[dict[str, Any]]
    blocks: tuple[BlockLine, ...]
    left_out: int
    tools: bool
    main: bool
    stream: bool
    model: str


class MessagesApi:
    """One service: where its script stands, its log, its gates."""

    def __init__(self, script: ApiScript, player: Player, log: Log, gates: Gates | None, content: bool) -> None:
        self._unique_ids = script.api.unique_ids
        self._player = player
        self._log = log
        self._gates = gates
        self._content = content
        self._count = 0
        self._started = time.monotonic()
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as an ASGI application."""
        self._at_once += 1
        try:
            await self._serve(Request(scope, receive), send)
        finally:
            self._at_once -= 1

    @property
    def at_ms(self) -> float:
        """Milliseconds since the service began."""
        return round((time.monotonic() - self._started) * 1000, 3)

    async def _serve(self, request: Request, send: Send) -> None:
        self._count += 1
        number = self._count
        try:
            await self._answer(number, request, send)
        except LogError as error:
            await _send(send, 500, error_body("api_error", f"the log of this service: {error}"), _NOT_AGAIN)
        except ClientDisconnect:
            self._end(number, "client_gone", 0)

    async def _answer(self, number: int, request: Request, send: Send) -> None:
        path = request.url.path
        try:
            if number > MOST_REQUESTS:
                raise _RefusedError(503, "api_error", f"more than {MOST_REQUESTS} requests")
            if self._at_once > MOST_AT_ONCE:
                raise _RefusedError(503, "api_error", f"more than {MOST_AT_ONCE} requests at once")
            body = await _body_of(request)
        except _RefusedError as refused:
            await self._refuse(number, request, send, refused)
            return
        if request.method == "POST" and path == _MESSAGES:
            await self._message(number, request, send, body)
        elif request.method == "POST" and path == f"{_MESSAGES}/count_tokens":
            await self._other(number, request, send, 200, b'{"input_tokens":100}', len(body))
        elif request.method == "HEAD" or path == "/":
            await self._other(number, request, send, 200, b"{}", len(body))
        else:
            await self._other(number, request, send, 404, error_body("not_found_error", "Not found"), len(body))

    async def _message(self, number: int, request: Request, send: Send, body: bytes) -> None:
        try:
            asked = _asked(body)
            error = _judged(asked.messages, self._unique_ids)
        except _RefusedError as refused:
            await self._refuse(number, request, send, refused, len(body))
            return
        if error is not None:
            refusal = _RefusedError(400, "invalid_request_error", error.message)
            await self._refuse(number, request, send, refusal, len(body), asked)
            return
        answer = self._player.next(asked.messages) if asked.main else self._player.side()
        try:
            if self._gates is not None:
                self._gates.make(answer)
        except OSError as failed:
            refusal = _RefusedError(500, "api_error", f"no gates for this turn: {failed.strerror}")
            await self._refuse(number, request, send, refusal, len(body), asked)
            return
        await self._give(number, request, send, len(body), asked, answer)

    async def _give(
        self, number: int, request: Request, send: Send, size: int, asked: _Asked, answer: Answer
    ) -> None:
        """Log a request of the right shape, and send its answer."""
        headers = {"request-id": f"req_{number:06d}"}
        fault = answer.fault
        status, body = 200, b""
        if fault is not None and fault.kind == "status":
            status, body = status_error(fault)
            if fault.retry is not None:
                headers["x-should-retry"] = "true" if fault.retry else "false"
        elif not asked.stream:
            plain = plain_of(answer, asked.model)
            status, body = plain.status, plain.body
        kind: RequestKind = "main" if asked.main else "side"
        self._log.append(self._line(number, request, status, kind, size, asked, answer))
        await asyncio.sleep(answer.delay_ms / 1000)
        if status == 200 and asked.stream:
            headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
            await self._stream(number, request, send, stream_of(answer, asked.model), headers)
        elif status == 200:
            await asyncio.sleep(plain.before_ms / 1000)
            ending: Any = "complete" if plain.sent == len(body) else "drop"
            headers |= {"content-type": "application/json", "content-length": str(len(body))}
            await self._stream(number, request, send, Stream((Piece(body[: plain.sent]),), ending), headers)
        else:
            await _send(send, status, body, headers)
            self._end(number, "complete", len(body))

    async def _stream(
        self, number: int, request: Request, send: Send, stream: Stream, headers: dict[str, str]
    ) -> None:
        sent = 0
        ended: AnswerEnd = "client_gone"
        try:
            await _start(send, 200, headers)
            for piece in stream.pieces:
                if piece.before_ms:
                    await asyncio.sleep(piece.before_ms / 1000)
                if await request.is_disconnected():  # the server drops in silence what is sent to nobody
                    return
                async with asyncio.timeout(SEND_S):
                    await send({"type": "http.response.body", "body": piece.data, "more_body": True})
                sent += len(piece.data)
            if stream.ending == "drop":
                ended = "dropped"
                raise DroppedError
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            ended = "complete" if stream.ending == "complete" else "error_event"
        except TimeoutError:
            ended = "too_slow"
            raise DroppedError from None
        finally:
            self._end(number, ended, sent)

    async def _refuse(
        self,
        number: int,
        request: Request,
        send: Send,
        refused: _RefusedError,
        size: int = 0,
        asked: _Asked | None = None,
    ) -> None:
        line = self._line(number, request, refused.status, "refused", size, asked, None, readable(refused, 2_000))
        self._log.append(line)
        await _send(send, refused.status, refused.body, {"request-id": f"req_{number:06d}", **_NOT_AGAIN})
        self._end(number, "complete", len(refused.body))

    async def _other(self, number: int, request: Request, send: Send, status: int, body: bytes, size: int) -> None:
        self._log.append(self._line(number, request, status, "other", size, None, None))
        await _send(send, status, b"" if request.method == "HEAD" else body, {})
        self._end(number, "complete", len(body))

    def _line(
        self,
        number: int,
        request: Request,
        status: int,
        kind: RequestKind,
        size: int,
        asked: _Asked | None,
        answer: Answer | None,
        error: str = "",
    ) -> RequestLine:
        return RequestLine(
            n=number,
            at_ms=self.at_ms,
            method=request.method[:16],
            path=readable(request.url.path),
            status=status,
            kind=kind,
            bytes=size,
            stream=asked is not None and asked.stream,
            turn=answer.turn if answer is not None else 0,
            attempt=answer.attempt if answer is not None else 0,
            closing=answer is not None and answer.closing,
            messages=len(asked.messages) if asked is not None else 0,
            blocks=asked.blocks if asked is not None else (),
            left_out=asked.left_out if asked is not None else 0,
            calls=answer.calls if answer is not None else (),
            fault=answer.fault.kind if answer is not None and answer.fault is not None else "",
            error=error,
            content=keepable(asked.messages) if asked is not None and self._content else None,
        )

    def _end(self, number: int, ended: AnswerEnd, sent: int) -> None:
        self._log.append(EndLine(n=number, at_ms=self.at_ms, ended=ended, sent=sent))


async def _body_of(request: Request) -> bytes:
    """Read a request's body. Raises :class:`_RefusedError` where it is too large or does not come."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > BODY_BYTES:
                    raise _RefusedError(413, "request_too_large", "Request exceeds the maximum size")
                parts.append(part)
    except TimeoutError:
        raise _RefusedError(408, "timeout_error", f"the body did not come within {BODY_S:g} s") from None
    return b"".join(parts)


def _asked(body: bytes) -> _Asked:
    """Return a request of the right shape. Raises :class:`_RefusedError`."""
    try:
        return _shaped(json.loads(body))
    except ValueError as error:
        raise _invalid(f"The request body is not valid JSON: {readable(error)}") from None
    except RecursionError:
        raise _invalid("The request body is not valid JSON: nested too deeply") from None


def _shaped(value: Any) -> _Asked:
    if not isinstance(value, dict):
        raise _invalid("Input should be an object")
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages: at least one message is required")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system"):
            raise _invalid(f"messages.{number}.role: Input should be 'user' or 'assistant'")
    tools = _names_of(value.get("tools"))
    blocks, left_out = outline_of(messages)
    model = readable(value.get("model"))
    return _Asked(messages, blocks, left_out, bool(tools), BASH in tools, value.get("stream") is True, model)


def _judged(messages: list[dict[str, Any]], unique_ids: bool) -> ApiError | None:
    """Return what the API refuses the messages with. Raises :class:`_RefusedError` where they cannot be judged."""
    try:
        said = [message for message in messages if message["role"] != "system"]
        return validate(said, unique_ids=unique_ids)
    except RecursionError:
        raise _invalid("The request body is not valid JSON: nested too deeply") from None


def _invalid(message: str) -> _RefusedError:
    return _RefusedError(400, "invalid_request_error", message)


def _names_of(tools: Any) -> Sequence[str]:
    listed = tools if isinstance(tools, list) else []
    return [str(tool.get("name")) for tool in listed if isinstance(tool, dict)]


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _send(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Send a whole response."""
    await _start(send, status, {"content-type": "application/json", "content-length": str(len(body)), **headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
