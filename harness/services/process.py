"""A service as a process of its own: started, told what to do, ended; it ends with its caller, however that ends.

It reads one JSON object, the order, and answers with a line: where it listens. Its input ends when it is to end. What
the line says, and what a service does with further lines, is its own.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from collections.abc import Sequence
from typing import Any

import msgspec

from harness.sandbox import processes
from harness.sandbox.environment import scrubbed
from harness.sandbox.limits import child_setup

_START_S = 30.0
_END_S = 2.0


class ServiceError(Exception):
    """A service could not be started; one line with the reason."""


class ServiceProcess:
    """A started service. ``what`` is what messages call it, ``fails`` the error that they are."""

    def __init__(
        self,
        argv: Sequence[str],
        base: str,
        what: str,
        fails: type[ServiceError] = ServiceError,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it in ``base``, which is its HOME too. Raises ``fails``."""
        self._what = what
        self._fails = fails
        try:
            self.popen = subprocess.Popen(
                list(argv),
                cwd=base,
                env=scrubbed(base, base),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
                preexec_fn=child_setup(),  # noqa: PLW1509 -- it makes system calls only
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise fails(f"{what} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """The process."""
        return self.popen.pid

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self.popen.poll() is None

    def ordered(self, order: Any) -> str:
        """Give it its order and return the line that it answers with, stripped. Raises the error of this service."""
        assert self.popen.stdout is not None and self.popen.stderr is not None
        self.say(msgspec.json.encode(order) + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            if os.name != "nt" and not select.select([self.popen.stdout], [], [], _START_S)[0]:
                raise self._fails(f"{self._what} did not start within {_START_S:g} s")
            if not (more := self.popen.stdout.read(4096)):
                last = self.popen.stderr.read().decode("utf-8", "replace").strip().splitlines()[-1:]
                raise self._fails(f"{self._what} did not start: {last[0] if last else 'it said nothing'}")
            said += more
        return said.decode("utf-8", "replace").strip()

    def say(self, line: bytes) -> None:
        """Write to its input; one that is gone hears nothing, and says why where it is asked."""
        assert self.popen.stdin is not None
        data = memoryview(line)
        with contextlib.suppress(OSError):
            while data:
                data = data[self.popen.stdin.write(data) :]

    def end(self) -> None:
        """End it and what it started: by the end of its input, else by force."""
        popen = self.popen
        assert popen.stdin is not None and popen.stdout is not None and popen.stderr is not None
        with contextlib.suppress(OSError):
            popen.stdin.close()
        if os.name == "nt":
            processes.kill_tree(popen.pid)
        else:
            select.select([popen.stdout], [], [], _END_S)  # its end of the pipe closes when it ends
            processes.kill_group(popen.pid)  # before it is reaped: until then nobody else can get its id
        popen.wait()
        popen.stdout.close()
        popen.stderr.close()
