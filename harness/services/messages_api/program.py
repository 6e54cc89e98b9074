"""The scripted Messages API as a process: serves until its input ends or its time is up.

Started by :mod:`harness.services.messages_api.serving`. Its first line of input is one JSON object (``Order``); it
answers with its address and where its lines begin in the log, or with a line ``not available: …`` or ``failed: …``. A
further line ``let go ID`` lets a held call go. It ends at once, wherever it is: the log holds whole lines only.
"""

from __future__ import annotations

import json
import sys

if __name__ == "__main__":
    _line = sys.stdin.readline()
    sys.path[:] = json.loads(_line)["path"]  # the caller's: what it can import, this can

import asyncio
import contextlib
import logging
import os
import socket
import threading
from typing import Any, NoReturn

import msgspec

from harness.core.api_log import GateEvent, GateLine, StartLine
from harness.core.api_script import ApiScript
from harness.services.messages_api.answering import Player
from harness.services.messages_api.gates import Gates
from harness.services.messages_api.log import Log, LogError

BACKLOG = 64
_KEEP_ALIVE_S = 30


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a service is to do. ``listener``: the descriptor of a listening socket, -1 for one on loopback."""

    path: tuple[str, ...]
    script: ApiScript
    log: str
    timeout_s: float
    places: dict[str, str] = {}
    content: bool = False
    port: int = 0
    listener: int = -1


def _listen(order: Order) -> socket.socket:
    if order.listener >= 0:
        listener = socket.socket(fileno=order.listener)
    else:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", order.port))
        listener.listen(BACKLOG)
    # Connections inherit it; asyncio sets it only on sockets that name their protocol, and events are small.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(order: Order, log: Log, listener: socket.socket) -> None:
    """Serve for the rest of this process' life."""
    import uvicorn  # noqa: PLC0415 -- optional: see main

    from harness.services.messages_api.app import MessagesApi  # noqa: PLC0415

    script = order.script
    player = Player(script, order.places)
    gates: Gates | None = None

    def tell(call: str, tool_use_id: str, what: GateEvent) -> None:
        with contextlib.suppress(LogError):  # the next answer says so
            log.append(GateLine(at_ms=api.at_ms, call=call, tool_use_id=tool_use_id, what=what))

    if script.uses_tools:
        gates = Gates(order.places["gates"], script.api, tell)
    api = MessagesApi(script, player, log, gates, order.content)
    config = uvicorn.Config(
        api,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    loop = asyncio.get_running_loop()
    loop.call_later(order.timeout_s, _end, gates)
    threading.Thread(target=_hear, args=(loop, gates), daemon=True).start()
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener]))
    if gates is not None:
        _keep = asyncio.create_task(gates.run())
        _keep.add_done_callback(lambda task: _end(gates) if not task.cancelled() else None)
    await serving
    _end(gates)


def _hear(loop: asyncio.AbstractEventLoop, gates: Gates | None) -> None:
    """Do what the caller says, until it is gone."""
    for line in sys.stdin:
        if line.startswith("let go ") and gates is not None:
            loop.call_soon_threadsafe(gates.let_go, line.removeprefix("let go ").strip())
    loop.call_soon_threadsafe(_end, gates)


def _end(gates: Gates | None) -> NoReturn:
    if gates is not None:
        gates.remove()
    os._exit(0)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(line: str) -> int:
    """Serve what the order in ``line`` says."""
    logging.disable(logging.CRITICAL)  # a cut answer is no news, and nobody reads standard error
    order = msgspec.json.decode(line, type=Order)
    try:
        import starlette.requests  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ImportError as error:
        _say(f"not available: no module {error.name!r}")
        return 1
    try:
        log = Log(order.log)
        begins = log.size
        listener = _listen(order)
        host, port = listener.getsockname()[:2]
        address = f"http://{host}:{port}"
        script = order.script
        log.append(
            StartLine(address=address, turns=len(script.turn), life=script.life, unique_ids=script.api.unique_ids)
        )
    except (OSError, LogError) as error:
        reason: Any = error.strerror if isinstance(error, OSError) else error
        _say(f"failed: {reason}" if isinstance(error, LogError) else f"failed: port {order.port}: {reason}")
        return 1
    _say(f"{address} {begins}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # from here on nobody reads it
    asyncio.run(_serve(order, log, listener))
    return 0


if __name__ == "__main__":
    sys.exit(main(_line))
