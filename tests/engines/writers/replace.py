"""A document writer: temporary file, fsync, rename, fsync of the directory; buffered streams."""

import os
import sys

directory = sys.argv[1]
for number in range(6):
    with open(f"{directory}/doc.tmp", "w") as stream:
        stream.write(f"version {number}\n" * 1500)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(f"{directory}/doc.tmp", f"{directory}/doc")
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    print("ACK", number, flush=True)
