"""Finds processes by a mark that a test gave them in their environment or on their command line."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable


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


def survivors(mark: str, within_s: float, known: Iterable[int] = ()) -> set[int]:
    """Wait until no process carries ``mark``, at most ``within_s`` seconds; return those that still do.

    One that ends gives its memory back, and with it the mark, before its files: of those that were seen, or are
    ``known``, the end itself is waited for.
    """
    end, seen = time.monotonic() + within_s, set(known)
    while True:
        seen |= marked(mark)
        left = {pid for pid in seen if not _is_dead(pid)}
        if not left or time.monotonic() >= end:
            return left
        time.sleep(0.02)


def _is_dead(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True
