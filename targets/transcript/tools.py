"""The tools that a conversation calls: the service named by TORNWRITE_TOOLS, or results derived at once.

The service sends lines in the order of the workload's steps: a tool that is done, or what the user does meanwhile.
What the client's owner makes of them, and in how many threads, is its own business.
"""

import json
import os
import socket
import sys

from conversation import result_of


def connect(workload):
    """Return the client for this run."""
    address = os.environ.get("TORNWRITE_TOOLS", "")
    return Service(address) if address else Derived(workload.seed)


class Derived:
    """No service: every tool is done at once, in the order of the steps."""

    def __init__(self, seed):
        self.seed = seed

    def start(self, tool_id):
        pass

    def next(self, step):
        """Return what happens at a step."""
        if step["do"] != "tool_done":
            return step
        text = result_of(self.seed, step["tool_id"], step["result_bytes"])
        return {"tool_id": step["tool_id"], "result": text, "is_error": False}

    def wait_for_exit(self):
        sys.stdin.read()


class Service:
    """A connection to the service; one JSON line per message, both ways."""

    def __init__(self, address):
        kind, _, rest = address.partition(":")
        if kind == "unix":
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(rest)
        else:
            host, _, port = rest.rpartition(":")
            self.socket = socket.create_connection((host, int(port)))
        self.lines = self.socket.makefile("rb")

    def start(self, tool_id):
        self.socket.sendall(json.dumps({"start": tool_id}).encode() + b"\n")

    def next(self, step):
        """Return what happens at a step; it comes when the service says so."""
        line = self.lines.readline()
        if not line:
            raise ConnectionError(f"the tool service hung up before {step['do']}")
        event = json.loads(line)
        if event.get("tool_id", event.get("do")) != step.get("tool_id", step["do"]):
            raise ConnectionError(f"the tool service is at another step than {step['do']}")
        return event

    def wait_for_exit(self):
        while self.lines.readline().strip() not in (b"", b"exit", b'{"do": "exit"}', b'{"do":"exit"}'):
            pass
