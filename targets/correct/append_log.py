"""An append-only log: one write and one fsync per record, the directory synced once.

append_log.py run DIR WORKLOAD
append_log.py recover DIR WORKLOAD      cuts a torn tail off, then appends one more record
"""

import json
import os
import sys

from workload import Workload, say


def write_all(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def append(descriptor, workload, number):
    """Append one record; on error the log ends where it ended before."""
    size = os.fstat(descriptor).st_size
    try:
        write_all(descriptor, json.dumps(workload.document(number)).encode() + b"\n")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
    say(f"ACK {number}")


def open_log(root):
    descriptor = os.open(os.path.join(root, "log.jsonl"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    directory = os.open(root, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return descriptor


def is_record(line):
    try:
        return isinstance(json.loads(line.decode("utf-8")), dict)
    except ValueError:
        return False


def end_of_records(data):
    """Return the offset after the last line that is a record: what follows was in flight when the machine stopped.

    A killed writer leaves a line without its newline. A power loss may leave NULs where the first blocks of the
    record belong, and its newline behind them.
    """
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if is_record(data[start : end - 1]):
            break
        end = start
    return end


def heal(descriptor):
    """Cut an unfinished last record off; return how many records remain."""
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, size, 0)
    end = end_of_records(data)
    if end < size:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    return data.count(b"\n", 0, end)


def main(command, root, workload_path):
    workload = Workload(workload_path)
    try:
        if command == "run":
            say("ARMED")
            log = open_log(root)
            for number in range(1, workload.updates + 1):
                append(log, workload, number)
        else:
            log = open_log(root)
            append(log, workload, heal(log) + 1)
    except OSError as error:
        sys.exit(f"error: {command}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
