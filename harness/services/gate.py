"""The tool service, as a program: listens, starts tools as real processes, lets results through in step order.

Started by :mod:`harness.services.tools` without site-packages, so: the standard library only. Its first line of input
is one JSON object (the plan); it answers with the address it listens at. A further line ``exit`` asks every target to
exit; the end of the input ends the service and all its tools, and so does passing its time.

Every connection is one run of the steps: a target that was killed, or a second instance, has a gate of its own. A
result goes out when its tool has ended and every step before it has gone out. With ``in_turn`` in the plan, every
message is announced on standard output with a line ``ready``, and goes out at a line ``go`` of the input.

Non-goals: what a target makes of the lines; steps that are not of tools and interruptions.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any, NoReturn

LINE_BYTES = 1 << 16
"""Longest line a target may send."""
CONNECTIONS = 16
"""Targets served at once; further ones are hung up on."""

_TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tool.py")
_STOPS = ("escape", "ctrl_c")


class Gate:
    """One connection: what its target has started, and how far the steps have gone out to it."""

    def __init__(self, service: Service, connection: socket.socket) -> None:
        self._service = service
        self._connection = connection
        self._changed = threading.Condition()
        self._tools: dict[str, subprocess.Popen[bytes]] = {}
        self._closed = False

    def serve(self) -> None:
        """Let all steps through, then wait for the exit or the end of the target; leave no tool behind."""
        threading.Thread(target=self._listen, daemon=True).start()
        with contextlib.suppress(OSError):
            if all(self._let_through(step) for step in self._service.steps):
                self._service.exit_said.wait()
                self._send({"do": "exit"})
                with self._changed:
                    self._changed.wait_for(lambda: self._closed)
        self.kill_tools()
        self._connection.close()

    def _listen(self) -> None:
        """Start what the target asks for, until it hangs up."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            stream = self._connection.makefile("rb")
            while (line := stream.readline(LINE_BYTES)).endswith(b"\n"):
                self._start(json.loads(line).get("start"))
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.kill_tools()

    def _start(self, tool_id: Any) -> None:
        known = self._service.tools.get(tool_id) if isinstance(tool_id, str) else None
        with self._changed:
            if known is None or tool_id in self._tools:
                return  # what the plan does not have, or has once, is not started
            size, duration_ms = known
            words = (self._service.seed, tool_id, size, duration_ms)
            self._tools[tool_id] = subprocess.Popen(
                [sys.executable, "-BEsS", _TOOL, *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._changed.notify_all()

    def _let_through(self, step: dict[str, Any]) -> bool:
        """Wait until a step may go out, and send it; false once the target is gone."""
        do, tool_id = step["do"], step["tool_id"]
        if do in ("tool_start", "tool_done"):
            with self._changed:
                self._changed.wait_for(lambda: self._closed or tool_id in self._tools)
                tool = self._tools.get(tool_id)
        if self._closed:
            return False
        if do == "tool_done" and tool is not None and tool.stdout is not None:
            text = tool.stdout.read().decode("utf-8")  # not communicate: the end of its input would end the tool
            tool.wait()
            if self._closed:
                return False
            self._send({"tool_id": tool_id, "result": text, "is_error": tool.returncode != 0})
        elif do != "tool_start":
            self._send({"do": do, "session": step["session"], "at": step["at"]})
            if do in _STOPS:
                self.kill_tools(step["session"])
        return True

    def _send(self, message: dict[str, Any]) -> None:
        self._service.wait_for_turn()
        self._connection.sendall(json.dumps(message).encode("ascii") + b"\n")

    def kill_tools(self, session: str = "") -> None:
        """Kill the tools that run, of one session or of all."""
        with self._changed:
            running = [
                tool
                for name, tool in self._tools.items()
                if tool.poll() is None and session in ("", self._service.sessions.get(name))
            ]
        for tool in running:
            tool.kill()


class Service:
    """What all connections share: the plan, and whether targets are to exit."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.seed: int = order["seed"]
        self.steps: list[dict[str, Any]] = order["steps"]
        sizes = {step["tool_id"]: step["result_bytes"] for step in self.steps if step["do"] == "tool_done"}
        starts = [step for step in self.steps if step["do"] == "tool_start"]
        self.tools = {step["tool_id"]: (sizes.get(step["tool_id"], 0), step["duration_ms"]) for step in starts}
        self.sessions = {step["tool_id"]: step["session"] for step in starts}
        self.exit_said = threading.Event()
        if order["exit"]:
            self.exit_said.set()
        self._turns = threading.Semaphore(0) if order["in_turn"] else None
        self._path: str = order["path"]
        self._gates: list[Gate] = []
        self._free = threading.Semaphore(CONNECTIONS)

    def listen(self) -> str:
        """Open the socket, accept in a thread, and return the address."""
        if self._path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(self._path)
            address = f"unix:{self._path}"
        else:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._socket.bind(("127.0.0.1", 0))
            address = f"tcp:127.0.0.1:{self._socket.getsockname()[1]}"
        self._socket.listen(CONNECTIONS)
        threading.Thread(target=self._accept, daemon=True).start()
        return address

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            gate = Gate(self, connection)
            self._gates.append(gate)
            threading.Thread(target=self._serve, args=(gate,), daemon=True).start()

    def _serve(self, gate: Gate) -> None:
        try:
            gate.serve()
        finally:
            self._free.release()

    def wait_for_turn(self) -> None:
        """Say that a message is ready, and wait until it may go out; nothing where messages go out at once."""
        if self._turns is not None:
            os.write(1, b"ready\n")
            self._turns.acquire()

    def give_turn(self) -> None:
        """Let one message out."""
        if self._turns is not None:
            self._turns.release()

    def end(self) -> NoReturn:
        """End all tools and this process."""
        for gate in self._gates:
            gate.kill_tools()
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        os._exit(0)


def main() -> None:
    """Serve until the input ends."""
    for name in ("SIGINT", "SIGHUP"):  # a target's own signals are none of ours
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    order = json.loads(sys.stdin.readline())
    service = Service(order)
    timer = threading.Timer(order["timeout_s"], service.end)
    timer.daemon = True
    timer.start()
    sys.stdout.write(service.listen() + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip() == "exit":
            service.exit_said.set()
        elif line.strip() == "go":
            service.give_turn()
    service.end()


if __name__ == "__main__":
    main()
