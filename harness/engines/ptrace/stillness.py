"""Whether threads of other processes are asleep, and in what, as ``/proc`` tells it.

Used to give everybody who is on the way the time to come before a decision is made. It never decides who goes next.

Threads are looked at one after the other, and one that is still awake may wake one that was seen asleep. So a look
then takes how often each has run: who has not run between two looks slept all the while, and where that is true of
everybody, all of them slept at one moment.
"""

from __future__ import annotations

import os
import struct
import time

_LOCKS = {"202": "futex", "73": "flock", "72": "fcntl"}
_SLEEPS = frozenset(("35", "230"))
"""``nanosleep`` and ``clock_nanosleep``."""
_TIMED_BY_ADDRESS = {"23": 5, "270": 5, "271": 3, "441": 4}
"""``select``, ``pselect6``, ``ppoll``, ``epoll_pwait2``: which argument is where the timeout is, 0: for ever."""
_TIMED_BY_NUMBER = {"7": 3, "232": 4, "281": 4}
"""``poll``, ``epoll_wait``, ``epoll_pwait``: which argument is the timeout in milliseconds, for ever if negative."""
_FUTEX, _FUTEX_COMMAND, _FUTEX_WAIT, _FUTEX_CLOCK_REALTIME = "202", 127, 0, 256
_TIMESPEC = struct.Struct("qq")
_LONG_NS = 10_000_000
"""Who waits longer for a futex waits for a time: an interpreter lock is asked for every 5 ms."""
_MOST_FILES = 200
"""Files of ``/proc`` that are kept open between looks, at most."""
_READ_BYTES = 4096


class Eyes:
    """Looks at threads again and again: their files in ``/proc`` are kept open, and say the present at each read.

    For one thread of the tracer.
    """

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._beside: list[int] = []

    def state(self, tid: int) -> str:
        """Return the state letter of a thread, empty where it is gone."""
        raw = self._read(f"/proc/{tid}/stat")
        return raw[raw.rfind(b")") + 2 :][:1].decode("ascii")

    def used_ns(self, tid: int) -> int:
        """Return the processor time that a thread has used: a starved one has used none, one that spins a lot."""
        return self._scheduled(tid)[0]

    def times_run(self, tid: int) -> int:
        """Return how often a thread was given a processor; 0 where the kernel does not count that, or it is gone."""
        return self._scheduled(tid)[2]

    def look_beside(self, pid: int) -> dict[int, int] | None:
        """Look at a process beside the run: how often its threads have run, if all sleep and all it started have ended.

        ``None`` while it is on the way to something. One that is gone is on the way to nothing.
        """
        try:
            if os.stat(f"/proc/{pid}/task").st_nlink != len(self._beside) + 2:  # a thread is a directory in it
                self._beside = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
        except OSError:
            return {}
        seen = {}
        for tid in self._beside:
            if not is_asleep(self.state(tid)):
                self._beside = []  # it may have ended, and another one begun
                return None
            if any(self.state(int(child)) not in ("Z", "") for child in self._children(pid, tid)):
                return None
            seen[tid] = self.times_run(tid)
        return seen

    def close(self) -> None:
        """Close what was kept open."""
        for handle in self._files.values():
            os.close(handle)
        self._files.clear()

    def _children(self, pid: int, tid: int) -> list[bytes]:
        return self._read(f"/proc/{pid}/task/{tid}/children").split()

    def _scheduled(self, tid: int) -> list[int]:
        """Return processor time and waiting time in nanoseconds, and how often a thread was given a processor."""
        words = self._read(f"/proc/{tid}/schedstat").split()
        return [int(word) for word in words] if len(words) == 3 else [0, 0, 0]

    def _read(self, path: str) -> bytes:
        """Return what a file says now; nothing where it, or the thread it is about, is gone."""
        kept = self._files.get(path)
        if kept is not None:
            try:
                return os.pread(kept, _READ_BYTES, 0)
            except OSError:  # its thread is gone; another may have its number
                os.close(self._files.pop(path))
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            found = os.pread(handle, _READ_BYTES, 0)
        except OSError:  # it ended between the open and the read
            os.close(handle)
            return b""
        if len(self._files) < _MOST_FILES:
            self._files[path] = handle
        else:
            os.close(handle)
        return found


def is_asleep(letter: str) -> bool:
    """Whether a thread in this state sleeps. One that is gone or dead is about to be told of: it does not."""
    return letter in ("S", "I")


def waits_for_a_lock(tid: int) -> str:
    """Return the call in which a thread waits for another (``futex``, ``flock``, ``fcntl``); else an empty string."""
    try:
        with open(f"/proc/{tid}/syscall", encoding="ascii") as stream:
            return _LOCKS.get(stream.read().split()[0], "")
    except (OSError, IndexError):
        return ""


def sleeps_for_a_time(tid: int) -> bool:
    """Whether a thread is in a call that ends when a time has passed."""
    try:
        with open(f"/proc/{tid}/syscall", encoding="ascii") as stream:
            words = stream.read().split()
    except OSError:
        return False
    if len(words) < 7:
        return False
    if words[0] == _FUTEX:
        return _waits_long(tid, int(words[2], 16), int(words[4], 16))
    if words[0] in _TIMED_BY_NUMBER:
        return 0 < int(words[_TIMED_BY_NUMBER[words[0]]], 16) & 0xFFFFFFFF < 1 << 31
    if words[0] in _TIMED_BY_ADDRESS:
        return int(words[_TIMED_BY_ADDRESS[words[0]]], 16) != 0
    return words[0] in _SLEEPS


def _waits_long(tid: int, operation: int, address: int) -> bool:
    """Whether a futex is waited for until a time that is not at hand: an event or a timer, hardly a lock."""
    if not address:
        return False
    try:
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            seconds, nanoseconds = _TIMESPEC.unpack(os.pread(memory.fileno(), _TIMESPEC.size, address))
    except (OSError, struct.error):
        return False
    until: int = seconds * 1_000_000_000 + nanoseconds
    if operation & _FUTEX_COMMAND == _FUTEX_WAIT:
        return until > _LONG_NS
    now = time.time_ns() if operation & _FUTEX_CLOCK_REALTIME else time.monotonic_ns()
    return until - now > _LONG_NS
