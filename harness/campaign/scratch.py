"""The temporary directory that all states of a run stand in, and what killed runs left of theirs.

A run's directory bears its id, so that a resumed run works at the same absolute path. It is claimed by a lock of the
operating system on a file beside it: the processes of a run hold it, however they end, and a directory whose lock
nobody holds is left over and removed by the next run. Without such locks (Windows) nothing is swept.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tempfile
import time
from collections.abc import Iterator

from harness.campaign.store import new_run_id
from harness.sandbox.workspace import Workspace, WorkspaceError, remove_workspace

_SWEEP_SECONDS = 1.0
_LEFT_OVER = re.compile(r"(tornwrite-\d{8}T\d{6}Z-[0-9a-f]{6})(\.worker\d+|\.lock)?")


class BaseInUseError(WorkspaceError):
    """The processes of another run still work in the directory of this run."""


def canonical_base(run_id: str) -> str:
    """Return the directory all states of a run stand in: the same for every worker, and for a resumed run."""
    return os.path.join(os.path.realpath(tempfile.gettempdir()), f"tornwrite-{run_id}")


def _try_lock(path: str) -> int:
    """Return a descriptor that holds the lock of ``path``, or -1 where someone else does, or there are no locks."""
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:
        return -1
    flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError:
            return -1
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except OSError:
            os.close(descriptor)
            return -1
        os.close(descriptor)  # its last owner removed it meanwhile


def _remove(base: str, names: Iterator[str] | list[str]) -> None:
    """Remove what a run left below the temporary directory; of what is not marked as a workspace, only the empty."""
    directory = os.path.dirname(base)
    for name in names:
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            with contextlib.suppress(Exception):  # what cannot be removed is not worth losing results
                remove_workspace(path)


def _workers(base: str) -> list[str]:
    directory, own = os.path.split(base)
    return [name for name in os.listdir(directory) if name.startswith(f"{own}.worker")]


@contextlib.contextmanager
def claimed_workspace(base: str, patience_s: float = 3.0) -> Iterator[Workspace]:
    """Give a workspace at ``base`` to one run, and remove it in the end. What other runs left over goes first.

    The processes of a killed run may need a moment to be gone: they are waited for, at most ``patience_s``; then
    :class:`BaseInUseError`.
    """
    lock = f"{base}.lock"
    deadline = time.monotonic() + patience_s
    descriptor = _try_lock(lock)
    while descriptor < 0 and os.name != "nt":
        if time.monotonic() >= deadline:
            raise BaseInUseError(f"{base}: in use by another tornwrite, or its lock file cannot be opened")
        time.sleep(0.05)
        descriptor = _try_lock(lock)
    try:
        _remove(base, _workers(base))
        sweep(os.path.dirname(base))
        yield Workspace(base)
    finally:
        _remove(base, [os.path.basename(base), *_workers(base)])
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(lock)
            os.close(descriptor)


@contextlib.contextmanager
def scratch_workspace() -> Iterator[Workspace]:
    """Give a workspace to a command that keeps no run, and remove it in the end."""
    with claimed_workspace(canonical_base(new_run_id())) as workspace:
        yield workspace


def sweep(directory: str) -> list[str]:
    """Remove the directories of runs that were killed and not resumed, for at most a second; return their names."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    left: dict[str, list[str]] = {}
    for name in os.listdir(directory):
        match = _LEFT_OVER.fullmatch(name)
        if match:
            left.setdefault(match[1], []).append(name)
    swept = []
    for own, names in left.items():
        lock = os.path.join(directory, f"{own}.lock")
        descriptor = _try_lock(lock) if time.monotonic() < deadline else -1
        if descriptor < 0:
            continue
        _remove(os.path.join(directory, own), names)
        with contextlib.suppress(OSError):
            os.unlink(lock)
        os.close(descriptor)
        swept.append(own)
    return swept
