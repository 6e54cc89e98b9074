"""Starts a program on a terminal of its own: a pseudo terminal that it leads, whose other end is ours.

What comes back is a started process as :class:`harness.sandbox.child.Child` takes one: its output is read from the
terminal, and it ends as every other child. POSIX. Non-goals: what is on the screen (:mod:`harness.engines.screen`).
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from harness.sandbox.child import ChildNotStartedError
from harness.sandbox.environment import ProgramNotFoundError, resolve_program

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    termios = None  # type: ignore[assignment]

_LOCAL_FLAGS = 3
_READ_AT_ONCE = 1 << 12


class OnTerminal:
    """A process that was started on a terminal. ``stdout`` is our end of it; there is no other ``stderr``."""

    def __init__(self, popen: subprocess.Popen[bytes], master: int) -> None:
        self._popen = popen
        self.pid = popen.pid
        self.stdout: IO[bytes] | None = io.FileIO(master, "r+")
        nothing, closed = os.pipe()
        os.close(closed)
        self.stderr: IO[bytes] | None = io.FileIO(nothing)
        self._master = master

    @property
    def returncode(self) -> int:
        """How it ended."""
        return self._popen.returncode

    def poll(self) -> int | None:
        """Return how it ended, or ``None``."""
        return self._popen.poll()

    def wait(self) -> int:
        """Reap it."""
        return self._popen.wait()

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(sig)

    def write(self, data: bytes | bytearray) -> int:
        """Type so much of ``data`` as the terminal takes at once, and return how much that is. Raises ``OSError``."""
        return os.write(self._master, data[:_READ_AT_ONCE])

    @property
    def raw(self) -> bool:
        """Whether the program has taken the terminal into its own hands: no echo, no lines of the system's."""
        try:
            local = termios.tcgetattr(self._master)[_LOCAL_FLAGS]
        except (OSError, termios.error, ValueError):
            return False
        return not local & (termios.ECHO | termios.ICANON)


def start_on_terminal(
    argv: Sequence[str],
    *,
    cwd: str,
    environment: Mapping[str, str],
    setup: Callable[[], None] | None,
    rows: int,
    columns: int,
) -> OnTerminal:
    """Start a command on a terminal of that size, as the leader of its session.

    Raises :class:`ChildNotStartedError`.
    """
    name = argv[0] if argv else ""
    if fcntl is None:
        raise ChildNotStartedError(f"cannot start {name}: this system has no pseudo terminals")
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def lead() -> None:
        if setup is not None:
            setup()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    try:
        popen = subprocess.Popen(
            [resolve_program(name), *argv[1:]],
            cwd=cwd,
            env=dict(environment),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            bufsize=0,
            start_new_session=True,
            preexec_fn=lead,  # noqa: PLW1509 -- it makes system calls only
        )
    except ProgramNotFoundError as error:
        os.close(master)
        raise ChildNotStartedError(str(error)) from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        os.close(master)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ChildNotStartedError(f"cannot start {name}: {reason}") from error
    finally:
        os.close(slave)
    return OnTerminal(popen, master)
