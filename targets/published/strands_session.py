"""Drives FileSessionManager of the real strands-agents, which lies at TORNWRITE_PACKAGE.

    strands_session.py setup DIR WORKLOAD      make a session with an agent and two messages
    strands_session.py run DIR WORKLOAD        open the session, making it if it is not there, and save ``updates``
                                               times a message and then the agent's state; acknowledge the message
    strands_session.py recover DIR WORKLOAD    start again after a crash: read all, save one message more

The calls are those that an agent's hooks make after each message. Times that the caller may give derive from the
workload; those of a new session are the package's own.
"""

import datetime
import hashlib
import json
import os
import site
import sys

SESSION, AGENT = "importer", "default"


def say(line):
    """Write one whole line to standard output, unbuffered."""
    os.write(1, line.encode() + b"\n")


class Store:
    """One session of the package's FileSessionManager, opened as an application opens it."""

    def __init__(self, root, workload):
        from strands.session.file_session_manager import FileSessionManager  # noqa: PLC0415 -- its place is known now
        from strands.types import session  # noqa: PLC0415

        self.types = session
        self.workload = workload
        self.manager = FileSessionManager(SESSION, root)
        self.agent = self.manager.read_agent(SESSION, AGENT)
        if self.agent is None:
            self.agent = session.SessionAgent(agent_id=AGENT, state={}, conversation_manager_state={})
            self.manager.create_agent(SESSION, self.agent)

    def next_number(self):
        """Read every message; return the number of the next."""
        messages = self.manager.list_messages(SESSION, AGENT)
        return max((message.message_id for message in messages), default=-1) + 1

    def save(self, number):
        """Save a message and the agent's state, in which its early bytes change and its size goes up and down."""
        moment = datetime.datetime.fromtimestamp(self.workload["now_ms"] // 1000 + number, datetime.UTC)
        now = moment.isoformat()
        message = {"role": "user" if number % 2 == 0 else "assistant", "content": [{"text": self.text(number)}]}
        kept = self.types.SessionMessage(message=message, message_id=number, created_at=now, updated_at=now)
        self.manager.create_message(SESSION, AGENT, kept)
        self.agent.state = {"last": number, "notes": self.text(number + 1)}
        self.agent.updated_at = now
        self.manager.update_agent(SESSION, self.agent)
        say(f"ACK {number}")

    def text(self, number):
        """Return the text of a message: the same for the same seed and number, and for no other."""
        low, high = self.workload["record_bytes"]
        digest = hashlib.sha256(f"{self.workload['seed']}/{number}".encode()).hexdigest()
        size = low + int(digest[:8], 16) % (high - low + 1)
        return (digest * (size // len(digest) + 1))[:size]


def main(command, root, workload_path):
    with open(workload_path, encoding="utf-8") as stream:
        workload = json.load(stream)
    site.addsitedir(os.environ["TORNWRITE_PACKAGE"])
    import strands.session.file_session_manager  # noqa: F401, PLC0415 -- loaded before the clock starts

    try:
        if command == "run":
            say("ARMED")
        store = Store(root, workload)
        first = store.next_number()
        for number in range(first, first + {"setup": 2, "recover": 1}.get(command, workload["updates"])):
            store.save(number)
    except Exception as error:
        sys.exit(f"error: {command}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
