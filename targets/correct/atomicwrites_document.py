"""A document rewritten with the published atomicwrites library, which lies at TORNWRITE_PACKAGE.

atomicwrites_document.py run DIR WORKLOAD
atomicwrites_document.py recover DIR WORKLOAD
"""

import json
import os
import site
import sys

from workload import Workload, say


def save(path, document):
    from atomicwrites import atomic_write  # noqa: PLC0415 -- its place is known only at run time

    with atomic_write(path, overwrite=True) as stream:
        json.dump(document, stream)


def main(command, root, workload_path):
    site.addsitedir(os.environ["TORNWRITE_PACKAGE"])
    workload = Workload(workload_path)
    path = os.path.join(root, "document.json")
    try:
        if command == "run":
            say("ARMED")
            numbers = range(1, workload.updates + 1)
        else:
            for name in os.listdir(root):
                if name.startswith("tmp"):  # what the library calls a document that is not finished
                    os.unlink(os.path.join(root, name))
            number = 0
            if os.path.exists(path):
                with open(path, encoding="utf-8") as stream:
                    number = json.load(stream)["number"]
            numbers = [number + 1]
        for number in numbers:
            save(path, workload.document(number))
            say(f"ACK {number}")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {command}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
