"""A lock between processes that the system releases when its holder dies, on every platform."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_POLL_S = 0.1


class LockTimeoutError(Exception):
    """Another process has held the lock for the whole of the time allowed."""


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 -- exists on Windows only

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 -- does not exist on Windows

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def locked(path: str, timeout_s: float) -> Iterator[None]:
    """Hold the lock file ``path``, which stays behind; waits at most ``timeout_s`` seconds.

    Raises :class:`LockTimeoutError`, or ``OSError`` if the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        end = time.monotonic() + timeout_s
        while not _try_lock(descriptor):
            if time.monotonic() >= end:
                raise LockTimeoutError(path)
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)  # releases the lock
