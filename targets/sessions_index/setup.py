"""Builds one project per session of the workload, each with a short transcript and an index that agrees with it.

    setup.py DIR WORKLOAD

Every third session has a title of its user; all have a summary, which the index alone holds. Projects 0 and 1 also have
the transcript of a sub-agent, younger than all others, which no index shows.
"""

import os
import sys

from index import INDEX, index_bytes, rebuilt, session_path, working_directory
from transcript import Workload, append_message, append_title, encode, iso, uuid_of

MESSAGES = 3


def side_chain(workload, session, cwd):
    """Return the one record of a sub-agent's transcript."""
    return {
        "parentUuid": None,
        "isSidechain": True,
        "userType": "external",
        "cwd": cwd,
        "sessionId": session,
        "version": "2.1.0",
        "gitBranch": "main",
        "agentId": "a1b2c3d4",
        "type": "user",
        "message": {"role": "user", "content": "look for the flag"},
        "uuid": uuid_of(workload.seed, f"side chain of {session}"),
        "timestamp": iso(workload.now_ms + 10 * 86_400_000),
    }


def main(root, workload_path):
    workload = Workload(workload_path)
    for number in range(workload.sessions):
        path = session_path(root, workload, f"s{number}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        cwd = working_directory(workload, f"s{number}")
        for step in range(MESSAGES):
            append_message(path, workload, cwd, workload.now_ms - 3_600_000 + step * 1000, 120 + 61 * step)
        if number % 3 == 0:
            append_title(path, "customTitle", f"Permissions setup {number}")
        if number < 2:
            session = os.path.basename(path).removesuffix(".jsonl")
            with open(os.path.join(os.path.dirname(path), "agent-a1b2c3d4.jsonl"), "wb") as stream:
                stream.write(encode(side_chain(workload, session, cwd)) + b"\n")
        entries = rebuilt(os.path.dirname(path))
        for entry in entries.values():
            entry["summary"] = f"Summary {number}, made by a model on exit"
        with open(os.path.join(os.path.dirname(path), INDEX), "wb") as stream:
            stream.write(index_bytes(os.path.dirname(path), entries))


if __name__ == "__main__":
    main(*sys.argv[1:])
