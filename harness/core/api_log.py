"""The log of the scripted Messages API: one JSON line per request, per end of an answer, per event of a gate.

It is evidence: what a client sent, in which order, and what it was told. Contents are in it as sizes and hashes only,
unless they were asked for. A request's line is written before the first byte of its answer, so what a client did
because of an answer never stands without it; the answer's end has a line of its own, and an answer whose end is
missing was cut by the end of the service. A last line without its newline is a line that was never written.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

LOG_FORMAT_VERSION = 1
_HASH_DIGITS = 16

RequestKind = Literal["main", "side", "refused", "other"]
AnswerEnd = Literal["complete", "dropped", "error_event", "client_gone", "too_slow"]
GateEvent = Literal["waits", "let_go", "let_go_early", "ended", "given_up", "timed_out"]


def hash_of(said: str | bytes) -> str:
    """Return what stands for a text, or for the bytes of something else, in the log: the start of its SHA-256."""
    data = said.encode("utf-8", "surrogatepass") if isinstance(said, str) else said
    return hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]


class StartLine(msgspec.Struct, frozen=True, kw_only=True, tag="start", tag_field="line"):
    """The first line of a service: its address and what it plays. A log that goes on has one per service."""

    address: str
    turns: int
    life: int
    unique_ids: bool
    format_version: int = LOG_FORMAT_VERSION


class BlockLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One content block of a request: in which message (from 0), and whose it is.

    ``id`` is that of a call, or of the call that a result answers. ``sha256`` (its first 16 digits) is of a text, of
    the input of a call, of what a result says. ``lines``: of the lines of a text, or of a result, that has several, the
    last ones: a client may wrap what its user said in words of its own, and put that into a result.
    """

    message: int
    role: str
    type: str
    bytes: int
    sha256: str
    id: str = ""
    name: str = ""
    is_error: bool = False
    lines: tuple[str, ...] = ()


class IssuedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that an answer holds: the scenario's word for it and the id that it has for the client."""

    call: str
    tool: str
    tool_use_id: str


class RequestLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="request", tag_field="line"):
    """A request and what it is answered with. ``n`` counts requests from 1, ``turn`` those of the script.

    ``status`` is 0 where the client went away before its request was whole.

    ``turn`` is 0 where no turn was taken; ``attempt`` counts the answers to one turn. ``left_out``: blocks at the
    start of the conversation that are not listed.
    """

    n: int
    at_ms: float
    method: str
    path: str
    status: int
    kind: RequestKind
    bytes: int = 0
    stream: bool = False
    turn: int = 0
    attempt: int = 0
    closing: bool = False
    messages: int = 0
    blocks: tuple[BlockLine, ...] = ()
    left_out: int = 0
    calls: tuple[IssuedCall, ...] = ()
    fault: str = ""
    error: str = ""
    content: Any = None

    @property
    def speaks(self) -> bool:
        """Whether it carries the conversation, answered or refused as the real API refuses it."""
        return self.kind == "main" or (self.kind == "refused" and self.status == 400)

    @property
    def failed(self) -> bool:
        """Whether it is the service that could not answer it. Of a client that went away nobody is to blame."""
        return self.kind == "refused" and self.status not in (0, 400)


class EndLine(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="line"):
    """How the answer to request ``n`` ended, and how many bytes of its body were given to the system."""

    n: int
    at_ms: float
    ended: AnswerEnd
    sent: int


class GateLine(msgspec.Struct, frozen=True, kw_only=True, tag="gate", tag_field="line"):
    """A held call came to its gate, was let go (early: out of order, the one that was due had not come), ended, gave up
    (its process is gone, or never came), or was held for as long as a call is held at most."""

    at_ms: float
    call: str
    tool_use_id: str
    what: GateEvent

    @property
    def over(self) -> bool:
        """Whether the call has ended, one way or the other."""
        return self.what in ("ended", "given_up", "timed_out")


LogLine = StartLine | RequestLine | EndLine | GateLine

_DECODER = msgspec.json.Decoder(LogLine)


class LogFormatError(Exception):
    """A line of a log is not one; the message says which and why."""


def encode_line(line: LogLine) -> bytes:
    """Return a line as it stands in the log."""
    return msgspec.json.encode(line) + b"\n"


def decode_lines(data: bytes) -> tuple[tuple[LogLine, ...], int]:
    """Return the whole lines at the start of ``data``, and how many bytes they are. Raises :class:`LogFormatError`."""
    whole = data[: data.rfind(b"\n") + 1]
    lines = []
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            lines.append(_DECODER.decode(line))
        except msgspec.MsgspecError as error:
            raise LogFormatError(f"line {number}: {error}") from None
    return tuple(lines), len(whole)
