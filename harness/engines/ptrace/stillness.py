"""Whether threads of other processes are asleep, and in what, as ``/proc`` tells it.

Used to give everybody who is on the way the time to come before a decision is made. It never decides who goes next.

Threads are looked at one after the other, and one that is still awake may wake one that was seen asleep. So a look
then takes how often each has run: who has not run between two looks slept all the while, and where that is true of
everybody, all of them slept at one moment.
"""

from __future__ import annotations

import os

_LOCKS = {"202": "futex", "73": "flock", "72": "fcntl"}
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
