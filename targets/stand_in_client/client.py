"""A small client of the Messages API that keeps its conversation in a transcript, as coding agents do.

    client.py [--resume ID] [--lossy] [-p PROMPT]

Sends the conversation, runs the Bash calls of each answer at once, sends their results, until an answer has no call;
then prints {"type": "result", "result", "session_id"}. Without a prompt it is used in a terminal (typed.py).

The transcript is $HOME/.claude/projects/<cwd>/<ID>.jsonl, a record per line. By itself it does what is right: a record
is on disk before anything happens because of it, a torn tail is ended before the next record, calls that a death left
open are answered as interrupted, and a second instance of one session waits. With --lossy none of that. A stand-in that
tests the harness: standard library only.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import uuid
from typing import Any

from typed import InputLine

BASH = {"name": "Bash", "description": "Run a command", "input_schema": {"type": "object"}}
INTERRUPTED = "The tool was interrupted: it may have had its effect."
REQUEST_S = 60


class Turn:
    """The tools that run, and whether the user has given the turn up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self.given_up = False

    def run(self, command: str) -> tuple[str, bool]:
        """Run a command; return what it said, and whether it failed."""
        with self._lock:
            if self.given_up:
                return INTERRUPTED, True
            tool = subprocess.Popen(
                ["bash", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.append(tool)
        said = tool.communicate()[0].decode("utf-8", "replace") or "(nothing)"
        return (INTERRUPTED, True) if self.given_up else (said, tool.returncode != 0)

    def give_up(self) -> None:
        """End the tools, and the turn with them."""
        with self._lock:
            self.given_up = True
            for tool in self._running:
                if tool.poll() is None:
                    os.killpg(tool.pid, signal.SIGKILL)


class Transcript:
    """The records of a session, on disk and in memory."""

    def __init__(self, session: str, lossy: bool) -> None:
        place = re.sub(r"[^a-zA-Z0-9]", "-", os.path.realpath(os.getcwd()))
        directory = os.path.join(os.environ["HOME"], ".claude", "projects", place)
        os.makedirs(directory, exist_ok=True)
        self._session = session
        self._lossy = lossy
        self._late: list[bytes] = []
        self._lock = threading.Lock()
        path = os.path.join(directory, f"{session}.jsonl")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if not lossy:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.records = self._read()

    def _read(self) -> list[dict[str, Any]]:
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            data = stream.read()
        if data and not data.endswith(b"\n") and not self._lossy:
            os.write(self._descriptor, b"\n")
        records = []
        for line in data.split(b"\n"):
            try:
                records.append(json.loads(line))
            except ValueError:
                if self._lossy and line:
                    return []  # one bad line, and there is no conversation
        return records

    def append(self, message: dict[str, Any]) -> None:
        """Keep one message, each of its blocks being of it."""
        with self._lock:
            record = {
                "type": message["role"],
                "uuid": str(uuid.uuid4()),
                "parentUuid": self.records[-1]["uuid"] if self.records else None,
                "sessionId": self._session,
                "message": message,
            }
            self.records.append(record)
            line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
            if self._lossy:
                self._late.append(line)
            else:
                os.write(self._descriptor, line)

    def flush(self) -> None:
        """Write what was kept back."""
        for line in self._late:
            os.write(self._descriptor, line)
        self._late.clear()

    def messages(self) -> list[dict[str, Any]]:
        """Return the conversation as the API takes it: messages of one role in a row are one."""
        merged: list[dict[str, Any]] = []
        for record in self.records:
            message = record["message"]
            if merged and merged[-1]["role"] == message["role"]:
                merged[-1]["content"] = [*merged[-1]["content"], *message["content"]]
            else:
                merged.append({"role": message["role"], "content": list(message["content"])})
        return merged


def close_open_calls(transcript: Transcript) -> None:
    """Answer every call that has no result."""
    blocks = [block for record in transcript.records for block in record["message"]["content"]]
    answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
    for block in blocks:
        if block["type"] == "tool_use" and block["id"] not in answered:
            transcript.append({"role": "user", "content": [result(block["id"], INTERRUPTED, failed=True)]})


def drop_open_turn(transcript: Transcript) -> None:
    """Forget what stands behind the last message whose calls all have results: what a careless client does."""
    blocks = [block for record in transcript.records for block in record["message"]["content"]]
    answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
    for index, record in enumerate(transcript.records):
        calls = [each["id"] for each in record["message"]["content"] if each["type"] == "tool_use"]
        if not set(calls) <= answered:
            del transcript.records[index:]
            return


def result(name: str, text: str, *, failed: bool = False) -> dict[str, Any]:
    """Return a result block."""
    return {"type": "tool_result", "tool_use_id": name, "content": text, **({"is_error": True} if failed else {})}


def ask(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send the conversation and return the blocks of the answer."""
    body = {"model": "stand-in", "max_tokens": 1024, "tools": [BASH], "messages": messages}
    request = urllib.request.Request(
        os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
        json.dumps(body).encode(),
        {"content-type": "application/json", "x-api-key": os.environ.get("ANTHROPIC_API_KEY", "")},
    )
    with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
        blocks: list[dict[str, Any]] = json.load(answer)["content"]
    return blocks


def run_calls(transcript: Transcript, turn: Turn, calls: list[dict[str, Any]]) -> None:
    """Run the calls of one answer at once; each result is kept when it comes."""

    def run(call: dict[str, Any]) -> None:
        text, failed = turn.run(call["input"].get("command", ""))
        transcript.append({"role": "user", "content": [result(call["id"], text, failed=failed)]})

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def converse(transcript: Transcript, turn: Turn, prompt: str) -> str:
    """Say the prompt, do what the answers ask for, and return the last reply."""
    transcript.append({"role": "user", "content": [{"type": "text", "text": prompt}]})
    while True:
        blocks = ask(transcript.messages())
        transcript.append({"role": "assistant", "content": blocks})
        calls = [block for block in blocks if block["type"] == "tool_use"]
        if not calls:
            return "".join(block["text"] for block in blocks if block["type"] == "text")
        run_calls(transcript, turn, calls)
        if turn.given_up:
            return "(given up)"


def typed(transcript: Transcript) -> None:
    """Have turns with a user in a terminal until the user leaves."""
    turns = [Turn()]

    def say(prompt: str) -> str:
        turns.append(Turn())
        try:
            text = converse(transcript, turns[-1], prompt)
        except OSError as error:
            text = f"API Error: {error}"
        return text

    blocks = [block for record in transcript.records for block in record["message"]["content"]]
    history = [block["text"] for block in blocks if block["type"] == "text"]

    def stop() -> None:
        turns[-1].give_up()

    InputLine(say, stop).run(history)
    transcript.flush()


def main() -> int:
    """Have one turn with the user."""
    options = argparse.ArgumentParser()
    options.add_argument("-p", dest="prompt")
    options.add_argument("--resume")
    options.add_argument("--lossy", action="store_true")
    options.add_argument("--output-format", choices=["json"])
    given = options.parse_args()
    session = given.resume or str(uuid.uuid4())
    transcript = Transcript(session, given.lossy)
    (drop_open_turn if given.lossy else close_open_calls)(transcript)
    if given.prompt is None:
        typed(transcript)
        return 0
    failed = False
    try:
        text = converse(transcript, Turn(), given.prompt)
    except urllib.error.HTTPError as error:
        failed, text = True, f"API Error: {error.code} {error.read().decode('utf-8', 'replace')}"
    except OSError as error:
        failed, text = True, f"API Error: {error}"
    said = {"type": "result", "is_error": failed, "result": text, "session_id": session}
    if not given.lossy:
        transcript.flush()
    print(json.dumps(said), flush=True)
    transcript.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
