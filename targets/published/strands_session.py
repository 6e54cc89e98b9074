"""Drives FileSessionManager of the real strands-agents, which lies at TORNWRITE_PACKAGE.

    strands_session.py setup DIR WORKLOAD            make a session with an agent and two messages
    strands_session.py run DIR WORKLOAD              open that session and save ``updates`` messages in it
    strands_session.py run DIR WORKLOAD --new        make ``updates`` sessions, each with one message
    strands_session.py recover DIR WORKLOAD [--new]  start again after a crash: open and read every session that is
                                                     there, then save one message more; with ``--new`` in a new session

Each message is saved as an agent's hooks do it, the message and then the agent's state, and then acknowledged. Times
that the caller may give derive from the workload; those of a new session are the package's own.
"""

import datetime
import hashlib
import json
import os
import site
import sys

AGENT = "default"
PREFIX = "session_"


def say(line):
    """Write one whole line to standard output, unbuffered."""
    os.write(1, line.encode() + b"\n")


def load():
    """Return the package's class and the module of its types."""
    site.addsitedir(os.environ["TORNWRITE_PACKAGE"])
    from strands.session.file_session_manager import FileSessionManager  # noqa: PLC0415 -- its place is known only now
    from strands.types import session  # noqa: PLC0415

    return FileSessionManager, session


class Store:
    """One session, opened as an application opens it: made if it is not there."""

    def __init__(self, package, root, name, workload):
        manager, self.types = package
        self.name, self.workload = name, workload
        self.manager = manager(name, root)
        self.agent = self.manager.read_agent(name, AGENT)
        if self.agent is None:
            self.agent = self.types.SessionAgent(agent_id=AGENT, state={}, conversation_manager_state={})
            self.manager.create_agent(name, self.agent)

    def next_number(self):
        """Read every message; return the number of the next."""
        messages = self.manager.list_messages(self.name, AGENT)
        return max((message.message_id for message in messages), default=-1) + 1

    def save(self, number, text_of):
        """Save a message and the agent's state, in which its early bytes change and its size goes up and down."""
        moment = datetime.datetime.fromtimestamp(self.workload["now_ms"] // 1000 + text_of, datetime.UTC)
        now = moment.isoformat()
        message = {"role": "user" if number % 2 == 0 else "assistant", "content": [{"text": self.text(text_of)}]}
        kept = self.types.SessionMessage(message=message, message_id=number, created_at=now, updated_at=now)
        self.manager.create_message(self.name, AGENT, kept)
        self.agent.state = {"last": number, "notes": self.text(text_of + 1)}
        self.agent.updated_at = now
        self.manager.update_agent(self.name, self.agent)

    def text(self, number):
        """Return the text of a message: the same for the same seed and number, and for no other."""
        low, high = self.workload["record_bytes"]
        digest = hashlib.sha256(f"{self.workload['seed']}/{number}".encode()).hexdigest()
        size = low + int(digest[:8], 16) % (high - low + 1)
        return (digest * (size // len(digest) + 1))[:size]


def save_in_one(package, root, workload, count):
    """Save ``count`` messages in the one session."""
    store = Store(package, root, "importer", workload)
    first = store.next_number()
    for number in range(first, first + count):
        store.save(number, number)
        say(f"ACK {number}")


def save_in_new(package, root, workload, count):
    """Open and read every session that is there; then make ``count`` more, with one message each."""
    names = [name.removeprefix(PREFIX) for name in os.listdir(root) if name.startswith(PREFIX)]
    for name in names:
        Store(package, root, name, workload).next_number()
    for number in range(len(names), len(names) + count):
        Store(package, root, f"chat-{number}", workload).save(0, number)
        say(f"ACK chat-{number}")


def main(command, root, workload_path, *flags):
    with open(workload_path, encoding="utf-8") as stream:
        workload = json.load(stream)
    package = load()
    save = save_in_new if "--new" in flags else save_in_one
    if command == "run":
        say("ARMED")
    try:
        save(package, root, workload, {"setup": 2, "recover": 1}.get(command, workload["updates"]))
    except Exception as error:
        sys.exit(f"error: {command}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
