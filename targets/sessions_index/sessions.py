"""A program that appends to transcripts and keeps an index of them, in the way that its first argument names.

    sessions.py KEEPER run DIR WORKLOAD        append messages and acknowledge each by its uuid
    sessions.py KEEPER recover DIR WORKLOAD    start again, append one more message, exit gracefully
    sessions.py KEEPER list DIR [--days=7]     the picker: what the index says; some keepers warn where it is wrong
                                               by more than so many days; --cwd=PATH [--ignore-case]: one project's
    sessions.py KEEPER read DIR ID             the messages of a session, one JSON line each
    sessions.py KEEPER resume DIR ID           what resuming it would send; the picker is not asked

Messages go to the sessions that the workload's ``update`` steps name; without steps round the sessions, the last one
into a session that begins in this run. In the life number n of m only the first m - n sessions are still in use: one
project after the other falls asleep, as on the machine of seed 003. Where two instances run at once, the second goes
on with the session that the first life began in project 0.
"""

import os
import sys

from index import projects, same_path, session_path, transcripts_of, working_directory
from keepers import KEEPERS, warnings
from transcript import (
    Workload,
    api_messages,
    append_message,
    append_title,
    fail,
    heal,
    locked,
    number,
    say,
    text,
    transcripts,
    wait_for_exit,
)


def sessions_of(workload):
    """Yield the session of each update."""
    if workload.steps:
        yield from workload.steps
        return
    life = workload.life or 0
    active = max(1, min(workload.sessions, workload.lives - life)) if workload.lives else workload.sessions
    for index in range(workload.updates - 1):
        yield f"s{workload.sessions}" if workload.instance else f"s{index % active}"
    yield f"s{workload.sessions * (workload.part + 1)}"  # in project 0


def start(root, keeper):
    """Heal the transcripts of each project, and let the keeper look at it."""
    for directory in projects(root):
        with locked(directory):
            for path in transcripts_of(directory).values():
                heal(path)
            keeper.start(directory)


def add(root, workload, keeper, name, index, size, title=""):
    """Append a message to a session, at times a title before it, and acknowledge it."""
    path = session_path(root, workload, name)
    with locked(os.path.dirname(path)):
        if title:
            append_title(path, "customTitle", title)
        at_ms = workload.now_ms + index * 1000
        uuid = append_message(path, workload, working_directory(workload, name), at_ms, size)
        keeper.updated(path)
    say(f"ACK {uuid}")


def run(root, workload, keeper):
    start(root, keeper)
    for index, name in enumerate(sessions_of(workload), 1):
        size = number(workload.seed, f"size {index}", *workload.sizes)
        title = text(workload.seed, f"title {workload.life} {index}", 3 + index) if index % 5 == 4 else ""
        add(root, workload, keeper, name, index, size, title)
    wait_for_exit()
    keeper.finish()


def recover(root, workload, keeper):
    start(root, keeper)
    add(root, workload, keeper, "s0", 0, 100)
    keeper.finish()


def pick(root, keeper, days, here, case_sensitive):
    """List the sessions of all projects, or of the working directory ``here``."""
    for directory in projects(root):
        for name, warning in warnings(directory, days) if keeper.warns else ():
            say({"warning": warning, "name": name})
        for name, entry in keeper.shown(directory).items():
            if not here or same_path(entry["projectPath"], here, case_sensitive=case_sensitive):
                say({"id": name} | {key: entry[key] for key in ("messageCount", "modified")})


def transcript_of(root, name):
    for session, path in transcripts(root):
        if session == name and (messages := api_messages(path)):
            return messages
    sys.exit(f"error: no session {name}")


def main(arguments):
    flags = dict(each.partition("=")[::2] for each in arguments if each.startswith("--"))
    name, command, root, *rest = [argument for argument in arguments if not argument.startswith("--")]
    keeper = KEEPERS[name]()
    try:
        if command == "run":
            say("ARMED")
            run(root, Workload(rest[0]), keeper)
        elif command == "recover":
            recover(root, Workload(rest[0]), keeper)
        elif command == "list":
            days, here = int(flags.get("--days", 7)), flags.get("--cwd", "")
            pick(root, keeper, days, here, case_sensitive="--ignore-case" not in flags)
        elif command == "read":
            for message in transcript_of(root, rest[0]):
                say(message)
        elif command == "resume":
            say({"messages": transcript_of(root, rest[0])})
        else:
            sys.exit(f"error: unknown command {command}")
    except OSError as error:
        fail(command, error)


if __name__ == "__main__":
    main(sys.argv[1:])
