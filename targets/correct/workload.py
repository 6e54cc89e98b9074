"""What every correct writer stores: values that derive from the seed, and nothing but the standard library."""

import hashlib
import json
import os


def say(line):
    """Write one whole line to standard output, unbuffered."""
    os.write(1, line.encode() + b"\n")


class Workload:
    """The workload file. Update ``n`` (from 1) stores :meth:`value` ``n``; sizes shrink as well as grow."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        self.seed = data["seed"]
        self.updates = data["updates"]
        self.low, self.high = data["record_bytes"]

    def value(self, number):
        """Return the text of an update: the same for the same seed and number, and for no other."""
        digest = hashlib.sha256(f"{self.seed}/{number}".encode()).hexdigest()
        size = self.low + int(digest[:8], 16) % (self.high - self.low + 1)
        return (digest * (size // len(digest) + 1))[:size]

    def document(self, number):
        """Return the document after an update; its early bytes change every time."""
        return {"number": number, "id": str(number), "value": self.value(number)}
