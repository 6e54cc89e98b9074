"""One write per record, acknowledged after the write. What comes of the write is not looked at.

No fsync; a torn tail is not healed; turns that were interrupted stay open. A record that cannot be written is
reported and dropped, and the conversation goes on without it.
"""

import os
import sys

from agent import Writer, main
from conversation import acknowledge, encode


class PerRecord(Writer):
    def save(self, path, record):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags, 0o644)
            try:
                os.write(descriptor, encode(record))
            finally:
                os.close(descriptor)
        except OSError as error:
            sys.stderr.write(f"error: {record['type']} record dropped: {error.strerror}\n")
            return
        acknowledge(record)


if __name__ == "__main__":
    main(PerRecord(), sys.argv[1:])
