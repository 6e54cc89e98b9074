"""A call between its entry and its exit, and how files are looked at for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from harness.core.operation import AnyOperation
from harness.engines.record import Record


def status(path: str, follow: bool = True) -> os.stat_result | None:
    """Return the status of a file, ``None`` where there is none or it may not be looked at."""
    try:
        return os.stat(path, follow_symlinks=follow)
    except (OSError, ValueError):
        return None


def is_outside_file(path: str, info: os.stat_result) -> bool:
    """Whether a file that is not in the tree is a real file whose writes somebody may miss."""
    return stat.S_ISREG(info.st_mode) and not path.startswith(("/proc/", "/sys/", "/dev/", "/memfd:"))


class Call:
    """One call in flight.

    Subclasses say what it would do (:meth:`predict`) and what it did (:meth:`finish`). A call that may wait for
    another process is not ``exclusive``: the others run on meanwhile. ``thread`` is the engine's own idea of who.
    """

    __slots__ = ("at_ns", "exclusive", "facts", "syscall", "thread", "watch")

    watch: Record
    thread: Any

    def __init__(self, watch: Record, thread: Any, syscall: str) -> None:
        self.watch = watch
        self.thread = thread
        self.syscall = syscall
        self.at_ns = watch.now()
        self.exclusive = True
        self.facts: tuple[int, ...] = ()
        """Numbers that came with its result, where it was the process itself that told of it."""

    def predict(self) -> AnyOperation | None:
        """Return the operation as it would be recorded if it succeeded as asked; ``None`` if nothing would be."""
        return None

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return the operations that the call was, given its return value (``-errno`` for a failure)."""
        raise NotImplementedError

    def needs_space(self) -> bool:
        """Whether the call fails on a full disk."""
        return False

    def cut(self) -> Any:
        """Return where, and by how much, the call can be shortened; ``None`` where it cannot."""
        return None

    def stamp(self, error: int = 0, ahead: int = 0) -> dict[str, Any]:
        """Return the fields every operation of this call carries."""
        return self.watch.stamp(self.thread, self.syscall, self.at_ns, ahead, error)
