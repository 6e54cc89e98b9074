"""One child process in a session of its own: its output as it comes, its end, its death.

The one way a target or a judging command is started without a tracer. Never blocks on a pipe, whatever the child
does with it; a stream nobody reads is read and forgotten by the caller's ``on_output``.

Non-goals: descendants that left the child's session (:func:`harness.sandbox.processes.custody`).
"""

from __future__ import annotations

import os
import queue
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import IO, Protocol

from harness.sandbox import processes
from harness.sandbox.environment import ProgramNotFoundError, resolve_program
from harness.sandbox.job import CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED, Job, JobError, Kernel32

STDOUT = 1
STDERR = 2

_READ_BYTES = 1 << 16
_POLL_S = 0.02
_PUMP_END_S = 1.0


class ChildNotStartedError(Exception):
    """The command cannot be started. The message is one line: what, and the system's reason."""


def _start(
    argv: Sequence[str],
    cwd: str,
    environment: Mapping[str, str],
    setup: Callable[[], None] | None,
    stdin: int,
    creationflags: int,
) -> subprocess.Popen[bytes]:
    name = argv[0] if argv else ""
    try:
        return subprocess.Popen(
            [resolve_program(name), *argv[1:]],
            cwd=cwd,
            env=dict(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            preexec_fn=setup,  # noqa: PLW1509 -- it makes system calls only
            creationflags=creationflags,
        )
    except ProgramNotFoundError as error:
        raise ChildNotStartedError(str(error)) from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        if isinstance(error, OSError) and not os.path.isdir(cwd):
            raise ChildNotStartedError(f"cannot start {name}: no directory {cwd}") from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ChildNotStartedError(f"cannot start {name}: {reason}") from error


class Started(Protocol):
    """A started process, as ``subprocess.Popen`` is one."""

    pid: int
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    @property
    def returncode(self) -> int:
        """How it ended; once it was waited for."""

    def poll(self) -> int | None:
        """Return how it ended, or ``None``."""

    def wait(self) -> int:
        """Reap it."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""


def _start_in_job(start: Callable[[int], subprocess.Popen[bytes]]) -> tuple[subprocess.Popen[bytes], Job]:
    """Start a command on Windows such that nothing it starts can leave its job."""
    try:
        job = Job(Kernel32())
    except JobError as error:
        raise ChildNotStartedError(f"cannot start a command: {error}") from error
    try:
        popen = start(CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP)
    except BaseException:
        job.close()
        raise
    try:
        job.take(popen.pid, int(getattr(popen, "_handle", 0)))
    except JobError as error:
        popen.kill()
        popen.wait()
        job.close()
        raise ChildNotStartedError(f"cannot start a command: {error}") from error
    return popen, job


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


class Child:
    """A started command. Call :meth:`end` in a ``finally``: it leaves nothing of the child behind.

    ``on_output(stream, data)`` gets each piece of output (``stream`` is :data:`STDOUT` or :data:`STDERR`) from
    within :meth:`wait` and :meth:`end`. ``started_ns`` is ``time.monotonic_ns()`` once the program runs.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        environment: Mapping[str, str],
        setup: Callable[[], None] | None,
        on_output: Callable[[int, bytes], None],
        started: Started | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        """Start the command, unless somebody has ``started`` it in a session of its own.

        ``stdin`` is what it reads: nothing, or a descriptor of the caller's.

        Raises :class:`ChildNotStartedError` where it cannot be started.
        """
        self._job: Job | None = None
        self._popen: Started
        start = partial(_start, argv, cwd, environment, setup, stdin)
        if started is not None:
            self._popen = started
        elif os.name == "nt":
            self._popen, self._job = _start_in_job(start)
        else:
            self._popen = start(0)
        self.started_ns = time.monotonic_ns()
        self.pid = self._popen.pid
        self.exited = False
        """Whether the child has ended; it is not reaped before :meth:`end`, so its id stays its own."""
        self._ended = False
        self._on_output = on_output
        assert self._popen.stdout is not None and self._popen.stderr is not None
        self._streams: dict[int, IO[bytes]] = {STDOUT: self._popen.stdout, STDERR: self._popen.stderr}
        self._queue: queue.SimpleQueue[tuple[int, bytes]] | None = None
        self._pidfd = -1
        if os.name == "nt":
            self._pump_with_threads()
        else:
            self._poll_descriptors()

    def _poll_descriptors(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._pidfd = _pidfd(self.pid)
        if self._pidfd >= 0:
            self._selector.register(self._pidfd, selectors.EVENT_READ)
        for number, stream in self._streams.items():
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, number)

    def also(self, descriptor: int, arrived: Callable[[], object]) -> None:
        """Have :meth:`wait` return, after calling ``arrived``, when ``descriptor`` becomes readable (POSIX)."""
        self._selector.register(descriptor, selectors.EVENT_READ, arrived)

    def no_longer(self, descriptor: int) -> None:
        """Take back :meth:`also`."""
        self._selector.unregister(descriptor)

    @property
    def stdout_identity(self) -> tuple[int, int]:
        """The device and inode of the pipe that is the child's standard output, where the system has such."""
        info = os.fstat(self._streams[STDOUT].fileno())
        return info.st_dev, info.st_ino

    def _pump_with_threads(self) -> None:
        """Windows cannot poll pipes: a thread per stream waits in their place."""
        self._queue = arrived = queue.SimpleQueue[tuple[int, bytes]]()

        def pump(number: int, stream: IO[bytes]) -> None:
            while data := stream.read(_READ_BYTES):
                arrived.put((number, data))

        self._pumps = [threading.Thread(target=pump, args=item, daemon=True) for item in self._streams.items()]
        for thread in self._pumps:
            thread.start()

    def _read(self, number: int) -> bool:
        """Take what one stream has at once; return whether there was anything and there may be more."""
        try:
            data = os.read(self._streams[number].fileno(), _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            if self._streams[number] in self._selector.get_map():
                self._selector.unregister(self._streams[number])
            return False
        self._on_output(number, data)
        return True

    def wait(self, timeout_s: float) -> None:
        """Return after output, when the child ends, or after ``timeout_s`` seconds (rounded up to milliseconds).

        Once the child has ended, only output and the time count: what it started may run on.
        """
        if self._queue is not None:
            self._wait_for_threads(timeout_s)
            return
        if self._pidfd < 0:
            timeout_s = min(timeout_s, _POLL_S)
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            if key.data is None:
                self.exited = True
                self._selector.unregister(self._pidfd)
            elif callable(key.data):
                key.data()
            else:
                self._read(key.data)
        if self._pidfd < 0:
            self.exited = self._popen.poll() is not None

    def _wait_for_threads(self, timeout_s: float) -> None:
        assert self._queue is not None
        try:
            self._on_output(*self._queue.get(timeout=min(max(0.0, timeout_s), _POLL_S)))
        except queue.Empty:
            self.exited = self._popen.poll() is not None

    def has_exited(self) -> bool:
        """Return whether the child has ended by now, without reaping it (where the system can tell)."""
        if not self.exited and hasattr(os, "waitid") and self._pidfd >= 0:
            self.exited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        elif not self.exited:
            self.exited = self._popen.poll() is not None
        return self.exited

    def signal(self, number: int, *, group: bool) -> None:
        """Send a signal to the child, or to its whole process group; one that has ended is fine."""
        try:
            if group and os.name != "nt":
                os.killpg(self.pid, number)
            else:
                self._popen.send_signal(number)
        except OSError:
            return

    def end(self) -> int:
        """Kill what is left of the child's process group and reap the child.

        Returns the exit code, or minus the number of the signal that ended it. Safe to call twice.
        """
        if not self._ended:
            self._ended = self.exited = True
            if self._job is not None:
                self._job.kill()
                self._job.close()
            else:
                processes.kill_group(self.pid)  # before it is reaped: until then nobody else can get its id
            self._popen.wait()
        return self._popen.returncode

    def close(self) -> None:
        """Take the output that is still in the pipes, then close them. Call after all descendants are dead."""
        if self._queue is not None:
            for thread in self._pumps:
                thread.join(_PUMP_END_S)
            while not self._queue.empty():
                self._on_output(*self._queue.get())
        else:
            for number, stream in self._streams.items():
                left = 64  # a pipe holds 1 MiB at most; a writer that escaped must not hold this loop
                while left and not stream.closed and self._read(number):
                    left -= 1
            self._selector.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        for stream in self._streams.values():
            stream.close()
