"""What seed 000 proposes against torn transcripts: a temporary file, fsync, rename. Two readings of it.

rename.py {run|recover} DIR WORKLOAD                     the prose, done right; each tool still reads, appends and
                                                         replaces the whole by itself, as it did before
rename.py {run|recover} DIR WORKLOAD --example           the code as published
rename.py {run|recover} DIR WORKLOAD --example --moved   the same with its fsync moved to where the file is open
"""

import contextlib
import json
import os
import sys
import threading

from agent import Writer, main
from conversation import acknowledge, encode, project_directory
from read_modify_write import ReadModifyWrite
from reading import read_bytes, records_of


class Prose(ReadModifyWrite):
    """Unique temporary, fsync, rename: no kill tears it. Nothing makes two tools wait for each other."""

    whole_turns = True  # what is left is the race alone

    def begin(self, root):
        super().begin(root)
        directory = project_directory(root)
        for name in os.listdir(directory):
            if name.startswith(".") and name.endswith(".tmp"):
                os.unlink(os.path.join(directory, name))

    def save(self, path, record):
        data = read_bytes(path) + encode(record)
        directory, name = os.path.split(path)
        temporary = os.path.join(directory, f".{name}.{os.getpid()}-{threading.get_native_id()}.tmp")
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        acknowledge(record)


# fmt: off -- as published
def write_session_data(data, session_file):
    temp_file = session_file + ".tmp"
    with open(temp_file, "w") as f:
        json.dump(data, f)
    os.fsync(f.fileno())
    os.rename(temp_file, session_file)


def write_session_data_moved(data, session_file):
    temp_file = session_file + ".tmp"
    with open(temp_file, "w") as f:
        json.dump(data, f)
        os.fsync(f.fileno())
    os.rename(temp_file, session_file)


# fmt: on


class Example(Writer):
    """The session's records in memory, and the published function to save them all."""

    def __init__(self, write):
        self.write = write
        self.records = {}

    def open(self, path):
        data = read_bytes(path)
        try:
            self.records[path] = json.loads(data)  # what an earlier save has made of the file
        except ValueError:
            self.records[path] = records_of(data)

    def save(self, path, record):
        records = self.records.setdefault(path, [])
        records.append(record)
        self.write(records, path)
        acknowledge(record)


def writer_of(switches):
    if "--example" not in switches:
        return Prose()
    return Example(write_session_data_moved if "--moved" in switches else write_session_data)


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument.startswith("--")]
    main(writer_of(given), [argument for argument in sys.argv[1:] if argument not in given])
