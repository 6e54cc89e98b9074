"""The tools that the writer calls, and its user: said one thing at a time, and only when the whole writer sleeps."""

from __future__ import annotations

import json
import socket
from typing import Any


class Tools:
    """Listens for the writer; each tool is done at once, in the order of the steps."""

    def __init__(self, path: str, workload: dict[str, Any]) -> None:
        self.seed = workload["seed"]
        self.steps = [step for step in workload["steps"] if step["do"] not in ("user", "assistant", "update")]
        self.heard = b""
        self.connection: socket.socket | None = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.setblocking(False)

    def say_next(self) -> bool:
        """Say the next thing, if the writer has come to it; return whether anything was said."""
        try:
            if self.connection is None:
                self.connection = self.listener.accept()[0]
                self.connection.setblocking(False)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            self.heard += self.connection.recv(1 << 16)
        except BlockingIOError:
            pass
        started = {json.loads(line)["start"] for line in self.heard.split(b"\n")[:-1]}
        while self.steps and self.steps[0]["do"] == "tool_start" and self.steps[0]["tool_id"] in started:
            del self.steps[0]
        if self.connection is None or not self.steps or self.steps[0]["do"] == "tool_start":
            return False
        step = self.steps.pop(0)
        said = {"do": step["do"], "session": step["session"], "at": step["at"]}
        if step["do"] == "tool_done":
            said = {"tool_id": step["tool_id"], "result": result(self.seed, step), "is_error": False}
        self.connection.sendall(json.dumps(said).encode() + b"\n")
        return True


def result(seed: int, step: dict[str, Any]) -> str:
    """Return what a tool says: so many characters that derive from the seed and its id."""
    state = (seed * 0x9E3779B97F4A7C15 + 1) % 2**64
    for char in step["tool_id"]:
        state = ((state ^ ord(char)) * 0x100000001B3) % 2**64
    text = ""
    while len(text) < step["result_bytes"]:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        text += f"{state >> 16:x} " if state >> 60 else "\u2028"
    return text[: step["result_bytes"]]
