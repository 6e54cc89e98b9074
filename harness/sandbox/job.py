"""A Windows Job Object: what a child starts belongs to it, and dies with it.

A snapshot of a process tree misses a child whose parent has ended; a job misses none, and its processes end with the
last handle to it, so also when tornwrite itself is killed. A process belongs to the job before its first instruction:
it is started suspended, assigned, and only then resumed.

Sources: the Windows documentation of Job Objects (``JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE``) and of CREATE_SUSPENDED.
This has never run on Windows here: the calls, their order and their failures are tested on a kernel that is simulated.

Non-goals: limits of memory and time; breaking away from a job (nested jobs need Windows 8).
"""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import Any, Protocol

import psutil

CREATE_SUSPENDED = 0x4
CREATE_NEW_PROCESS_GROUP = 0x200
"""So that CTRL_BREAK reaches the child and not its starter."""

_KILL_ON_JOB_CLOSE = 0x2000
_EXTENDED_LIMIT_INFORMATION = 9
_KILLED = 1
"""The exit code of what a terminated job held: what TerminateProcess gives as well."""


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("per_process_user_time", ctypes.c_int64),
        ("per_job_user_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """``JOBOBJECT_EXTENDED_LIMIT_INFORMATION``."""

    _fields_ = (
        ("basic", _BasicLimits),
        ("io_counters", ctypes.c_ulonglong * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class Kernel(Protocol):
    """The calls of kernel32 that a job needs. Each returns 0 where it fails."""

    def create(self) -> int:
        """Return the handle of a new job without a name."""

    def limit(self, job: int, limits: ExtendedLimits) -> int:
        """Set the limits of a job."""

    def assign(self, job: int, process: int) -> int:
        """Take a process, by its handle, and all it will start, into a job."""

    def terminate(self, job: int, exit_code: int) -> int:
        """End every process of a job."""

    def close(self, handle: int) -> int:
        """Give a handle back."""

    def resume(self, pid: int) -> None:
        """Let a process run that was started suspended."""


class Kernel32:
    """The real calls."""

    def __init__(self) -> None:
        library: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
        library.CreateJobObjectW.restype = wintypes.HANDLE
        library.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
        library.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD)
        library.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        library.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
        library.CloseHandle.argtypes = (wintypes.HANDLE,)
        self._library = library

    def create(self) -> int:
        """See :class:`Kernel`."""
        return self._library.CreateJobObjectW(None, None) or 0

    def limit(self, job: int, limits: ExtendedLimits) -> int:
        """See :class:`Kernel`."""
        size = ctypes.sizeof(limits)
        done: int = self._library.SetInformationJobObject(
            job, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), size
        )
        return done

    def assign(self, job: int, process: int) -> int:
        """See :class:`Kernel`."""
        done: int = self._library.AssignProcessToJobObject(job, process)
        return done

    def terminate(self, job: int, exit_code: int) -> int:
        """See :class:`Kernel`."""
        done: int = self._library.TerminateJobObject(job, exit_code)
        return done

    def close(self, handle: int) -> int:
        """See :class:`Kernel`."""
        done: int = self._library.CloseHandle(handle)
        return done

    def resume(self, pid: int) -> None:
        """See :class:`Kernel`."""
        psutil.Process(pid).resume()


class JobError(Exception):
    """There is no job to be had; the message says which call refused."""


class Job:
    """One job. :meth:`close` ends all that is left in it."""

    def __init__(self, kernel: Kernel) -> None:
        """Raise :class:`JobError` where the system gives none."""
        self._kernel = kernel
        self._handle = kernel.create()
        if not self._handle:
            raise JobError("CreateJobObject failed")
        limits = ExtendedLimits()
        limits.basic.flags = _KILL_ON_JOB_CLOSE
        if not kernel.limit(self._handle, limits):
            self.close()
            raise JobError("SetInformationJobObject failed")

    def take(self, pid: int, process: int) -> None:
        """Take a process that was started suspended, and let it run. ``process`` is its handle.

        Raises :class:`JobError`; the process has run no instruction then, and the caller ends it.
        """
        if not self._kernel.assign(self._handle, process):
            raise JobError("AssignProcessToJobObject failed")
        try:
            self._kernel.resume(pid)
        except psutil.Error as error:
            raise JobError(f"the process could not be resumed: {error}") from error

    def kill(self) -> None:
        """End every process of the job in one step."""
        if self._handle:
            self._kernel.terminate(self._handle, _KILLED)

    def close(self) -> None:
        """Give the job back; a second time does nothing."""
        handle, self._handle = self._handle, 0
        if handle:
            self._kernel.close(handle)
