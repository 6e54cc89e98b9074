"""A checkpoint before each turn, and a rollback to the last one on start: a turn is there as a whole or not at all.

A turn's records are appended as they come and acknowledged when the turn is over and its checkpoint is on disk. What a
rollback takes away is kept beside the transcript.
"""

import os
import sys

import appending
import reading
from agent import Writer, main
from conversation import acknowledge, encode, project_directory


class Checkpointed(Writer):
    whole_turns = True

    def __init__(self):
        self.unclaimed = {}

    def begin(self, root):
        appending.make_directories(project_directory(root))

    def open(self, path):
        data = reading.read_bytes(path)
        end = reading.checkpoint_end(data)
        if end == len(data):
            return
        backup = free_name(path[: -len(".jsonl")] + ".rolled-back")
        if end:
            appending.append(backup, data[end:])
            appending.cut(path, end)
        else:
            os.rename(path, backup)
            appending.sync_directory(os.path.dirname(path))

    def save(self, path, record):
        appending.append(path, encode(record))
        self.unclaimed.setdefault(path, []).append(record)

    def end_turn(self, path):
        records = self.unclaimed.pop(path, [])
        if records:
            appending.append(path, encode(reading.checkpoint(records)))
        for record in records:
            acknowledge(record)


def free_name(path):
    """Return ``path``, or the first ``path.N`` that nothing has: a backup is never overwritten."""
    name, index = path, 0
    while os.path.lexists(name):
        index += 1
        name = f"{path}.{index}"
    return name


if __name__ == "__main__":
    main(Checkpointed(), sys.argv[1:])
