"""The life of a program that talks to a model and keeps transcripts: plays the steps, has a writer save the records.

    WRITER.py run DIR WORKLOAD        go on with the sessions that are there, play the steps, acknowledge what is saved
    WRITER.py recover DIR WORKLOAD    start again after a crash: whatever the writer repairs, then a prompt per session

Writers differ in how they save a record, in what they do when they open a session, and in whether they keep a
conversation whole when the user interrupts it. All of that is in :class:`Writer`; nothing of it is here.
"""

import os
import signal
import sys

import reading
from conversation import INTERRUPTED, UNKNOWN_RESULT, Chat, Workload, moves, project_directory, say
from tools import connect


class Writer:
    """How records reach the disk. This one keeps nothing whole; ``save`` is what every writer must have.

    ``whole_turns``: tools that were interrupted are answered with an error, prompts wait until the tools are done.
    """

    whole_turns = False

    def begin(self, root):
        """Prepare the directory of the transcripts."""
        os.makedirs(project_directory(root), exist_ok=True)

    def open(self, path):
        """Look after a transcript before it is read."""

    def save(self, path, record):
        """Save and acknowledge one record."""
        raise NotImplementedError

    def save_result(self, path, record):
        """Save the result of a tool that is done."""
        self.save(path, record)

    def settle(self):
        """Wait for what is under way: the next turn is about to begin."""

    def end_turn(self, path):
        """All tools of a turn are answered."""

    def close(self):
        """The program ends gracefully."""


class Agent:
    """Plays the steps of one life."""

    def __init__(self, root, workload, writer):
        self.root = root
        self.workload = workload
        self.writer = writer
        self.chats = {}

    def open(self, name, era):
        """Open a session, or begin it; turns that an earlier life left open are closed if the writer does so."""
        path = self.workload.path(self.root, name)
        if os.path.exists(path):
            self.writer.open(path)
        records = reading.records_of(reading.read_bytes(path))
        chain = reading.chain_of(records)
        if era == "recover":  # recovering twice must not make one uuid twice
            era = f"recover {sum(record.get('type') in reading.IN_CHAIN for record in records)}"
        chat = self.chats[name] = Chat(self.workload, name, path, era, chain[-1]["uuid"] if chain else None)
        if self.writer.whole_turns:
            chat.open = reading.open_tools(chain)
            self.close_tools(chat, UNKNOWN_RESULT)

    def close_tools(self, chat, text):
        for tool_id in list(chat.open):
            self.writer.save(chat.path, chat.result(tool_id, text, is_error=True))

    def run(self):
        tools = connect(self.workload)
        say("ARMED")
        self.writer.begin(self.root)
        for name in self.workload.sessions:
            self.open(name, f"life {self.workload.life}")
        for step, tool_ids in moves(self.workload.steps):
            self.play(step, tool_ids, self.chats[step["session"]], tools)
        self.writer.settle()
        for chat in self.chats.values():
            self.end_turn_if_done(chat)
        if "TORNWRITE_LIFE" in os.environ:
            say("IDLE")
            tools.wait_for_exit()
        self.writer.close()

    def play(self, step, tool_ids, chat, tools):
        """Play one step: the program's own, or what comes from the tools and the user."""
        do, turn = step["do"], step["at"]
        if do == "user":
            self.writer.settle()
            self.writer.save(chat.path, chat.prompt(f"Prompt {turn}"))
        elif do == "assistant":
            for record in chat.answer(turn, tool_ids):
                self.writer.save(chat.path, record)
            for tool_id in tool_ids:
                tools.start(tool_id)
            self.end_turn_if_done(chat)
        elif do == "update":
            self.writer.save(chat.path, chat.title(turn))
        else:
            event = tools.next(step)
            if "tool_id" in event:
                record = chat.result(event["tool_id"], event["result"], event.get("is_error", False))
                self.writer.save_result(chat.path, record)
                self.end_turn_if_done(chat)
            else:
                self.interrupt(event["do"], turn, chat)

    def interrupt(self, do, turn, chat):
        """The user does something while tools are open."""
        if do == "new_message":
            if self.writer.whole_turns and chat.open:
                chat.waiting.append(f"Prompt {turn} beside the tools")
            else:
                self.writer.save(chat.path, chat.prompt(f"Prompt {turn} beside the tools"))
        elif do == "mode_switch":
            self.writer.save(chat.path, chat.mode("plan"))
        elif do == "escape":
            if self.writer.whole_turns:
                self.close_tools(chat, INTERRUPTED)
            chat.open.clear()
            self.writer.save(chat.path, chat.interruption())
            self.end_turn_if_done(chat)
        else:
            signal.raise_signal(signal.SIGINT)

    def end_turn_if_done(self, chat):
        if chat.open:
            return
        for prompt in chat.waiting:
            self.writer.save(chat.path, chat.prompt(prompt))
        chat.waiting.clear()
        self.writer.end_turn(chat.path)

    def recover(self):
        """Go on with every session there is; the first one is begun if there is none."""
        self.writer.begin(self.root)
        names = [name for name in self.workload.sessions if os.path.exists(self.workload.path(self.root, name))]
        for name in names or self.workload.sessions[:1]:
            self.open(name, "recover")
            chat = self.chats[name]
            self.writer.save(chat.path, chat.prompt("Prompt after recovery"))
            self.writer.end_turn(chat.path)
        self.writer.settle()
        self.writer.close()


def main(writer, arguments):
    """Run a writer's program; an error that the writer does not swallow ends it without an acknowledgement."""
    command, root, workload_path = arguments
    # What Python makes of ctrl-c by default is a traceback; a program that knows nothing of signals just dies.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    agent = Agent(root, Workload(workload_path), writer)
    try:
        if command == "run":
            agent.run()
        else:
            agent.recover()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {command}: {getattr(error, 'strerror', None) or error}\n")
        sys.exit(1)
