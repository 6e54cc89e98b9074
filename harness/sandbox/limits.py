"""What a child process is bounded by and starts with: resource limits, default signals, death with its parent.

Runs between fork and exec, so it only makes system calls. Does nothing on Windows.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable

from harness.sandbox.processes import die_with_parent, load_libc

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

NO_FILE_LIMIT = -1


@functools.lru_cache(maxsize=1)
def _tasks_of_this_user() -> int:
    """Return how many threads and processes this user has: RLIMIT_NPROC counts them all."""
    me, count = os.getuid(), 0
    try:
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == me:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    except OSError:
        return 0
    return count


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, hard))


def _reset_signals() -> None:
    # A worker ignores SIGINT, and a shell's background job too; a target must meet the defaults.
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def child_setup(
    *, processes: int = 0, file_bytes: int = NO_FILE_LIMIT, with_parent: bool = True
) -> Callable[[], None] | None:
    """Return what a child calls between fork and exec; ``None`` where the platform has no such moment.

    No core dumps; default signal handling, nothing blocked; killed with the thread that starts it unless
    ``with_parent`` is false. ``processes`` bounds what the user may start beyond what runs now (not as root,
    whom the system never bounds); ``file_bytes`` is RLIMIT_FSIZE, unset by default.
    """
    if os.name == "nt":
        return None
    load_libc()
    parent = os.getpid()
    tasks = _tasks_of_this_user() + 4 * processes if processes and os.geteuid() != 0 else 0

    def setup() -> None:
        _reset_signals()
        if with_parent:
            die_with_parent(parent)
        _lower(resource.RLIMIT_CORE, 0)
        if tasks:
            _lower(resource.RLIMIT_NPROC, tasks)
        if file_bytes != NO_FILE_LIMIT:
            _lower(resource.RLIMIT_FSIZE, file_bytes)

    return setup
