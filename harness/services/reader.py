"""A reader beside writers, as one program: it reads every file of a directory again and again, and notes what it got.

    reader.py DIRECTORY PIECE ROUNDS STOP

It takes no lock. Each file is read to its end in pieces of so many bytes. A line of standard output is what one read of
a file was: {"path", "data"} with the bytes in base64, null where it was gone when it was to be opened. What is the same
as what was said of the file before is not said again. There are so many rounds at least, and where STOP names a file as
many as it takes until that is there. The standard library only.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator

LARGEST = 4 << 20
"""A file with more bytes than this is left alone."""
MOST_SAID = 16 << 20
"""Bytes of output after which nothing more is said."""


def files_of(root: str) -> Iterator[str]:
    """Yield the names of the files below a directory, as they are met."""
    left = [""]
    while left:
        directory = left.pop()
        try:
            with os.scandir(os.path.join(root, directory)) as entries:
                found = sorted((each.name, each.is_dir(follow_symlinks=False)) for each in entries)
        except OSError:
            continue
        for name, is_directory in found:
            path = os.path.join(directory, name)
            if is_directory:
                left.append(path)
            else:
                yield path


def read(path: str, piece: int) -> bytes | None:
    """Return what a file holds, piece by piece as it is read; ``None`` where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    data = b""
    try:
        while len(data) <= LARGEST and (more := os.read(descriptor, piece if len(data) < 4 * piece else LARGEST)):
            data += more
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return data


def main(root: str, piece: str, rounds: str, stop: str) -> int:
    """Read until it is enough."""
    names: dict[str, None] = {}
    known: dict[str, bytes | None] = {}
    said = made = 0
    while made < int(rounds) or (stop and not os.path.exists(stop)):
        made += 1
        names |= dict.fromkeys(files_of(root))
        for path in names:
            data = read(os.path.join(root, path), int(piece))
            if len(data or b"") > LARGEST or (path in known and data == known[path]):
                continue
            known[path] = data
            line = json.dumps(
                {
                    "path": path.replace(os.sep, "/"),
                    "data": None if data is None else base64.b64encode(data).decode(),
                }
            )
            said += len(line)
            if said <= MOST_SAID:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
