"""Several instances of one program, as one program: starts them, waits for all.

    instances.py LIST ENDED together|in_turn

LIST is a JSON file of {"argv", "environment"}: what each has besides this program's own environment. ENDED gets a byte
for each instance that has ended, of those that run together the last started first; an empty name: nobody asks. The
instances share the streams and the process group, so what signals the group reaches each of them; the signals that a
program can catch do not end the waiting. The standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys


def main(path: str, ended: str, way: str) -> int:
    """Run the instances; return the exit code of the worst, 128 and the signal's number for one that was signalled."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # a handler, not SIG_IGN: that would be inherited
            signal.signal(getattr(signal, name), lambda *_: None)
    with open(path, encoding="utf-8") as stream:
        programs = json.load(stream)
    groups = [[each] for each in programs] if way == "in_turn" else [programs]
    codes = []
    for group in groups:
        started = [subprocess.Popen(each["argv"], env={**os.environ, **each["environment"]}) for each in group]
        for process in reversed(started):
            codes.append(process.wait())
            if ended:
                with open(ended, "ab") as stream:
                    stream.write(b".")
    return max(code if code >= 0 else 128 - code for code in codes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
