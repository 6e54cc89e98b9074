"""Whether threads of other processes are asleep, and in what, as ``/proc`` tells it.

Used to give everybody who is on the way the time to come before a decision is made. It never decides who goes next.

Threads are looked at one after the other, and one that is still awake may wake one that was seen asleep. So a look
then takes how often each has run: where two looks in a row are equal, all of them slept at the moment in between.
"""

from __future__ import annotations

import os

_LOCKS = {"202": "futex", "73": "flock", "72": "fcntl"}


def state(tid: int) -> str:
    """Return the state letter of a thread, empty where it is gone."""
    try:
        handle = os.open(f"/proc/{tid}/stat", os.O_RDONLY)
    except OSError:
        return ""
    try:
        raw = os.read(handle, 512)
    except OSError:  # it ended between the open and the read
        return ""
    finally:
        os.close(handle)
    return raw[raw.rfind(b")") + 2 :][:1].decode("ascii")


def is_asleep(letter: str) -> bool:
    """Whether a thread in this state sleeps. One that is gone or dead is about to be told of: it does not."""
    return letter in ("S", "I")


def used_ns(tid: int) -> int:
    """Return the processor time that a thread has used: a starved one has used none, one that spins a lot."""
    return _scheduled(tid)[0]


def times_run(tid: int) -> int:
    """Return how often a thread was given a processor; 0 where the kernel does not count that, or it is gone."""
    return _scheduled(tid)[2]


def _scheduled(tid: int) -> list[int]:
    """Return processor time and waiting time in nanoseconds, and how often a thread was given a processor."""
    try:
        with open(f"/proc/{tid}/schedstat", "rb", buffering=0) as stream:
            found = [int(word) for word in stream.read().split()]
    except (OSError, ValueError):
        found = []
    return found if len(found) == 3 else [0, 0, 0]


def look_beside(pid: int) -> list[int] | None:
    """Look at a process beside the run: how often its threads have run, if all sleep and all it started have ended.

    ``None`` while it is on the way to something. One that is gone is on the way to nothing.
    """
    try:
        threads = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
        for tid in threads:
            with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as stream:
                if any(state(int(child)) not in ("Z", "") for child in stream.read().split()):
                    return None
    except OSError:
        return []
    return [times_run(tid) for tid in threads] if all(is_asleep(state(tid)) for tid in threads) else None


def waits_for_a_lock(tid: int) -> str:
    """Return the call in which a thread waits for another (``futex``, ``flock``, ``fcntl``); else an empty string."""
    try:
        with open(f"/proc/{tid}/syscall", encoding="ascii") as stream:
            return _LOCKS.get(stream.read().split()[0], "")
    except (OSError, IndexError):
        return ""
