"""The buggy reference writer: it must be violated under every fault, or the harness is blind.

What is wrong, on purpose: documents are rewritten in place; a log record takes three writes; nothing is synced;
the number of bytes that a write accepted is ignored; errors are swallowed; the acknowledgement comes before the
last document is written; recovery appends to a torn tail without healing it.
"""

import contextlib
import os
import sys

import durable
import store


def write_carelessly(path, parts, flags):
    """Write ``parts`` one by one, whatever comes of it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags | getattr(os, "O_BINARY", 0), 0o644)
    except OSError:
        return
    for part in parts:
        with contextlib.suppress(OSError):
            os.write(descriptor, part)
    os.close(descriptor)


def append(root, record):
    data = store.encode(record)
    half = len(data) // 2
    parts = [data[:half], data[half:-1], data[-1:]]
    write_carelessly(os.path.join(root, "log.jsonl"), parts, os.O_APPEND)


def rewrite(root, name, document):
    data = store.encode(document)
    half = len(data) // 2
    write_carelessly(os.path.join(root, name), [data[:half], data[half:]], os.O_TRUNC)


def run(root, workload):
    store.say("ARMED")
    with contextlib.suppress(OSError):
        os.mkdir(os.path.join(root, "sessions"))
    for index in range(1, workload.updates + 1):
        record = workload.record(index)
        name, session = workload.session(index)
        append(root, record)
        store.say(f"ACK {record['id']}")
        rewrite(root, f"sessions/{name}.json", session)
        rewrite(root, "state.json", workload.summary(index))


def recover(root):
    name = f"r{len(store.log_ids(root)) + 1}"
    append(root, {"id": name, "text": "recovered"})
    store.say(f"ACK {name}")


def main(arguments):
    command, root, *rest = arguments
    if command == "run":
        run(root, store.Workload(rest[0]))
    elif command == "recover":
        recover(root)
    else:
        durable.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
