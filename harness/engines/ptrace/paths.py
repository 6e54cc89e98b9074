"""From a path as a traced thread spells it to a name in the state directory.

The kernel resolves: the parent is opened with O_PATH and its canonical path read back, so symbolic links into
and out of the state directory are followed as the target's call will follow them. Only one traced operation is
in flight at a time, so what is resolved at the entry of a call still holds when the kernel resolves it.
"""

from __future__ import annotations

import os

from harness.engines.ptrace import abi
from harness.engines.ptrace.tracee import Thread

_OWN_FILES = (("/proc/self/", "/proc/{pid}/"), ("/dev/fd/", "/proc/{pid}/fd/"))
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MAX_LINKS = 40


def locate(thread: Thread, dirfd: int, path: str) -> str:
    """Return a path that means, to this process, what ``path`` at ``dirfd`` means to the thread.

    ``dirfd`` is taken as the register holds it. An empty path means the descriptor itself (AT_EMPTY_PATH).
    """
    if path.startswith("/"):
        if path.startswith(("/proc/", "/dev/")):
            return _own(thread, path)
        return path
    directory = abi.signed(dirfd, 32)
    base = f"/proc/{thread.tid}/cwd" if directory == abi.AT_FDCWD else f"/proc/{thread.tid}/fd/{directory}"
    return f"{base}/{path}" if path else base


def _own(thread: Thread, path: str) -> str:
    for prefix, mine in _OWN_FILES:
        if path.startswith(prefix):
            return mine.format(pid=thread.process.pid) + path[len(prefix) :]
    if path.startswith("/proc/thread-self/"):
        return f"/proc/{thread.process.pid}/task/{thread.tid}/" + path[len("/proc/thread-self/") :]
    if path in _STANDARD:
        return f"/proc/{thread.process.pid}/fd/{_STANDARD[path]}"
    return path


def canonical(path: str) -> str | None:
    """Return the kernel's own path of an existing file or directory, ``None`` where there is none."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def name_of(located: str) -> str | None:
    """Return the absolute name that a call which makes, moves or removes a name acts on.

    The last component is not followed. ``None`` where the parent does not exist.
    """
    parent, _, last = located.rstrip("/").rpartition("/")
    directory = canonical(parent or "/")
    if directory is None or not last:
        return None
    return f"/{last}" if directory == "/" else f"{directory}/{last}"


def opened_name(located: str) -> str | None:
    """Return the absolute name that an open which may create acts on: links are followed, dangling ones too."""
    for _ in range(_MAX_LINKS):
        found = canonical(located)
        if found is not None:
            return found
        try:
            destination = os.readlink(located)
        except (OSError, ValueError):
            return name_of(located)
        located = os.path.join(os.path.dirname(located), destination)
    return None


class Root:
    """The state directory: which absolute paths lie in it, and as what."""

    def __init__(self, root: str) -> None:
        self.path = root
        self._prefix = root.rstrip("/") + "/"

    def relative(self, absolute: str | None) -> str | None:
        """Return the name in the tree, ``None`` for what is outside (the state directory itself included)."""
        if absolute is not None and absolute.startswith(self._prefix):
            return absolute[len(self._prefix) :]
        return None

    def name(self, located: str) -> tuple[str | None, str | None]:
        """Return (absolute name, name in the tree) of a located path, last component not followed."""
        absolute = name_of(located)
        return absolute, self.relative(absolute)
