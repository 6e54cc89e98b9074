"""Writers that save every record, and break by the one thing that the first argument names."""

import os
import signal
import sys
import time

from agent import main
from conversation import Chat, acknowledge, encode
from per_record import PerRecord
from read_modify_write import ReadModifyWrite
from reading import read_bytes


def mode_in_chain():
    """A change of mode is saved as a message: between the results of tools, if they are under way."""
    Chat.mode = lambda self, mode: self.prompt(f"Mode {mode}")
    return PerRecord()


class CancelsLast(PerRecord):
    """Ctrl-c takes back the last record, in the belief that it is of a tool under way."""

    def __init__(self):
        self.last = ""
        signal.signal(signal.SIGINT, self.cancel)

    def save(self, path, record):
        super().save(path, record)
        self.last = path

    def cancel(self, number, _frame):
        data = read_bytes(self.last)
        os.truncate(self.last, data[:-1].rfind(b"\n") + 1)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


class NeverWaits(ReadModifyWrite):
    """The next turn begins while a result is on its way: one tool is enough to be in the way of the prompt."""

    def save_result(self, path, record):
        self.slow = record["uuid"]
        super().save_result(path, record)

    def save(self, path, record):
        snapshot = read_bytes(path)
        if record["uuid"] == getattr(self, "slow", ""):
            time.sleep(0.02)
        with open(path, "wb") as stream:
            stream.write(snapshot + encode(record))
        acknowledge(record)

    def settle(self):
        """Wait for nothing."""

    def close(self):
        super().settle()


WRITERS = {"mode_in_chain": mode_in_chain, "cancels_last": CancelsLast, "never_waits": NeverWaits}

if __name__ == "__main__":
    main(WRITERS[sys.argv[1]](), sys.argv[2:])
