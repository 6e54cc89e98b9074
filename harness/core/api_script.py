"""What the scripted Messages API answers, as plain data: turns, the tools they call, and what goes wrong on the way.

Part of what a scenario file holds: ``[api]`` and ``[[turn]]`` tables. A turn answers one request of a conversation; a
turn whose ``prompt`` stands in a user's text of the request belongs to that conversation alone (a sub-agent's, or one
of two that resume at once). Each entry of ``fault`` spoils so many requests before the turn itself is answered.

A call of :data:`BASH` or of :data:`MCP_TOOLS` may leave an effect (its tool_use id as a line of the ledger) and may be
held at a gate: those of a turn that are held are let go one after the other, in the order of ``finish``; a held call
that ``finish`` leaves out stays open until somebody lets it go, or its time is up.

Non-goals: how it is served (:mod:`harness.services.messages_api`); what a client makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

FaultKind = Literal["drop", "error_event", "stall", "status"]
Hold = Literal["no", "before_effect", "after_effect"]

BASH = "Bash"
MCP_SERVER = "tornwrite"
MCP_TOOLS = (f"mcp__{MCP_SERVER}__gate", f"mcp__{MCP_SERVER}__effect")
"""How a client names the tools of the gated MCP server."""
PLACES = frozenset({"cwd", "ledger", "gates", "id"})
"""What ``{…}`` in the input of a call may name: the client's directory, the ledger, the gates' directory, the id."""

STATUS_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}
"""Statuses that a fault may answer with, and the type of their error."""

MAX_TURNS, MAX_CALLS, MAX_FAULTS, MAX_TIMES = 1_000, 64, 16, 1_000
MAX_TEXT = 1 << 20
MAX_INPUT_DEPTH = 16
MAX_MS = 600_000
MAX_RESULT_BYTES = 16 << 20


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to an answer in place of its end, to ``times`` requests.

    ``drop``: the connection ends; ``error_event``: an event of ``type``; ``stall``: silence for ``ms``, then the rest;
    each after ``after_blocks`` whole content blocks, or ``inside`` the next one. ``status``: an HTTP error at once.
    ``retry`` says whether the client should try again (``x-should-retry``); what is not said is left to it.
    """

    kind: FaultKind
    times: int = 1
    after_blocks: int = 0
    inside: bool = False
    ms: int = 0
    status: int = 0
    type: str = ""
    retry: bool | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[turn.call]]``: one tool_use block. ``id`` is the scenario's word for it, its tool_use id is made.

    ``result_bytes``: the tool prints so many characters, where it is one whose result is ours to choose.
    """

    tool: str
    id: str = ""
    input: dict[str, Any] = {}
    effect: bool = False
    hold: Hold = "no"
    result_bytes: int = 0


class Turn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[turn]]``: a text, then calls that run in parallel. ``delay_ms``: before it; ``pause_ms``: between events."""

    text: str = ""
    call: tuple[Call, ...] = ()
    finish: tuple[str, ...] | None = None
    prompt: str = ""
    delay_ms: int = 0
    pause_ms: int = 0
    fault: tuple[Fault, ...] = ()

    @property
    def finishing(self) -> tuple[str, ...]:
        """The words of the held calls that are let go, in order."""
        if self.finish is not None:
            return self.finish
        return tuple(call.id for call in self.call if call.hold != "no")


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[api]``. ``closing``: what is answered when no turn is left; ``unique_ids``: whether a repeated id is refused.

    ``gap_ms``: from the end of one held call to the next being let go; ``hold_s``: how long a call is held at most.
    ``patience_ms``: so long a held call waits for one that is due before it and does not come, because the client runs
    the two one after the other; it is then let go out of order, which the log says. ``shuffle``: each dialogue draws
    the order in which the held calls of a turn are let go.
    """

    closing: str = "That was all."
    unique_ids: bool = True
    gap_ms: int = 30
    patience_ms: int = 3_000
    hold_s: float = 60.0
    shuffle: bool = False


class ApiScript(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an answer depends on. Ids derive from ``seed`` and ``life``: servers that one conversation meets
    one after the other have lives of their own, so that no id comes twice."""

    turn: tuple[Turn, ...] = ()
    api: Api = Api()
    seed: int = 1
    life: int = 0

    @property
    def uses_tools(self) -> bool:
        """Whether a call needs a ledger or a gate."""
        return any(call.effect or call.hold != "no" or call.tool in MCP_TOOLS for call in self._calls())

    @property
    def uses_mcp(self) -> bool:
        """Whether a call is one of the gated MCP server."""
        return any(call.tool in MCP_TOOLS for call in self._calls())

    def _calls(self) -> list[Call]:
        return [call for turn in self.turn for call in turn.call]


class Draw(Protocol):
    """What draws: a ``random.Random`` does."""

    def sample(self, population: Sequence[str], k: int) -> list[str]:
        """Return ``k`` of them in an order of chance."""
        ...


def shuffled(script: ApiScript, draw: Draw) -> ApiScript:
    """Return the script with the order of its held calls drawn, where it asks for that."""
    if not script.api.shuffle:
        return script
    turns = (
        msgspec.structs.replace(turn, finish=tuple(draw.sample(turn.finishing, len(turn.finishing))))
        for turn in script.turn
    )
    return msgspec.structs.replace(script, turn=tuple(turns))


def named(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Return the turns with a word for every call: ``2.1`` is the first one of the second turn."""
    return tuple(
        msgspec.structs.replace(
            turn,
            call=tuple(
                msgspec.structs.replace(call, id=call.id or f"{number}.{index}")
                for index, call in enumerate(turn.call, 1)
            ),
        )
        for number, turn in enumerate(turns, 1)
    )


def problem_of_script(api: Api, turns: tuple[Turn, ...]) -> str:
    """Return what is wrong with the values of a script, or an empty string: where, what, what is valid."""
    if wrong := _problem_of_api(api):
        return f"[api] {wrong}"
    if len(turns) > MAX_TURNS:
        return f"[turn] {len(turns)} turns; at most {MAX_TURNS}"
    words: set[str] = set()
    for number, turn in enumerate(turns, 1):
        if wrong := _problem_of_turn(turn, words):
            return f"[turn {number}] {wrong}"
    return ""


def _problem_of_api(api: Api) -> str:
    if not 1 <= len(api.closing) <= MAX_TEXT:
        return f"closing: needs 1 to {MAX_TEXT} characters"
    for key, value in (("gap_ms", api.gap_ms), ("patience_ms", api.patience_ms)):
        if not 0 <= value <= MAX_MS:
            return f"{key}: {value} is not between 0 and {MAX_MS}"
    if not (math.isfinite(api.hold_s) and 0 < api.hold_s <= MAX_MS / 1000):
        return f"hold_s: {api.hold_s} is not above 0 and at most {MAX_MS // 1000} seconds"
    return ""


def _problem_of_turn(turn: Turn, words: set[str]) -> str:
    if not turn.text and not turn.call:
        return "has neither a text nor a [[turn.call]]: it answers nothing"
    for key, size in (("text", len(turn.text)), ("prompt", len(turn.prompt))):
        if size > MAX_TEXT:
            return f"{key}: {size} characters; at most {MAX_TEXT}"
    for key, value in (("delay_ms", turn.delay_ms), ("pause_ms", turn.pause_ms)):
        if not 0 <= value <= MAX_MS:
            return f"{key}: {value} is not between 0 and {MAX_MS}"
    if len(turn.call) > MAX_CALLS:
        return f"call: {len(turn.call)} calls; at most {MAX_CALLS}"
    if len(turn.fault) > MAX_FAULTS:
        return f"fault: {len(turn.fault)} faults; at most {MAX_FAULTS}"
    for index, call in enumerate(turn.call, 1):
        if wrong := _problem_of_call(call, words):
            return f"call {index} {wrong}"
    for index, fault in enumerate(turn.fault, 1):
        if wrong := _problem_of_fault(fault, len(turn.call) + bool(turn.text)):
            return f"fault {index} {wrong}"
    return _problem_of_finish(turn)


def _problem_of_finish(turn: Turn) -> str:
    held = [call.id for call in turn.call if call.hold != "no"]
    for word in turn.finish or ():
        if word not in held:
            return f"finish: {word!r} is no held call of this turn; held: {', '.join(held) or 'none'}"
    if turn.finish is not None and len(set(turn.finish)) < len(turn.finish):
        return "finish: names a call twice"
    return ""


def _problem_of_call(call: Call, words: set[str]) -> str:
    if not (call.tool and call.tool.isascii() and call.tool.isprintable() and len(call.tool) <= 128):
        return f"tool: {call.tool!r} is not the name of a tool"
    if call.id and not (call.id.isascii() and call.id.isprintable() and " " not in call.id and len(call.id) <= 64):
        return f"id: {call.id!r} is not 1 to 64 printable ASCII characters without spaces"
    if call.id in words:
        return f"id: {call.id!r} is the word of another call"
    if call.id:
        words.add(call.id)
    ours = call.tool == BASH or call.tool in MCP_TOOLS
    for key, said in (("effect", call.effect), ("hold", call.hold != "no"), ("result_bytes", call.result_bytes)):
        if said and not ours:
            return f"{key}: only {BASH} and {', '.join(MCP_TOOLS)} can have it, not {call.tool!r}"
    if call.effect and call.tool == MCP_TOOLS[0]:
        return f"effect: {call.tool!r} has none; use {MCP_TOOLS[1]!r}"
    if not 0 <= call.result_bytes <= MAX_RESULT_BYTES:
        return f"result_bytes: {call.result_bytes} is not between 0 and {MAX_RESULT_BYTES}"
    wrong = _not_json(call.input, 0)
    return f"input: {wrong}" if wrong else ""


def _not_json(value: Any, depth: int) -> str:
    """Return why a value from a TOML file has no form in JSON, or an empty string."""
    if depth > MAX_INPUT_DEPTH:
        return f"nested deeper than {MAX_INPUT_DEPTH}"
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            if wrong := _not_json(item, depth + 1):
                return wrong
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no number of JSON"
    if isinstance(value, str):
        return f"a text of {len(value)} characters; at most {MAX_TEXT}" if len(value) > MAX_TEXT else ""
    return "" if isinstance(value, bool | int | float) else f"{value} is no value of JSON"


def _problem_of_fault(fault: Fault, blocks: int) -> str:
    streams = fault.kind != "status"
    for key, said, belongs in (
        ("after_blocks", fault.after_blocks, streams),
        ("inside", fault.inside, streams),
        ("ms", fault.ms, fault.kind == "stall"),
        ("status", fault.status, not streams),
        ("type", fault.type, fault.kind in ("error_event", "status")),
        ("retry", fault.retry is not None, not streams),
    ):
        if said and not belongs:
            return f"{key}: means nothing to {fault.kind!r}"
    if not 1 <= fault.times <= MAX_TIMES:
        return f"times: {fault.times} is not between 1 and {MAX_TIMES}"
    if not 0 <= fault.after_blocks <= blocks or (fault.inside and fault.after_blocks == blocks):
        return f"after_blocks: {fault.after_blocks} of {blocks} content blocks leaves nothing to strike"
    if fault.kind == "stall" and not 1 <= fault.ms <= MAX_MS:
        return f"ms: {fault.ms} is not between 1 and {MAX_MS}"
    if fault.kind == "status" and fault.status not in STATUS_TYPES:
        return f"status: {fault.status} is not valid; valid: {', '.join(map(str, STATUS_TYPES))}"
    if fault.type and fault.type not in STATUS_TYPES.values():
        return f"type: {fault.type!r} is not valid; valid: {', '.join(sorted(set(STATUS_TYPES.values())))}"
    return ""
