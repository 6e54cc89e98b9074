"""A check that behaves as it is told: ``judge.py BEHAVIOUR DIR [ACKED] [ACKS_FILE] [MARK]``. Not a test."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

BEHAVIOUR, DIRECTORY = sys.argv[1:3]


def state() -> int:
    with open(os.path.join(DIRECTORY, "state.json"), encoding="utf-8") as stream:
        return int(json.load(stream)["n"])


if BEHAVIOUR == "accepts":
    sys.exit(0)
if BEHAVIOUR == "rejects":
    sys.exit(1)
if BEHAVIOUR == "rejects_the_last":
    sys.exit(sys.argv[3] == "1")
if BEHAVIOUR == "crashes":
    sys.stderr.write("oh\n")
    sys.exit(9)
if BEHAVIOUR == "dies":
    os.kill(os.getpid(), signal.SIGABRT)
if BEHAVIOUR == "hangs":
    time.sleep(600)
if BEHAVIOUR == "judges":
    acknowledged = int(sys.argv[3]) if sys.argv[3] != "none" else -1
    with open(sys.argv[4], encoding="utf-8") as stream:
        ids = stream.read().splitlines()
    assert (ids[-1] if ids else "0") == sys.argv[3]
    try:
        found = state()
    except FileNotFoundError:
        found = -1
    except ValueError:
        found = -2
    lost = found == -2 or found < (acknowledged if ids else -1)
    print("some words before")
    print(json.dumps({"verdict": "torn" if lost else "fine", "found": found, "\x1b[31mname": "\u202e"}))
    sys.exit(1 if lost else 0)
