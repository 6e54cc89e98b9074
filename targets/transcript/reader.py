"""The readers of the transcripts in a state directory; they change nothing.

    reader.py list DIR                  session ids and warnings, by the first and last 64 KiB of each transcript
    reader.py read DIR ID               the records of one session
    reader.py resume DIR ID             the API messages that resuming it would send, the next prompt included

``--close`` resumes as a writer does that closes open turns, ``--rollback`` as one that goes back to the last
checkpoint. Without them a conversation is sent as it stands.
"""

import json
import os
import sys

import reading
from conversation import UNKNOWN_RESULT, project_directory, say

NEXT_PROMPT = "Continue."


def show(value):
    say(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def list_sessions(root):
    for name, path in reading.transcripts(root):
        size, head, tail = reading.ends_of(path)
        if reading.is_shown(head, tail):
            show({"id": name})
        problem = reading.problem_of(size, head, tail)
        if problem:
            show({"warning": problem, "name": name})


def data_of(root, name):
    path = os.path.join(project_directory(root), name + ".jsonl")
    if not os.path.isfile(path):
        refuse(f"no session {name}")
    return reading.read_bytes(path)


def refuse(reason):
    show({"error": reason})
    sys.exit(1)


def read_session(root, name):
    records = reading.records_of(data_of(root, name))
    if not records:
        refuse(f"no readable record in session {name}")
    for record in records:
        show(record)


def resume(root, name, close, rollback):
    data = data_of(root, name)
    if rollback:
        data = data[: reading.checkpoint_end(data)]
    chain = reading.chain_of(reading.records_of(data))
    if not chain and not rollback:
        refuse(f"no conversation in session {name}")
    messages = reading.messages_of(chain)
    blocks = [
        {"type": "tool_result", "tool_use_id": tool_id, "content": UNKNOWN_RESULT, "is_error": True}
        for tool_id in (reading.open_tools(chain) if close else ())
    ]
    blocks.append({"type": "text", "text": NEXT_PROMPT})
    if messages and messages[-1]["role"] == "user":
        messages[-1]["content"] += blocks
    else:
        messages.append({"role": "user", "content": blocks})
    show({"messages": messages})


def main(arguments):
    switches = {argument for argument in arguments if argument.startswith("--")}
    command, root, *rest = [argument for argument in arguments if argument not in switches]
    if command == "list":
        list_sessions(root)
    elif command == "read":
        read_session(root, rest[0])
    elif command == "resume":
        resume(root, rest[0], "--close" in switches, "--rollback" in switches)
    else:
        sys.exit(f"unknown command {command}")


if __name__ == "__main__":
    main(sys.argv[1:])
