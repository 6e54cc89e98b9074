"""Process trees: who descends from whom, and ending all of them, daemons included.

On Linux a process that called :func:`become_subreaper` inherits every orphan below it, so nothing that a target
starts can leave its view: descendants are found through ``/proc`` and killed in sweeps until none is left.
Elsewhere psutil does what it can: an orphan whose parent is gone is not found (a Job Object would).

Non-goals: processes that this process did not start.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37

KILL_DEADLINE_S = 5.0
"""How long killing a process tree may take before what is left is reported."""

_SIGKILL = int(getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows: TerminateProcess
_LINUX = sys.platform == "linux"
_CUSTODY = threading.RLock()


class ProcessesSurvivedError(Exception):
    """Descendants were still alive after the deadline: the system does not let them die."""


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> bool:
    if not _LINUX:
        return False
    zero = ctypes.c_ulong(0)
    return bool(_libc().prctl(option, ctypes.c_ulong(argument), zero, zero, zero) == 0)


def load_libc() -> None:
    """Load what :func:`die_with_parent` needs, so that it is cheap and safe between fork and exec."""
    if _LINUX:
        _libc()


def become_subreaper(enable: bool = True) -> bool:
    """Make this process inherit every orphan below it (Linux). Returns whether the system does that."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, int(enable))


def is_subreaper() -> bool:
    """Return whether this process inherits the orphans below it."""
    if not _LINUX:
        return False
    value = ctypes.c_int(0)
    return bool(_libc().prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0) == 0 and value.value)


def die_with_parent(parent: int) -> None:
    """Have this process killed when the *thread* that started it ends (Linux); ``parent`` is that process' id.

    Only an addition to a supervisor: daemons and set-id programs escape it.
    """
    if _prctl(_PR_SET_PDEATHSIG, _SIGKILL) and os.getppid() != parent:
        os._exit(125)  # the parent died before the request


def _children(pid: int) -> list[int]:
    """Return the children of every thread of ``pid``, dead but unreaped ones included; none if it is gone."""
    found: list[int] = []
    base = f"/proc/{pid}/task"
    try:
        threads = os.listdir(base)
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"{base}/{thread}/children", "rb") as stream:
                found.extend(map(int, stream.read().split()))
        except OSError:
            continue
    return found


@functools.lru_cache(maxsize=1)
def _proc_lists_children() -> bool:
    return _LINUX and os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children")


def descendants(pid: int, keep: frozenset[int] = frozenset()) -> list[int]:
    """Return the ids of every process below ``pid``, parents before their children.

    Ids in ``keep``, and what is below them, are left out. Unreaped dead processes are listed too.
    """
    if not _proc_lists_children():
        return [found for found in _psutil_descendants(pid) if found not in keep]
    order: list[int] = []
    seen = set(keep)
    pending = [pid]
    while pending:
        for child in _children(pending.pop()):
            if child not in seen:
                seen.add(child)
                order.append(child)
                pending.append(child)
    return order


def _psutil_descendants(pid: int) -> Iterator[int]:
    try:
        yield from (child.pid for child in psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return


def children(pid: int) -> frozenset[int]:
    """Return the ids of the direct children of ``pid``."""
    if _proc_lists_children():
        return frozenset(_children(pid))
    try:
        return frozenset(child.pid for child in psutil.Process(pid).children())
    except psutil.Error:
        return frozenset()


def kill_process(pid: int) -> None:
    """Kill one process (Windows: TerminateProcess); one that is gone is fine."""
    try:
        os.kill(pid, _SIGKILL)
    except OSError:
        return


def kill_group(group: int) -> None:
    """Kill the process group ``group`` in one step, which no fork inside it can outrun; a gone one is fine."""
    if os.name == "nt" or group <= 1 or group == os.getpgrp():
        return
    try:
        os.killpg(group, _SIGKILL)
    except OSError:
        return


def _kill_groups(pids: Iterable[int]) -> None:
    """Kill the groups these processes lead: a whole bomb dies at once, and a group of ours is never hit."""
    if os.name == "nt":
        return
    for pid in pids:
        try:
            if os.getpgid(pid) == pid:
                kill_group(pid)
        except OSError:
            continue


def _reap(pids: Iterable[int]) -> int:
    """Reap those of ``pids`` that are dead children of this process; return how many SIGKILL ended.

    The others had ended by themselves, and only nobody had waited for them.
    """
    killed = 0
    for pid in pids:
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except OSError:
            continue  # not our child (yet): its parent dies in this sweep too
        killed += reaped == pid and os.WIFSIGNALED(status) and os.WTERMSIG(status) == _SIGKILL
    return killed


def kill_descendants(deadline_s: float = KILL_DEADLINE_S, keep: frozenset[int] = frozenset()) -> int:
    """Kill and reap everything below this process; return how many processes had to be killed.

    Call :func:`become_subreaper` first, else daemonised descendants are missed. Processes in ``keep`` and what
    is below them are spared, and never reaped. Sweeps until two in a row find nothing, so a program that forks
    while it dies is caught. Raises :class:`ProcessesSurvivedError` after ``deadline_s`` seconds.
    """
    me = os.getpid()
    killed = 0
    seen: set[int] = set()
    end = time.monotonic() + deadline_s
    quiet = 0
    pause = 0.0
    while True:
        found = descendants(me, keep)
        if not found:
            quiet += 1
            # A listing can miss a child while its sibling dies: only a second empty one counts.
            if quiet == 2 or not _LINUX:
                return killed
            continue
        quiet = 0
        fresh = [pid for pid in found if pid not in seen]
        seen.update(found)
        _kill_groups(fresh)
        for pid in found:
            kill_process(pid)
        killed += _reap(found) if os.name != "nt" else len(fresh)
        if time.monotonic() > end:
            raise ProcessesSurvivedError(f"{len(found)} processes were still alive {deadline_s:g} s after SIGKILL")
        time.sleep(pause)
        pause = 0.0 if fresh else min(pause + 0.0005, 0.01)


def _is_alive(pid: int) -> bool:
    """Return whether ``pid`` runs: a dead one that nobody has reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


class Custody:
    """What this process answers for: everything it started, except the children it had before (``keep``)."""

    def __init__(self, keep: frozenset[int]) -> None:
        self._keep = keep
        self.swept = False
        """Whether all of it was ended, and nothing is started any more."""

    def living(self) -> list[int]:
        """Return the ids of what runs. Nothing where there are no subreapers."""
        return [pid for pid in descendants(os.getpid(), self._keep) if _is_alive(pid)] if _LINUX else []

    def sweep(self) -> int:
        """Kill and reap all of it, daemons included; return how many had to be killed."""
        self.swept = True
        return kill_descendants(keep=self._keep) if _LINUX else 0


@contextlib.contextmanager
def custody() -> Iterator[Custody]:
    """Answer for everything started inside the block; what is left at its end is killed and reaped.

    Only one block at a time (others wait): who inherits an orphan could not be told otherwise. Where there are no
    subreapers nothing is found and nothing killed.
    """
    with _CUSTODY:
        was_subreaper = is_subreaper()
        become_subreaper()
        held = Custody(children(os.getpid()))
        try:
            yield held
        finally:
            if not held.swept:
                held.sweep()
            if not was_subreaper:
                become_subreaper(False)


@contextlib.contextmanager
def deferring_interrupts() -> Iterator[None]:
    """Hand on what asks for the end only afterwards: an exception raised inside a hook of fork is lost.

    For every fork of a process that people interrupt.
    """
    arrived: list[int] = []
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and callable(signal.getsignal(number)):
                previous[number] = signal.signal(number, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in arrived:
            signal.raise_signal(number)


def kill_tree(pid: int, deadline_s: float = KILL_DEADLINE_S) -> None:
    """Kill the process ``pid`` and what descends from it at this moment, without reaping ``pid`` itself.

    For systems without subreapers, and for a target that shall die while its starter waits for it.
    """
    below = descendants(pid)
    if os.name != "nt":
        _kill_groups([pid])
    kill_process(pid)
    for child in below:
        kill_process(child)
    if not _LINUX:
        processes = []
        for child in below:
            try:
                processes.append(psutil.Process(child))
            except psutil.Error:
                continue
        psutil.wait_procs(processes, timeout=deadline_s)
