"""Gated tools for a client that speaks MCP: a stdio server whose calls end when the scripted Messages API says so.

    mcp_tools.py LEDGER GATES

``gate`` waits at the gate that is named by its id (:mod:`harness.services.messages_api.gates`) and answers; ``effect``
leaves its id as a line of the ledger as well, before or after it waits. Both are marked as reading only: clients run
such calls side by side, where they run those that write one after the other. What a call is to do stands in its input,
which the script makes: the server knows no scenario.

When a client has asked which tools there are, a file beside the gates says so: before that it cannot call one.
It ends with its input, as the protocol has it. A gate that nobody serves any more is an error result, and so is one
where nothing happened for :data:`LONGEST_S`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from harness import __version__
from harness.core.api_script import MAX_RESULT_BYTES, MCP_SERVER, MCP_TOOLS
from harness.services.messages_api.shell import gate_path, listed_path

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

LONGEST_S = 660.0
_HOLDS = ("no", "before_effect", "after_effect")
_PREFIX = f"mcp__{MCP_SERVER}__"
_GATE, _EFFECT = (name.removeprefix(_PREFIX) for name in MCP_TOOLS)


class _CallError(Exception):
    """A call that cannot be done as it was asked; the client gets the reason as an error result."""


async def _wait_at(path: str) -> None:
    """Wait at a gate until it is opened. Its end of the pipe is closed when this process is through with the call."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _CallError(f"no gate: {error.strerror}") from None
    try:
        with anyio.fail_after(LONGEST_S):
            await anyio.wait_readable(descriptor)
        if not os.read(descriptor, 16):
            raise _CallError("the gate is gone")
    except TimeoutError:
        raise _CallError(f"nothing happened at the gate for {LONGEST_S:g} s") from None
    finally:
        os.close(descriptor)


def _leave_effect(ledger: str, name: str) -> None:
    try:
        descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, f"{name}\n".encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _CallError(f"no ledger: {error.strerror}") from None


async def _call(tool: str, asked: dict[str, Any], ledger: str, gates: str) -> str:
    """Do one call; return what it says."""
    name, hold, size = asked.get("id"), asked.get("hold", "no"), asked.get("result_bytes", 0)
    if tool not in (_GATE, _EFFECT):
        raise _CallError(f"no tool {tool!r}; valid: {_GATE}, {_EFFECT}")
    if not (isinstance(name, str) and name.isascii() and name.replace("_", "").replace("-", "").isalnum()):
        raise _CallError("id: must be letters, digits, _ and -")
    if hold not in _HOLDS or not isinstance(size, int) or not 0 <= size <= MAX_RESULT_BYTES:
        raise _CallError(f"hold: one of {', '.join(_HOLDS)}; result_bytes: from 0 to {MAX_RESULT_BYTES}")
    if tool == _EFFECT and hold != "before_effect":
        _leave_effect(ledger, name)
    if hold != "no":
        await _wait_at(gate_path(gates, name))
    if tool == _EFFECT and hold == "before_effect":
        _leave_effect(ledger, name)
    return "x" * size if size else f"did {name}"


def _described() -> list[types.Tool]:
    schema = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "hold": {"type": "string", "enum": list(_HOLDS)},
            "result_bytes": {"type": "integer"},
        },
        "required": ["id"],
    }
    side_by_side = types.ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)
    texts = {_GATE: "Wait until the scenario goes on.", _EFFECT: "Leave a line in the scenario's ledger."}
    return [
        types.Tool(name=name, description=text, input_schema=schema, annotations=side_by_side)
        for name, text in texts.items()
    ]


async def serve(ledger: str, gates: str) -> None:
    """Serve on standard input and output until the input ends."""

    async def list_tools(
        context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        with contextlib.suppress(OSError):
            os.close(os.open(listed_path(gates, os.getpid()), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        return types.ListToolsResult(tools=_described())

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        try:
            text, wrong = await _call(params.name, dict(params.arguments or {}), ledger, gates), False
        except _CallError as error:
            text, wrong = str(error), True
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=wrong)

    server: Server[Any] = Server(MCP_SERVER, version=__version__, on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (receiving, sending):
        await server.run(receiving, sending, server.create_initialization_options())


def main(arguments: list[str]) -> int:
    """Serve until the client is gone."""
    if len(arguments) != 2:
        sys.stderr.write("usage: mcp_tools.py LEDGER GATES\n")
        return 2
    anyio.run(serve, arguments[0], arguments[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
