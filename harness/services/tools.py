"""Tools beside a run: one child process that serves them, from before the target starts until after it is dead.

The service is a child of the caller and its tools are the service's, so no engine traces them, sees them among the
target's descendants or waits for them. It ends with its caller, however that ends, and leaves no process and no
socket.

Non-goals: the protocol (``gate.py`` speaks it); what the steps are (the catalog makes them).
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator, Mapping

import msgspec

from harness.core.run import RunSpec
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import in_workspace
from harness.services.process import ServiceError, ServiceProcess

VARIABLE = "TORNWRITE_TOOLS"
"""Where a target finds the address: ``unix:/path`` or ``tcp:127.0.0.1:port``."""

_GATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gate.py")
SOCKET = "tools.sock"
_LONGEST_PATH = 100
"""A Unix socket's path has about 104 bytes; beyond this the service listens on loopback."""
_OVER = b"over\n"
_OVER_S = 10.0
"""How long a standing service may take to end what belongs to a run."""
_SPARE_S = 30.0
"""How much longer than a run its service may last: what starts and ends the run takes time too."""


class Service:
    """A running tool service; ``environment`` is what the target needs to find it."""

    def __init__(self, environment: Mapping[str, str], process: ServiceProcess | None = None) -> None:
        self.environment = environment
        self._process = process
        self._ready = 0

    @property
    def pid(self) -> int:
        """The process that serves; 0 where nothing is served."""
        return self._process.pid if self._process is not None else 0

    def say_exit(self) -> None:
        """Ask the targets to exit, once they are through their steps. One that is gone is fine."""
        self._say(b"exit\n")

    def ready(self) -> bool:
        """Whether a message waits for :meth:`go`, of a service that gives them out in turn."""
        stream = self._process.popen.stdout if self._process is not None else None
        if stream is not None and select.select([stream], [], [], 0)[0]:
            self._ready += (stream.read(4096) or b"").count(b"\n")
        return self._ready > 0

    def go(self) -> None:
        """Let one message out."""
        self._ready -= 1
        self._say(b"go\n")

    def _say(self, line: bytes) -> None:
        if self._process is not None:
            self._process.say(line)


class Standing:
    """A service process that is there for one run after the other, and whose tools are forks of it.

    It ends with this object's :meth:`close`, and with its caller. One run at a time.
    """

    def __init__(self) -> None:
        self._process: ServiceProcess | None = None
        self._base = ""
        self._owner = 0

    @property
    def pid(self) -> int:
        """The process, 0 where there is none."""
        return self._process.pid if self._process is not None and self._owner == os.getpid() else 0

    @contextlib.contextmanager
    def serving(self, spec: RunSpec, name: str, in_turn: bool) -> Iterator[Service]:
        """Serve the tools of ``spec`` inside the block; see :func:`serving`."""
        path = _socket_path(spec, name)
        process = self._started(os.path.dirname(spec.root))
        served = False
        try:
            yield Service({VARIABLE: process.ordered(_order(spec, path, in_turn, forked=True))}, process)
            served = True
        finally:
            if not (served and _over(process)):
                self.close()
            if path:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _started(self, base: str) -> ServiceProcess:
        process = self._process if self.pid and self._base == base else None
        if process is None or not process.running:
            self.close()
            process = _start(base)
            self._process, self._base, self._owner = process, base, os.getpid()
        return process

    def close(self) -> None:
        """End it, and all its tools."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.end()


def _over(process: ServiceProcess) -> bool:
    """Tell a standing service that the run is over, and return whether it has ended all that belonged to it."""
    stream = process.popen.stdout
    assert stream is not None
    said = b""
    process.say(_OVER)
    while not said.endswith(_OVER) and select.select([stream], [], [], _OVER_S)[0]:
        more = stream.read(4096)
        if not more:
            return False
        said += more
    return said.endswith(_OVER)


@contextlib.contextmanager
def serving(
    spec: RunSpec, name: str = SOCKET, in_turn: bool = False, standing: Standing | None = None
) -> Iterator[Service]:
    """Serve the tools of ``spec`` inside the block; where it has none, nothing is started.

    ``name`` is the socket's: instances that run at once have one each. ``in_turn``: a message to a target waits until
    :meth:`Service.go` lets it out. ``standing``: who serves, instead of a process for this block alone. Raises
    :class:`ServiceError`.
    """
    if spec.tools is None:
        yield Service({})
        return
    if standing is not None:
        with standing.serving(spec, name, in_turn) as service:
            yield service
        return
    path = _socket_path(spec, name)
    process = _start(os.path.dirname(spec.root))
    try:
        yield Service({VARIABLE: process.ordered(_order(spec, path, in_turn))}, process)
    finally:
        process.end()
        if path:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _order(spec: RunSpec, path: str, in_turn: bool, forked: bool = False) -> dict[str, object]:
    more = {"path": path, "timeout_s": spec.limits.timeout_s + _SPARE_S, "in_turn": in_turn, "forked": forked}
    return {**msgspec.to_builtins(spec.tools), **more}


def _socket_path(spec: RunSpec, name: str) -> str:
    """Return where the socket is, free of what a killed run left there; empty for loopback."""
    path = os.path.join(os.path.dirname(spec.root), name)
    if not in_workspace(path):
        raise ServiceError(f"{path}: not directly in a workspace, so no service listens there")
    if os.name == "nt" or len(os.fsencode(path)) > _LONGEST_PATH:
        return ""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return path


def _start(base: str) -> ServiceProcess:
    return ServiceProcess([real_python(), "-BEsS", _GATE], base, "the tool service")
