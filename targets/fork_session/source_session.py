"""Builds the session that is forked: a transcript of prompts, tool calls and their results.

    source_session.py DIR WORKLOAD [--subagent]

``updates`` of the workload is the number of messages, ``record_bytes`` their sizes; everything else derives from
the seed, so the same workload gives the same bytes. No raw U+2028: the SDK splits lines on it, which is another
story than interruption. ``--subagent`` adds the transcript of a sub-agent, in the session's own directory.
"""

import hashlib
import json
import os
import random
import sys
import time

PROJECT = "/srv/app"
TITLE = "Retry logic of the importer"


def uuid_of(seed, name):
    """Return the version-4 UUID that stands for ``name``."""
    digest = bytearray(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x40
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def source_id(seed):
    """Return the id of the session that is forked."""
    return uuid_of(seed, "source")


def prose(stream, size):
    """Return about ``size`` bytes of lines, with a few characters of more than one byte."""
    parts = []
    while size > 0:
        word = "".join(stream.choices("abcdefghijklmnopqrstuvwxyz", k=stream.randint(2, 9)))
        part = stream.choice((" ", " ", " ", "\n", " é")) + word
        parts.append(part)
        size -= len(part)
    return "".join(parts).strip()


def message(stream, index, size):
    """Return (type, API message) number ``index``: prompt, tool call, tool result, answer, and again."""
    text = prose(stream, size)
    step = index % 4
    if step == 0:
        return "user", {"role": "user", "content": text}
    if step == 2:
        block = {"type": "tool_result", "tool_use_id": f"toolu_{index - 1:06d}", "content": text}
        return "user", {"role": "user", "content": [block]}
    content = [{"type": "text", "text": text}]
    if step == 1:
        tool = {
            "type": "tool_use",
            "id": f"toolu_{index:06d}",
            "name": "Read",
            "input": {"file_path": "importer.py"},
        }
        content.append(tool)
    return "assistant", {
        "id": f"msg_{index:06d}",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": content,
        "stop_reason": "tool_use" if step == 1 else "end_turn",
        "usage": {"input_tokens": 10 + index, "output_tokens": size // 4},
    }


def records(workload):
    """Yield the records of the source session."""
    seed = workload["seed"]
    stream = random.Random(seed)
    low, high = workload["record_bytes"]
    session, parent = source_id(seed), None
    for index in range(workload["updates"]):
        kind, body = message(stream, index, stream.randint(low, high))
        moment = time.gmtime(workload["now_ms"] // 1000 + index)
        record = {
            "parentUuid": parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": PROJECT,
            "sessionId": session,
            "version": "2.1.0",
            "gitBranch": "main",
            "type": kind,
            "message": body,
            "uuid": uuid_of(seed, f"message {index}"),
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", moment),
        }
        parent = record["uuid"]
        yield record
    yield {"type": "custom-title", "customTitle": TITLE, "sessionId": session}


def subagent_records(workload):
    """Yield the records of a sub-agent of the session."""
    for index, record in enumerate(records(workload | {"updates": 2})):
        if "uuid" in record:
            name = uuid_of(workload["seed"], f"side {index}")
            yield record | {"isSidechain": True, "agentId": "a1b2c3d4", "uuid": name, "parentUuid": None}


def write(path, lines):
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for record in lines:
            stream.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")


def main(root, workload_path, *flags):
    with open(workload_path, encoding="utf-8") as stream:
        workload = json.load(stream)
    project = os.path.join(root, "projects", PROJECT.replace("/", "-"))
    os.makedirs(project)
    session = os.path.join(project, source_id(workload["seed"]))
    write(session + ".jsonl", records(workload))
    if "--subagent" in flags:
        os.makedirs(os.path.join(session, "subagents"))
        write(os.path.join(session, "subagents", "agent-a1b2c3d4.jsonl"), subagent_records(workload))


if __name__ == "__main__":
    main(*sys.argv[1:])
