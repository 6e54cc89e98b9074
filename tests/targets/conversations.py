"""Transcripts under test: their records, workloads whose user interrupts, and what is wrong with API messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.catalog import Workload, fill
from harness.catalog.workload import Tools
from harness.sandbox.command import CommandResult, run_command
from tests.targets.plain_run import Bench

Record = dict[str, Any]
TOOLS = ("toolu_a", "toolu_b", "toolu_c")
SMALL = {"sessions": 1, "updates": 1, "record_bytes": (20, 2000)}
_RESUMES = {"durable": "--close", "tmp_fsync_rename": "--close", "checkpointed": "--rollback"}


def tools(parallel: int) -> Tools:
    return Tools(parallel=parallel, result_bytes=(20, 3000))


def workload(sessions: int = 2, updates: int = 3, parallel: int = 1) -> Workload:
    return Workload(sessions=sessions, updates=updates, record_bytes=(20, 6000), tools=tools(parallel))


def transcripts(writer: Bench) -> dict[str, Path]:
    return {path.stem: path for path in sorted(writer.root.glob("projects/-srv-app/*.jsonl"))}


def records(path: Path) -> list[Record]:
    """Return the records of a whole transcript; fails on a torn one."""
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def uuids(writer: Bench) -> list[str]:
    return [each["uuid"] for path in transcripts(writer).values() for each in records(path) if "uuid" in each]


def turn(*events: str, at: int = 0) -> list[Record]:
    """Return the steps of a turn with three tools. An event is a tool's letter or what the user does."""
    steps = [{"at": at, "do": "user"}, {"at": at, "do": "assistant"}]
    suffix = f"_{at}"
    steps += [{"at": at, "do": "tool_start", "tool_id": name + suffix} for name in TOOLS]
    for event in events:
        if len(event) == 1:
            steps.append({"at": at, "do": "tool_done", "tool_id": f"toolu_{event}{suffix}", "result_bytes": 300})
        else:
            steps.append({"at": at, "do": event})
    return [{"session": "s0", **step} for step in steps]


def play(writer: Bench, steps: list[Record], **environment: str) -> CommandResult:
    """Run a writer over these steps on the tree that is there."""
    spec = writer.subject.spec
    ((path, data),) = spec.files.items()
    Path(path).write_text(json.dumps({**json.loads(data), "steps": steps}), encoding="utf-8")
    try:
        return run_command(
            spec.argv, cwd=spec.cwd, environment={**spec.environment, **environment}, timeout_s=60.0
        )
    finally:
        Path(path).write_bytes(data)


def resume(writer: Bench, session: str) -> CommandResult:
    """Ask a writer for the messages that resuming a session would send."""
    argv = ["resume" if word == "read" else word for word in fill(writer.subject.read, id=session)]
    switch = _RESUMES.get(writer.subject.variant)
    return writer.command((*argv, *([switch] if switch else [])))


def messages(writer: Bench) -> list[Record]:
    """Return what resuming the only session would send."""
    (session,) = transcripts(writer)
    result = resume(writer, session)
    assert result.exit_code == 0, result.stdout
    found: list[Record] = json.loads(result.stdout)["messages"]
    return found


def results(sent: list[Record]) -> dict[str, Record]:
    blocks = [block for message in sent for block in message["content"]]
    return {block["tool_use_id"]: block for block in blocks if block["type"] == "tool_result"}


def faults(sent: list[Record]) -> Iterator[str]:
    """Yield what the API would refuse, in short."""
    if not sent or sent[0]["role"] != "user":
        yield "the first message is not the user's"
    called: list[str] = []
    for index, message in enumerate(sent):
        if not message["content"] or {"type": "text", "text": ""} in message["content"]:
            yield f"{index}: empty"
        if index and message["role"] == sent[index - 1]["role"]:
            yield f"{index}: the same role twice"
        kinds = [block["type"] for block in message["content"]]
        answered = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        if sorted(answered) != sorted(called):
            yield f"{index}: answers {len(answered)} of {len(called)} calls"
        if "tool_result" in kinds[len(answered) :]:
            yield f"{index}: a result after a text"
        called = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
    if called:
        yield "the last calls are open"


def environment_of(writer: Bench, **extra: str) -> Mapping[str, str]:
    return {**writer.subject.spec.environment, **extra}
