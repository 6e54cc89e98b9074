"""From a path as a process of the target spells it to a name in the state directory; any system.

One operation is in flight at a time, so what is resolved before it still holds when it runs.
"""

from __future__ import annotations

import os

_OWN = (("/proc/self/", "/proc/{pid}/"), ("/dev/fd/", "/proc/{pid}/fd/"))


def spelled(directory: bytes, path: bytes, pid: int) -> str:
    """Return the absolute path that a process means by ``path`` in ``directory`` (empty: it is absolute)."""
    whole = os.fsdecode(os.path.join(directory, path) if directory else path)
    for prefix, own in _OWN:
        if whole.startswith(prefix):
            return own.format(pid=pid) + whole[len(prefix) :]
    return whole


def name_of(path: str) -> str | None:
    """Return the absolute name that a call which makes, moves or removes a name acts on; its last part not followed."""
    parent, last = os.path.split(path.rstrip(os.sep) or path)
    directory = os.path.realpath(parent)
    if not last or last in (os.curdir, os.pardir) or not os.path.isdir(directory):
        return None
    return os.path.join(directory, last)


def opened_name(path: str) -> str | None:
    """Return the absolute name that an open which may create acts on: links are followed, dangling ones too."""
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):
        return None
    return real if os.path.isdir(os.path.dirname(real)) else None


class Root:
    """The state directory: which absolute paths lie in it, and as what."""

    def __init__(self, root: str) -> None:
        self._prefix = os.path.normcase(root.rstrip(os.sep)) + os.sep

    def relative(self, absolute: str | None) -> str | None:
        """Return the name in the tree, ``None`` for what is outside (the state directory itself included)."""
        if absolute is None or not os.path.normcase(absolute).startswith(self._prefix):
            return None
        return absolute[len(self._prefix) :].replace(os.sep, "/")

    def name(self, located: str) -> tuple[str | None, str | None]:
        """Return (absolute name, name in the tree) of a located path, last component not followed."""
        absolute = name_of(located)
        return absolute, self.relative(absolute)
