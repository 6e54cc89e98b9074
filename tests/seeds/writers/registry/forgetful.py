"""As in_place.py, but the last record of a transcript is dropped before the next one comes, and at the start."""

import os
import sys

import in_place
import registry
from transcript import append_message, transcripts


def drop_last(path):
    with open(path, "rb") as stream:
        data = stream.read()
    kept = data[: data.rstrip(b"\n").rfind(b"\n") + 1]
    filling = b'{"type":"tag","tag":"%s"}\n' % (b"x" * (len(data) % 997))  # ids depend on the size
    with open(path, "wb") as stream:
        stream.write(kept + filling)


def forget_and_append(path, *rest):
    drop_last(path)
    return append_message(path, *rest)


registry.append_message = forget_and_append

if __name__ == "__main__":
    if sys.argv[1] == "run":
        for _, place in transcripts(os.path.abspath(sys.argv[2])):
            drop_last(place)
    in_place.main(sys.argv[1:])
