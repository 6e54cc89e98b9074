"""Builds the sessions that a run goes on with: finished turns, all tools answered.

    history.py DIR WORKLOAD

Each session has ``updates`` turns whose results are as large as ``record_bytes`` says, so these two set the size of
the transcripts. Where there are several sessions the last one has no history: it begins in the run. ``--checkpoints``
ends each turn with one.
"""

import os
import sys

from conversation import Chat, Workload, encode, moves, project_directory, result_of
from reading import checkpoint

DAY_MS = 86_400_000


def lines_of(workload, name, path, checkpoints):
    """Yield the lines of one session's history."""
    chat = Chat(workload, name, path, "history", now_ms=workload.now_ms - DAY_MS)
    mine = (s for s in workload.derived_steps("history", workload.record_bytes) if s["session"] == name)
    for step, tools in moves(mine):
        if step["do"] == "user":
            yield encode(chat.prompt(f"Prompt {step['at']}"))
        elif step["do"] == "assistant":
            yield from map(encode, chat.answer(step["at"], tools))
        else:
            text = result_of(workload.seed, step["tool_id"], step["result_bytes"])
            record = chat.result(step["tool_id"], text)
            yield encode(record)
            if checkpoints and not chat.open:
                yield encode(checkpoint([record]))


def main(arguments):
    checkpoints = "--checkpoints" in arguments
    root, workload_path = (argument for argument in arguments if not argument.startswith("--"))
    workload = Workload(workload_path)
    os.makedirs(project_directory(root))
    for name in workload.sessions[:-1] or workload.sessions:
        path = workload.path(root, name)
        with open(path, "wb") as stream:
            stream.writelines(lines_of(workload, name, path, checkpoints))


if __name__ == "__main__":
    main(sys.argv[1:])
