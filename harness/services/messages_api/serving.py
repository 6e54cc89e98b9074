"""The caller's side of the scripted Messages API: starts it, follows its log, lets held calls go, ends it.

The service is a child in a session of its own that ends with its caller, however that ends, and leaves no process, no
socket and no gate. With a ``listener`` it serves a socket that somebody else made: one in another network namespace,
say, while it stays outside.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from harness.core.api_log import LogLine, decode_lines
from harness.core.api_script import ApiScript
from harness.sandbox import processes
from harness.sandbox.environment import scrubbed
from harness.sandbox.limits import child_setup
from harness.services.messages_api.program import Order

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")
_START_S = 30.0
_END_S = 2.0
DEFAULT_LIFE_S = 600.0
EXTRA = "cli"


class ApiServiceError(Exception):
    """The service could not be started; one line with the reason."""


class ApiNotAvailableError(ApiServiceError):
    """What the service needs is not installed; the line says what to do."""


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

    def __init__(self, popen: subprocess.Popen[bytes], url: str, offset: int, log: str) -> None:
        self._popen = popen
        self.url = url
        """Where it listens, as ANTHROPIC_BASE_URL wants it."""
        self.log = log
        self._offset = offset
        self._lines: list[LogLine] = []
        self._told = 0

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self._popen.poll() is None

    def lines(self) -> tuple[LogLine, ...]:
        """Return what this service has written to its log so far, whole lines only."""
        with open(self.log, "rb") as stream:
            stream.seek(self._offset)
            lines, size = decode_lines(stream.read())
        self._offset += size
        self._lines += lines
        return tuple(self._lines)

    def new_lines(self) -> tuple[LogLine, ...]:
        """Return the lines that :meth:`new_lines` has not returned before."""
        lines = self.lines()[self._told :]
        self._told += len(lines)
        return lines

    def let_go(self, tool_use_id: str) -> None:
        """Let a held call go, whatever its turn's order says."""
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.write(f"let go {tool_use_id}\n".encode())


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
    popen = _start(os.path.dirname(log), listener)
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
        yield MessagesService(popen, *_ready(popen, order), log)
    finally:
        _end(popen)


def _start(base: str, listener: socket.socket | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-BEsP", _PROGRAM],
            cwd=base,
            env=scrubbed(base, base),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=() if listener is None else (listener.fileno(),),
            preexec_fn=child_setup(),  # noqa: PLW1509 -- it makes system calls only
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ApiServiceError(f"the Messages API cannot be started: {error}") from error


def _ready(popen: subprocess.Popen[bytes], order: Order) -> tuple[str, int]:
    """Give the service its order and return the address that it listens at, and where its lines begin in the log."""
    assert popen.stdin is not None and popen.stdout is not None and popen.stderr is not None
    data = memoryview(msgspec.json.encode(order) + b"\n")
    with contextlib.suppress(OSError):  # it is dead: it says nothing, and that is told below
        while data:
            data = data[popen.stdin.write(data) :]
    said = b""
    while not said.endswith(b"\n"):
        if not select.select([popen.stdout], [], [], _START_S)[0]:
            raise ApiServiceError(f"the Messages API did not start within {_START_S:g} s")
        if not (more := popen.stdout.read(4096)):
            last = popen.stderr.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise ApiServiceError(f"the Messages API did not start: {last[0] if last else 'it said nothing'}")
        said += more
    line = said.decode("utf-8", "replace").strip()
    if line.startswith("not available: "):
        raise ApiNotAvailableError(f"{line}; pip install 'tornwrite[{EXTRA}]'")
    if line.startswith("failed: "):
        raise ApiServiceError(line.removeprefix("failed: "))
    url, offset = line.split(" ")
    return url, int(offset)


def _end(popen: subprocess.Popen[bytes]) -> None:
    """End the service: by the end of its input, else by force."""
    assert popen.stdin is not None and popen.stdout is not None and popen.stderr is not None
    with contextlib.suppress(OSError):
        popen.stdin.close()
    select.select([popen.stdout], [], [], _END_S)  # its end of the pipe closes when it ends
    processes.kill_group(popen.pid)  # before it is reaped: until then nobody else can get its id
    popen.wait()
    popen.stdout.close()
    popen.stderr.close()
