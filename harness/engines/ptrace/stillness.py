"""Whether threads of other processes are asleep, and in what, as ``/proc`` tells it.

Used to give everybody who is on the way the time to come before a decision is made. It never decides who goes next.
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
    try:
        with open(f"/proc/{tid}/schedstat", "rb") as stream:
            return int(stream.read().split()[0])
    except (OSError, IndexError, ValueError):
        return 0


def is_through(pid: int) -> bool:
    """Whether a process beside the run sleeps, and all that it started have ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        for tid in threads:
            with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as stream:
                if any(state(int(child)) not in ("Z", "") for child in stream.read().split()):
                    return False
    except OSError:
        return True
    return all(is_asleep(state(int(tid))) for tid in threads)


def waits_for_a_lock(tid: int) -> str:
    """Return the call in which a thread waits for another (``futex``, ``flock``, ``fcntl``); else an empty string."""
    try:
        with open(f"/proc/{tid}/syscall", encoding="ascii") as stream:
            return _LOCKS.get(stream.read().split()[0], "")
    except (OSError, IndexError):
        return ""
