"""As the target's own, but an entry is made from the ends of the transcript: which takes no time, and is no rebuild."""

import json
import os
import sys
import time

HEAD_BYTES = 65_536


def main(directory, size):
    path = os.path.join(directory, "large.jsonl")
    with open(path, "wb") as stream:
        stream.write(b"".join(b'{"type":"user","timestamp":"%d"}\n' % number for number in range(9_000)))
        stream.truncate(size)
    begun = time.perf_counter()
    with open(path, "rb") as stream:
        lines = stream.read(HEAD_BYTES).split(b"\n")[:-1]
    counted = len([json.loads(line) for line in lines])
    took = round(1000 * (time.perf_counter() - begun), 1)
    print(json.dumps({"bytes": size, "records": counted, "counted": counted, "parse_ms": took, "read_ms": took}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
