"""What the writers of this folder write: records of a conversation, derived from the seed and names alone.

No clock, no randomness and no pid in any content: two runs of one workload make the same records, in whatever order
they reach the disk. The parent of a record is the one that its conversation made before it, so a record that never
arrives leaves the next one without its parent.

Non-goals: files. How a record is saved is what the writers differ in.
"""

import hashlib
import json
import os
import time

PROJECT = "/srv/app"
INTERRUPTED = "[Request interrupted by user for tool use]"
UNKNOWN_RESULT = "The session ended before this tool was done. What it did is not known."
MASK = (1 << 64) - 1
PROMPT_MAX = 2_000  # a lister of heads and tails must find the first prompt in the first 64 KiB
ANSWER_MAX = 4_000


def say(line):
    """Write one whole line to standard output, unbuffered: an acknowledgement must not wait in a buffer."""
    os.write(1, line.encode() + b"\n")


def acknowledge(record):
    """Claim that a record is saved; those without a uuid (a mode, a checkpoint) are never claimed."""
    if "uuid" in record:
        say(f"ACK {record['uuid']}")


def words(seed, name, length):
    """Return ``length`` characters that differ from name to name, with a raw U+2028 (legal in JSON) at times."""
    state = (seed * 0x9E3779B97F4A7C15 + 1) & MASK
    for char in name:
        state = ((state ^ ord(char)) * 0x100000001B3) & MASK
    parts = []
    size = 0
    while size < length:
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        part = f"{state >> 16:x} " if state >> 60 else "\u2028"
        parts.append(part)
        size += len(part)
    return "".join(parts)[:length]


def number(seed, name, low, high):
    """Return a number in [low, high] that depends on seed and name only."""
    return low + int("".join(c for c in words(seed, name, 64) if c in "0123456789")[:9] or "0") % (high - low + 1)


def digest_of(seed, name):
    """Return 32 hex digits that stand for ``name``."""
    return hashlib.blake2b(f"{seed}/{name}".encode()).hexdigest()[:32]


def uuid_of(seed, name):
    """Return the uuid that stands for ``name``."""
    text = digest_of(seed, name)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def result_of(seed, tool_id, length):
    """Return what a tool says; the service that runs the tools derives the same."""
    return words(seed, tool_id, length)


def encode(record):
    """Return a record as one line of UTF-8."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


class Workload:
    """The workload file: which sessions there are, and the steps of this life."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        self.seed = data["seed"]
        self.now_ms = int(os.environ.get("TORNWRITE_NOW") or data["now_ms"])
        self.life = os.environ.get("TORNWRITE_LIFE") or "0"
        self.updates = data["updates"]
        self.record_bytes = data["record_bytes"]
        self.tools = data["tools"]
        self.sessions = [f"s{index}" for index in range(max(1, data["sessions"]))]
        self.steps = data["steps"] or list(self.derived_steps(self.life, self.tools["result_bytes"]))

    def derived_steps(self, era, result_bytes):
        """Yield the steps where the workload has none: ``updates`` turns, the tools done in their order."""
        for turn in range(self.updates):
            for name in self.sessions:
                yield {"at": turn, "do": "user", "session": name}
                yield {"at": turn, "do": "assistant", "session": name}
                tools = []
                for index in range(max(1, self.tools["parallel"])):
                    tool_id = "toolu_" + digest_of(self.seed, f"{name}/{era}/{turn}/{index}")[:24]
                    size = number(self.seed, tool_id, *result_bytes)
                    tools.append({"at": turn, "session": name, "tool_id": tool_id, "result_bytes": size})
                for do in ("tool_start", "tool_done"):
                    yield from ({"do": do, **tool} for tool in tools)

    def session_id(self, name):
        """Return the id of a session, which is the stem of its transcript."""
        return uuid_of(self.seed, name)

    def path(self, root, name):
        return os.path.join(project_directory(root), self.session_id(name) + ".jsonl")


def project_directory(root):
    return os.path.join(root, "projects", "".join(c if c.isascii() and c.isalnum() else "-" for c in PROJECT))


def moves(steps):
    """Yield (step, the ids of its tools): an assistant's answer and the tools it starts are one move."""
    answer, tools = None, []
    for step in steps:
        if step["do"] == "tool_start":
            tools.append(step["tool_id"])
            continue
        if answer is not None:
            yield answer, tools
            answer, tools = None, []
        if step["do"] == "assistant":
            answer = step
        else:
            yield step, []
    if answer is not None:
        yield answer, tools


class Chat:
    """One session as its writer has it in memory: makes records, knows which tools are open.

    ``era`` sets the uuids of one life apart from those of another; ``parent`` is the record to go on from.
    """

    def __init__(self, workload, name, path, era, parent=None, now_ms=None):
        self.workload = workload
        self.name = name
        self.id = workload.session_id(name)
        self.path = path
        self.era = era
        self.parent = parent
        self.now_ms = workload.now_ms if now_ms is None else now_ms
        self.made = 0
        self.open = {}  # tool id -> uuid of the record that calls it
        self.waiting = []  # prompts held back until the tools are done

    def _record(self, kind, message, **extra):
        self.made += 1
        moment = self.now_ms + self.made * 1000
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 1000))
        record = {
            "parentUuid": self.parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": PROJECT,
            "sessionId": self.id,
            "version": "2.1.0",
            "gitBranch": "main",
            "type": kind,
            "message": message,
            "uuid": uuid_of(self.workload.seed, f"{self.name}/{self.era}/{self.made}"),
            "timestamp": f"{stamp}.{moment % 1000:03d}Z",
            **extra,
        }
        self.parent = record["uuid"]
        return record

    def _text(self, name, most):
        seed, (low, high) = self.workload.seed, self.workload.record_bytes
        name = f"{self.name}/{self.era}/{name}"
        return words(seed, name, number(seed, name, min(low, most), min(high, most)))

    def prompt(self, what):
        """Return the user's next prompt."""
        text = f"{what}: " + self._text(what, PROMPT_MAX)
        return self._record("user", {"role": "user", "content": text})

    def answer(self, turn, tool_ids):
        """Return the assistant's answer, one record per block; the blocks share the id of their message."""
        blocks = [{"type": "text", "text": f"Answer {turn}: " + self._text(f"answer {turn}", ANSWER_MAX)}]
        blocks += [
            {"type": "tool_use", "id": each, "name": "Read", "input": {"file_path": f"/srv/app/{each[-6:]}.py"}}
            for each in tool_ids
        ]
        digest = digest_of(self.workload.seed, f"{self.name}/{self.era}/message {turn}")
        records = []
        for block in blocks:
            message = {
                "id": f"msg_{digest[:24]}",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-5",
                "content": [block],
                "stop_reason": "tool_use" if tool_ids else "end_turn",
                "usage": {"input_tokens": 10 + turn, "output_tokens": 20},
            }
            records.append(self._record("assistant", message, requestId=f"req_{digest[:24]}"))
            if block["type"] == "tool_use":
                self.open[block["id"]] = self.parent
        return records

    def result(self, tool_id, text, is_error=False):
        """Return the record of a tool that is done."""
        block = {"type": "tool_result", "tool_use_id": tool_id, "content": text, "is_error": is_error}
        asked_by = self.open.pop(tool_id, None)
        message = {"role": "user", "content": [block]}
        return self._record("user", message, sourceToolAssistantUUID=asked_by)

    def interruption(self):
        """Return what stands in the conversation after the user pressed escape."""
        return self._record("user", {"role": "user", "content": [{"type": "text", "text": INTERRUPTED}]})

    def mode(self, mode):
        """Return the record of a change of mode; it is no part of the chain."""
        return {"type": "permission-mode", "permissionMode": mode, "sessionId": self.id}

    def title(self, turn):
        """Return the record of a title."""
        return {"type": "custom-title", "customTitle": f"Title {turn}", "sessionId": self.id}
