"""The tool service, as a program: listens, starts tools as real processes, lets results through in step order.

Started by :mod:`harness.services.tools` without site-packages, so: the standard library only. Its first line of input
is one JSON object (the plan); it answers with the address it listens at. A further line ``exit`` asks every target to
exit; the end of the input ends the service and all its tools, and so does passing its time. A line ``over`` ends all of
that but the process, which answers with the same line and takes the next plan.

Every connection is one run of the steps: a target that was killed, or a second instance, has a gate of its own. A
result goes out when its tool has ended and every step before it has gone out. With ``in_turn`` in the plan, every
message is announced on standard output with a line ``ready``, and goes out at a line ``go`` of the input.

Where the plan says ``forked``, a tool is a fork of this process, not an interpreter of its own. Other threads may hold
locks at that moment, so it uses nothing that they use: see :class:`ForkedTool`.

Non-goals: what a target makes of the lines; steps that are not of tools and interruptions.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import IO, Any, NoReturn, Union

LINE_BYTES = 1 << 16
"""Longest line a target may send."""
CONNECTIONS = 16
"""Targets served at once; further ones are hung up on."""

_TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tool.py")
_STOPS = ("escape", "ctrl_c")
_OVER = b"over\n"
_MOST_DESCRIPTORS = 1 << 20
_OVER_S = 5.0
"""How long the threads of a plan may take to end when it is over; where they do not, the process ends."""


class ForkedTool:
    """A tool that is a fork of this process; as much of :class:`subprocess.Popen` as a gate needs.

    Between the fork and its end it does nothing but derive its result and make system calls: no lock of another
    thread, which a fork copies as it is, can stop it.
    """

    def __init__(self, words: list[str]) -> None:
        self.returncode: int | None = None
        reading, stdin = os.pipe()
        stdout, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.dup2(reading, 0)
                os.dup2(writing, 1)
                os.closerange(2, _MOST_DESCRIPTORS)
                code = tool_program().main(words)
            finally:
                os._exit(code)
        os.close(reading)
        os.close(writing)
        # Closed by whoever clears it away.
        self.stdin: IO[bytes] | None = open(stdin, "wb", buffering=0)  # noqa: SIM115
        self.stdout: IO[bytes] | None = open(stdout, "rb", buffering=0)  # noqa: SIM115
        self._reaping = threading.Lock()

    def poll(self) -> int | None:
        """Return how it ended, ``None`` while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its end and return how it ended."""
        return self._reap(0)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        with self._reaping:
            if self.returncode is None:
                os.kill(self.pid, signal.SIGKILL)

    def _reap(self, how: int) -> int | None:
        with self._reaping:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, how)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


@functools.cache
def tool_program() -> Any:
    """Return the program of a tool as a module; the first call loads it, and is made before there are threads."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(_TOOL))))
    from harness.services import tool  # noqa: PLC0415 -- the package is found only now

    return tool


AnyTool = Union[ForkedTool, "subprocess.Popen[bytes]"]


class Gate:
    """One connection: what its target has started, and how far the steps have gone out to it."""

    def __init__(self, service: Service, connection: socket.socket) -> None:
        self._service = service
        self._connection = connection
        self._changed = threading.Condition()
        self._tools: dict[str, AnyTool] = {}
        self._closed = False

    def serve(self) -> None:
        """Let all steps through, then wait for the exit or the end of the target; leave no tool behind."""
        listener = threading.Thread(target=self._listen, daemon=True)
        listener.start()
        with contextlib.suppress(OSError):
            if all(self._let_through(step) for step in self._service.steps):
                self._service.exit_said.wait()
                self._send({"do": "exit"})
                with self._changed:
                    self._changed.wait_for(lambda: self._closed)
        self.kill_tools()
        self.hang_up()
        listener.join()
        self._connection.close()

    def hang_up(self) -> None:
        """End the connection for both sides."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

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
        with self._changed:
            if not isinstance(tool_id, str) or tool_id not in self._service.tools or tool_id in self._tools:
                return  # what the plan does not have, or has once, is not started
            self._tools[tool_id] = self._service.start_tool(self._service.words_of(tool_id))
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

    def clear_away(self) -> None:
        """Kill and reap all tools; nobody uses them any more."""
        for tool in self._tools.values():
            tool.kill()
            tool.wait()
            for stream in (tool.stdin, tool.stdout):
                if stream is not None:
                    stream.close()


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
        self._forked: bool = order["forked"]
        for words in map(self.words_of, self.tools if self._forked else ()):
            tool_program().result(*words[:-1])
        self._gates: list[Gate] = []
        self._threads: list[threading.Thread] = []
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
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return address

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # it is over
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            gate = Gate(self, connection)
            self._gates.append(gate)
            self._threads.append(threading.Thread(target=self._serve, args=(gate,), daemon=True))
            self._threads[-1].start()

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

    def words_of(self, tool_id: str) -> list[str]:
        """Return what a tool of the plan is told."""
        return [str(each) for each in (self.seed, tool_id, *self.tools[tool_id])]

    def start_tool(self, words: list[str]) -> AnyTool:
        """Start a tool that is told so."""
        if self._forked:
            return ForkedTool(words)
        return subprocess.Popen(
            [sys.executable, "-BEsS", _TOOL, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> NoReturn:
        """End all tools and this process."""
        for gate in self._gates:
            gate.kill_tools()
        self._forget_path()
        os._exit(0)

    def over(self) -> None:
        """End everything but this process; all of it, if a thread of the plan does not end."""
        end = time.monotonic() + _OVER_S
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join(_OVER_S)
        self._socket.close()
        self._forget_path()
        for gate in self._gates:
            gate.hang_up()
        self.exit_said.set()
        if self._turns is not None:
            self._turns.release(CONNECTIONS)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in (self._accepting, *self._threads)):
            self.end()
        for gate in self._gates:
            gate.clear_away()

    def _forget_path(self) -> None:
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def main() -> None:
    """Serve until the input ends."""
    for name in ("SIGINT", "SIGHUP"):  # a target's own signals are none of ours
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    while True:
        order = json.loads(sys.stdin.readline() or "null")
        if order is None:
            return  # nobody has a plan any more
        serve(order)
        os.write(1, _OVER)


def serve(order: dict[str, Any]) -> None:
    """Serve one plan until it is over; the process ends with the input, or when the time has passed."""
    service = Service(order)
    timer = threading.Timer(order["timeout_s"], service.end)
    timer.daemon = True
    timer.start()
    os.write(1, service.listen().encode("ascii") + b"\n")
    for line in sys.stdin:
        if line.strip() == "exit":
            service.exit_said.set()
        elif line.strip() == "go":
            service.give_turn()
        elif line.encode() == _OVER:
            timer.cancel()
            timer.join()  # nothing of a run is left when it is said to be over
            service.over()
            return
    service.end()


if __name__ == "__main__":
    main()
