"""How long does it take to make the index entry of a large transcript anew? Seed 003 says: under 100 ms for 59 MB.

    measure_rebuild.py DIRECTORY [BYTES]

Writes a transcript of BYTES (59,000,000) into the directory and prints the best of five as one JSON line: ``parse_ms``
reads and parses every record, as the keepers do; ``read_ms`` only reads the file and counts its lines, which nothing
that looks at the whole of it can undercut.
"""

import os
import sys
import time

from index import entry_of
from transcript import digits, encode, iso, say, uuid_of

RECORD_BYTES = 3_000
RUNS = 5


def write_transcript(path, size):
    """Write messages until the transcript has ``size`` bytes."""
    session, number, written = os.path.basename(path).removesuffix(".jsonl"), 0, 0
    filling = digits(1, "filling", RECORD_BYTES)
    with open(path, "wb") as stream:
        while written < size:
            kind = "assistant" if number % 2 else "user"
            record = {
                "parentUuid": uuid_of(1, f"m{number - 1}") if number else None,
                "isSidechain": False,
                "userType": "external",
                "cwd": "/srv/p00",
                "sessionId": session,
                "version": "2.1.0",
                "gitBranch": "main",
                "type": kind,
                "message": {"role": kind, "content": [{"type": "text", "text": filling[number % 97 :]}]},
                "uuid": uuid_of(1, f"m{number}"),
                "timestamp": iso(1_767_225_600_000 + number * 1000),
            }
            number += 1
            written += stream.write(encode(record) + b"\n")


def best_ms(function, *arguments):
    """Return the least time of several calls in milliseconds, and the result."""
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        result = function(*arguments)
        times.append(1000 * (time.perf_counter() - begun))
    return round(min(times), 1), result


def count_lines(path):
    with open(path, "rb") as stream:
        return stream.read().count(b"\n")


def measure_rebuild(directory, size=59_000_000):
    """Return what was measured on a transcript of ``size`` bytes, which is left in ``directory``."""
    path = os.path.join(directory, uuid_of(1, "large") + ".jsonl")
    write_transcript(path, size)
    read_ms, lines = best_ms(count_lines, path)
    parse_ms, entry = best_ms(entry_of, path)
    size = os.path.getsize(path)
    return {
        "bytes": size,
        "records": lines,
        "counted": entry["messageCount"],
        "parse_ms": parse_ms,
        "read_ms": read_ms,
    }


if __name__ == "__main__":
    say(measure_rebuild(sys.argv[1], *map(int, sys.argv[2:])))
