"""The traced processes and threads: their memory, and what they are to the trace.

A process is an address space and a descriptor table; a thread is what stops. Births are numbered in the order
in which the parents' events arrive: that number is the process label of a crash point.
"""

from __future__ import annotations

import os
import signal

from harness.engines.ptrace.descriptors import DescriptorTable

_PAGE = 4096
_MAX_PATH = 4096


_HARMLESS = frozenset(
    (
        signal.SIGCHLD,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGCONT,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    )
)
"""Signals whose default action ends nothing (signal(7))."""


class Process:
    """One traced process."""

    __slots__ = ("_memory", "descriptors", "index", "mappings", "pid", "threads", "threads_born")

    def __init__(self, pid: int, index: int, descriptors: DescriptorTable) -> None:
        self.pid = pid
        self.index = index
        self.descriptors = descriptors
        self.threads: set[int] = {pid}
        self.threads_born = 1
        self.mappings: list[tuple[int, int, int]] = []
        """Shared writable mappings: (address, length, inode number)."""
        self._memory = -1

    def _open_memory(self) -> int:
        self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        return self._memory

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes of the process' memory; fewer where the memory ends. EIO and EFAULT give b""."""
        if size <= 0:
            return b""
        memory = self._memory if self._memory >= 0 else self._open_memory()
        try:
            data = os.pread(memory, size, address)
            while 0 < len(data) < size:
                more = os.pread(memory, size - len(data), address + len(data))
                if not more:
                    break
                data += more
        except (OSError, OverflowError):
            return b""
        return data

    def write(self, address: int, data: bytes) -> None:
        """Overwrite memory of the process (read-only pages included: that is what ptrace access means)."""
        memory = self._memory if self._memory >= 0 else self._open_memory()
        os.pwrite(memory, data, address)

    def string(self, address: int) -> str:
        """Return the NUL-terminated string at ``address``, as the file system functions decode names."""
        collected = b""
        while len(collected) < _MAX_PATH:
            # Reading never crosses into the next page, which may not be mapped.
            part = self.read(address, min(256, _PAGE - address % _PAGE))
            end = part.find(b"\0")
            if end >= 0:
                return os.fsdecode(collected + part[:end])
            if not part:
                break
            collected += part
            address += len(part)
        return os.fsdecode(collected)

    def forget_memory(self) -> None:
        """Drop the handle on the address space: exec replaced it, or the process is gone."""
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1


class Thread:
    """One traced thread. ``actor`` is its index in the trace, or -1 until its first operation."""

    __slots__ = ("actor", "number", "process", "tid")

    def __init__(self, tid: int, process: Process, number: int) -> None:
        self.tid = tid
        self.process = process
        self.number = number
        self.actor = -1


def is_fatal(tid: int, number: int) -> bool:
    """Whether delivering signal ``number`` to the thread ends its process: neither caught, ignored nor harmless."""
    if number in _HARMLESS:
        return False
    try:
        with open(f"/proc/{tid}/status", "rb") as stream:
            for line in stream:
                if line.startswith((b"SigIgn:", b"SigCgt:")) and int(line.split()[1], 16) >> (number - 1) & 1:
                    return False
    except OSError:
        return False
    return True
