"""Whether a running target stays within its limits: processes, and bytes in its state directory.

Looked at from outside a few times a second; never in the target's way, and never longer than a fraction of the
time that has passed.
"""

from __future__ import annotations

import os
import time

from harness.core.run import Limits
from harness.sandbox.processes import descendants

_EVERY_S = 0.1
_COST_FACTOR = 10.0


def disk_bytes(root: str, limit: int) -> int:
    """Return the bytes that the files below ``root`` occupy or claim; stops counting past ``limit``."""
    total = 0
    pending = [root]
    while pending and total <= limit:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # gone or changed since it was listed: the target is running
    return total


class LimitWatch:
    """Watches the target ``pid`` and its ``root``."""

    def __init__(self, limits: Limits, root: str, pid: int) -> None:
        self._limits = limits
        self._root = root
        self._pid = pid
        self._next = time.monotonic() + _EVERY_S

    @property
    def next_look(self) -> float:
        """The ``time.monotonic()`` before which :meth:`passed` does nothing."""
        return self._next

    def passed(self) -> str:
        """Return which limit the target has passed, in words, or ""."""
        now = time.monotonic()
        if now < self._next:
            return ""
        reason = ""
        if 1 + len(descendants(self._pid)) > self._limits.processes:
            reason = f"more than {self._limits.processes} processes"
        elif disk_bytes(self._root, self._limits.state_bytes) > self._limits.state_bytes:
            reason = f"more than {self._limits.state_bytes} bytes in the state directory"
        done = time.monotonic()
        self._next = done + max(_EVERY_S, _COST_FACTOR * (done - now))
        return reason
