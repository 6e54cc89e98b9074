"""A log writer: one write per record, an acknowledgement after each."""

import os
import sys

fd = os.open(f"{sys.argv[1]}/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
for number in range(12):
    os.write(fd, b"%03d " % number + bytes([65 + number]) * (700 * number + 1) + b"\n")
    print("ACK", number, flush=True)
os.close(fd)
