"""Finds processes by a mark that a test gave them in their environment or on their command line."""

from __future__ import annotations

import os
import time
import uuid


def new_mark() -> str:
    """Return a mark that no other process carries."""
    return f"tornwrite-mark-{uuid.uuid4().hex}"


def marked(mark: str) -> set[int]:
    """Return the living processes, this one aside, that carry ``mark``; unreaped dead ones do not live."""
    found: set[int] = set()
    needle = mark.encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        for part in ("environ", "cmdline"):
            try:
                with open(f"/proc/{name}/{part}", "rb") as stream:
                    if needle in stream.read():
                        found.add(int(name))
            except OSError:
                continue
    return found


def survivors(mark: str, within_s: float) -> set[int]:
    """Wait until no process carries ``mark``, at most ``within_s`` seconds; return those that still do."""
    end = time.monotonic() + within_s
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    return left
