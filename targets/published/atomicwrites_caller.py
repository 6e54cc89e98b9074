"""A caller of the published atomicwrites library, which lies at TORNWRITE_PACKAGE: read, add an entry, replace.

    atomicwrites_caller.py run DIR WORKLOAD        add ``updates`` entries; each is acknowledged once it is replaced
    atomicwrites_caller.py recover DIR WORKLOAD    start again after a crash: add one entry more and acknowledge it

Each replacement is atomic and durable; nothing makes the reading before it a part of it. Each instance has entries of
its own.
"""

import hashlib
import json
import os
import site
import sys


def value_of(workload, name):
    digest = hashlib.sha256(f"{workload['seed']}/{name}".encode()).hexdigest()
    low, high = workload["record_bytes"]
    size = low + int(digest[:8], 16) % (high - low + 1)
    return (digest * (size // len(digest) + 1))[:size]


def read(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return {"entries": {}}


def add(path, workload, name):
    from atomicwrites import atomic_write  # noqa: PLC0415 -- its place is known only at run time

    document = read(path)
    document["entries"][name] = value_of(workload, name)
    with atomic_write(path, overwrite=True) as stream:
        json.dump(document, stream)
    os.write(1, f"ACK {name}\n".encode())


def main(command, root, workload_path):
    site.addsitedir(os.environ["TORNWRITE_PACKAGE"])
    with open(workload_path, encoding="utf-8") as stream:
        workload = json.load(stream)
    path = os.path.join(root, "document.json")
    instance = os.environ.get("TORNWRITE_INSTANCE", "0")
    try:
        if command == "run":
            os.write(1, b"ARMED\n")
            for number in range(1, workload["updates"] + 1):
                add(path, workload, f"{instance}-{number}")
        else:
            for name in os.listdir(root):
                if name.startswith("tmp"):  # what the library calls a document that is not finished
                    os.unlink(os.path.join(root, name))
            add(path, workload, f"after-{len(read(path)['entries'])}-entries")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {command}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
