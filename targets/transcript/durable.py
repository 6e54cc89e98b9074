"""One append per record, one after the other: every byte, fsync, then the acknowledgement.

On open a torn tail is cut off and tools that nobody answered are answered with an error. An interrupted turn is
closed before anything else is said. On SIGINT, SIGTERM and SIGHUP the record under way is finished and nothing more
is written: all that was acknowledged is on disk already.
"""

import os
import signal
import sys

import appending
from agent import Writer, main
from conversation import acknowledge, encode, project_directory


class Stopped(BaseException):
    """A signal asks the program to end."""


class Durable(Writer):
    whole_turns = True

    def __init__(self):
        self.saving = False
        self.signal = 0

    def on_signal(self, number, _frame):
        self.signal = number
        if not self.saving:
            raise Stopped

    def begin(self, root):
        appending.make_directories(project_directory(root))

    def open(self, path):
        appending.heal(path)

    def save(self, path, record):
        self.saving = True
        try:
            appending.append(path, encode(record))
            acknowledge(record)
        finally:
            self.saving = False
        if self.signal:
            raise Stopped


def run(writer, arguments):
    """Run a writer that ends at once, and by the signal itself, when a signal asks it to."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), writer.on_signal)
    try:
        main(writer, arguments)
    except Stopped:
        signal.signal(writer.signal, signal.SIG_DFL)
        os.kill(os.getpid(), writer.signal)


if __name__ == "__main__":
    run(Durable(), sys.argv[1:])
