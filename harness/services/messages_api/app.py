"""The scripted Messages API over HTTP: takes a request, logs it, answers it. Effects; bounded everywhere.

A request with a tool named ``Bash`` is of the conversation and takes a turn; one without is a side call. What is
refused takes no turn. What is no HTTP is answered by the server, and is not in the log.

Non-goals: authentication (any key is as good), rate limits of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from harness.core.api_log import AnswerEnd, EndLine, RequestKind, RequestLine
from harness.core.api_script import ApiScript
from harness.services.messages_api.answering import Answer, Player
from harness.services.messages_api.asking import Asked, RefusedError, asked_in
from harness.services.messages_api.events import Piece, Stream, error_body, plain_of, status_error, stream_of
from harness.services.messages_api.gates import Gates
from harness.services.messages_api.log import Log, LogError
from harness.services.messages_api.outline import keepable, readable

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


class MessagesApi:
    """One service, as an ASGI application: where its script stands, its log, its gates."""

    def __init__(self, script: ApiScript, player: Player, log: Log, gates: Gates | None, content: bool) -> None:
        self.unique_ids = script.api.unique_ids
        self.player = player
        self.log = log
        self.gates = gates
        self.content = content
        self.at_once = 0
        self._count = 0
        self._started = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._count += 1
        self.at_once += 1
        try:
            await _Exchange(self, self._count, Request(scope, receive), send).serve()
        finally:
            self.at_once -= 1

    @property
    def at_ms(self) -> float:
        """Milliseconds since the service began."""
        return round((time.monotonic() - self._started) * 1000, 3)


class _Exchange:
    """One request and its answer."""

    def __init__(self, api: MessagesApi, number: int, request: Request, send: Send) -> None:
        self._api = api
        self._number = number
        self._request = request
        self._send = send
        self._size = 0
        self._asked: Asked | None = None
        self._headers = {"content-type": "application/json", "request-id": f"req_{number:06d}"}

    async def serve(self) -> None:
        try:
            await self._answer()
        except RefusedError as refused:
            self._asked = refused.asked
            self._log(refused.status, "refused", error=readable(refused, 2_000))
            await self._give(refused.status, refused.body, _NOT_AGAIN)
        except ClientDisconnect:
            self._log(0, "refused", error="the client went away before its request was whole")
            self._end("client_gone", 0)
        except LogError as error:
            body = error_body("api_error", f"the log of this service: {error}")
            await self._give(500, body, _NOT_AGAIN)

    async def _answer(self) -> None:
        """Take the request and answer it. Raises :class:`RefusedError`, before anything was sent."""
        path, method = self._request.url.path, self._request.method
        body = await self._body()
        if method == "POST" and path == _MESSAGES:
            self._asked = asked_in(body, self._api.unique_ids)
            await self._play(self._asked, self._next_answer(self._asked))
        elif method == "POST" and path == f"{_MESSAGES}/count_tokens":
            self._log(200, "other")
            await self._give(200, b'{"input_tokens":100}')
        elif method == "HEAD" or path == "/":
            self._log(200, "other")
            await self._give(200, b"" if method == "HEAD" else b"{}")
        else:
            self._log(404, "other")
            await self._give(404, error_body("not_found_error", "Not found"))

    async def _body(self) -> bytes:
        if self._number > MOST_REQUESTS:
            raise RefusedError(503, "api_error", f"more than {MOST_REQUESTS} requests")
        if self._api.at_once > MOST_AT_ONCE:
            raise RefusedError(503, "api_error", f"more than {MOST_AT_ONCE} requests at once")
        parts = []
        try:
            async with asyncio.timeout(BODY_S):
                async for part in self._request.stream():
                    self._size += len(part)
                    if self._size > BODY_BYTES:
                        raise RefusedError(413, "request_too_large", "Request exceeds the maximum size")
                    parts.append(part)
        except TimeoutError:
            raise RefusedError(408, "timeout_error", f"the body did not come within {BODY_S:g} s") from None
        return b"".join(parts)

    def _next_answer(self, asked: Asked) -> Answer:
        if not asked.main:
            return self._api.player.side()
        answer = self._api.player.next(asked.messages)
        try:
            if self._api.gates is not None:
                self._api.gates.make(answer)
        except OSError as error:
            text = f"no gates for this turn: {error.strerror}"
            raise RefusedError(500, "api_error", text, asked) from None
        return answer

    async def _play(self, asked: Asked, answer: Answer) -> None:
        """Log a request of the right shape, and send what the script has for it."""
        kind: RequestKind = "main" if asked.main else "side"
        fault = answer.fault
        if fault is not None and fault.kind == "status":
            status, body = status_error(fault)
            retry = {} if fault.retry is None else {"x-should-retry": "true" if fault.retry else "false"}
            self._log(status, kind, answer)
            await asyncio.sleep(answer.delay_ms / 1000)
            await self._give(status, body, retry)
        elif asked.stream:
            self._log(200, kind, answer)
            await asyncio.sleep(answer.delay_ms / 1000)
            self._headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
            await self._stream(200, stream_of(answer, asked.model))
        else:
            plain = plain_of(answer, asked.model)
            self._log(plain.status, kind, answer)
            await asyncio.sleep((answer.delay_ms + plain.before_ms) / 1000)
            self._headers["content-length"] = str(len(plain.body))
            whole = plain.sent == len(plain.body)
            pieces = (Piece(plain.body[: plain.sent]),)
            await self._stream(plain.status, Stream(pieces, "complete" if whole else "drop"))

    async def _stream(self, status: int, stream: Stream) -> None:
        """Send an answer piece by piece; one that is cut ends by :class:`DroppedError`."""
        sent = 0
        ended: AnswerEnd = "client_gone"
        try:
            await self._start(status)
            for piece in stream.pieces:
                if piece.before_ms:
                    await asyncio.sleep(piece.before_ms / 1000)
                if await self._request.is_disconnected():  # the server drops in silence what is sent to nobody
                    return
                async with asyncio.timeout(SEND_S):
                    await self._send({"type": "http.response.body", "body": piece.data, "more_body": True})
                sent += len(piece.data)
            if stream.ending == "drop":
                ended = "dropped"
                raise DroppedError
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            ended = "complete" if stream.ending == "complete" else "error_event"
        except TimeoutError:
            ended = "too_slow"
            raise DroppedError from None
        finally:
            self._end(ended, sent)

    async def _give(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a whole response."""
        self._headers |= {"content-length": str(len(body)), **(headers or {})}
        await self._start(status)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._end("complete", len(body))

    async def _start(self, status: int) -> None:
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    def _log(self, status: int, kind: RequestKind, answer: Answer | None = None, error: str = "") -> None:
        """Write the request's line, before any of its answer is sent. Raises :class:`LogError`."""
        said: dict[str, Any] = {}
        asked = self._asked
        if asked is not None:
            said = {"messages": len(asked.messages), "blocks": asked.blocks, "left_out": asked.left_out}
            said |= {"stream": asked.stream, "content": keepable(asked.messages) if self._api.content else None}
        if answer is not None:
            said |= {"turn": answer.turn, "attempt": answer.attempt, "closing": answer.closing}
            said |= {"calls": answer.calls, "fault": answer.fault.kind if answer.fault is not None else ""}
        line = RequestLine(
            n=self._number,
            at_ms=self._api.at_ms,
            method=self._request.method[:16],
            path=readable(self._request.url.path),
            status=status,
            kind=kind,
            bytes=self._size,
            error=error,
            **said,
        )
        self._api.log.append(line)

    def _end(self, ended: AnswerEnd, sent: int) -> None:
        with contextlib.suppress(LogError):  # the next answer says so
            self._api.log.append(EndLine(n=self._number, at_ms=self._api.at_ms, ended=ended, sent=sent))
