"""The caller's side of the scripted Messages API: starts it, follows its log, lets held calls go, ends it.

The service is a child in a session of its own that ends with its caller, however that ends, and leaves no process, no
socket and no gate. With a ``listener`` it serves a socket that somebody else made: one in another network namespace,
say, while it stays outside.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

from harness.core.api_log import LogLine, decode_lines
from harness.core.api_script import ApiScript
from harness.services.messages_api.program import Order
from harness.services.process import ServiceError, ServiceProcess

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")
DEFAULT_LIFE_S = 600.0
EXTRA = "cli"
_INSTALL = f"pip install 'tornwrite[{EXTRA}]', or in a checkout '.[{EXTRA}]'"
_SETTLE_S = 5.0


class ApiServiceError(ServiceError):
    """The service could not be started; one line with the reason, which may be what it was asked."""


class ApiNotAvailableError(ApiServiceError):
    """What the service needs is not installed; the line says what to do."""


def why_not_available(*, mcp: bool) -> str:
    """Return what is not installed of what the service needs, with ``mcp`` its gated tools too; empty if all is."""
    for name in ("starlette", "uvicorn", *(("mcp",) if mcp else ())):
        if importlib.util.find_spec(name) is None:
            return f"no module {name!r}; {_INSTALL}"
    return ""


class ToolPlaces(NamedTuple):
    """Where the tools of a script leave their effects and wait: absolute paths, made by :func:`prepare_tools`."""

    ledger: str
    gates: str


def prepare_tools(directory: str) -> ToolPlaces:
    """Make the ledger's file and the gates' directory below ``directory``. Raises ``OSError``."""
    places = ToolPlaces(os.path.join(directory, "ledger"), os.path.join(directory, "gates"))
    os.makedirs(places.gates, exist_ok=True)
    open(places.ledger, "ab").close()
    return places


class MessagesService:
    """A running service."""

    def __init__(self, process: ServiceProcess, url: str, offset: int, log: str) -> None:
        self._process = process
        self.url = url
        """Where it listens, as ANTHROPIC_BASE_URL wants it."""
        self.log = log
        self._offset = offset
        self._lines: list[LogLine] = []
        self._told = 0

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self._process.running

    def lines(self) -> tuple[LogLine, ...]:
        """Return what this service has written to its log so far, whole lines only."""
        self._read()
        return tuple(self._lines)

    def new_lines(self) -> tuple[LogLine, ...]:
        """Return the lines that :meth:`new_lines` has not returned before."""
        self._read()
        lines = tuple(self._lines[self._told :])
        self._told += len(lines)
        return lines

    def _read(self) -> None:
        with open(self.log, "rb") as stream:
            stream.seek(self._offset)
            lines, size = decode_lines(stream.read())
        self._offset += size
        self._lines += lines

    def settle(self) -> None:
        """Ask something that says nothing: what others had sent before is in the log when it is answered."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with (
            contextlib.suppress(OSError),
            opener.open(urllib.request.Request(self.url, method="HEAD"), timeout=_SETTLE_S),
        ):
            pass

    def let_go(self, tool_use_id: str) -> None:
        """Let a held call go, whatever its turn's order says."""
        self._process.say(f"let go {tool_use_id}\n".encode())


@contextlib.contextmanager
def serving(
    script: ApiScript,
    log: str,
    *,
    tools: ToolPlaces | None = None,
    cwd: str = "",
    content: bool = False,
    port: int = 0,
    listener: socket.socket | None = None,
    timeout_s: float = DEFAULT_LIFE_S,
) -> Iterator[MessagesService]:
    """Serve ``script`` inside the block; ``log`` is appended to.

    ``tools`` are needed where the script's calls leave effects or are held; ``cwd`` is what ``{cwd}`` in their inputs
    stands for; ``content`` keeps what the requests say in the log. Raises :class:`ApiServiceError`.
    """
    if os.name == "nt":
        raise ApiNotAvailableError("not available: the scripted Messages API needs POSIX")
    if script.uses_tools and tools is None:
        raise ApiServiceError("the script has calls with an effect or a gate, and no place was given for them")
    places = {"cwd": cwd} | ({"ledger": tools.ledger, "gates": tools.gates} if tools is not None else {})
    log = os.path.abspath(log)
    process = ServiceProcess(
        [sys.executable, "-BEsP", _PROGRAM],
        os.path.dirname(log),
        "the Messages API",
        ApiServiceError,
        () if listener is None else (listener.fileno(),),
    )
    try:
        order = Order(
            path=tuple(os.path.abspath(entry) for entry in sys.path),
            script=script,
            log=log,
            timeout_s=timeout_s,
            places=places,
            content=content,
            port=port,
            listener=listener.fileno() if listener is not None else -1,
        )
        yield MessagesService(process, *_told(process.ordered(order)), log)
    finally:
        process.end()


def _told(line: str) -> tuple[str, int]:
    """Return the address that a service said it listens at, and where its lines begin in the log."""
    if line.startswith("not available: "):
        raise ApiNotAvailableError(f"{line}; {_INSTALL}")
    if line.startswith("failed: "):
        raise ApiServiceError(line.removeprefix("failed: "))
    url, offset = line.split(" ")
    return url, int(offset)
