"""The thread beside the tracer: it empties the target's output and ends runs that pass a bound.

The tracer blocks in ``waitpid``; it can neither read pipes nor watch a clock. This thread does both, and keeps
only the last :data:`TAIL_BYTES` of each stream.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from harness.core.run import Ending

TAIL_BYTES = 64 << 10
_CHUNK = 1 << 16
_REPEAT_S = 0.05


class Bound(NamedTuple):
    """When a run ends at the latest, and what that is called; ``ending`` is ``None`` where it is a normal end."""

    at: float
    ending: Ending | None
    detail: str


class _Stream:
    """The end of a stream, and how long it was."""

    def __init__(self) -> None:
        self.tail = b""
        self.size = 0

    def take(self, data: bytes) -> None:
        self.size += len(data)
        self.tail = (self.tail + data)[-TAIL_BYTES:]


class Minder(threading.Thread):
    """Drains two pipes until both are at their end, and calls ``kill`` when a bound is passed."""

    def __init__(self, stdout: int, stderr: int, output_bytes: int, kill: Callable[[], None]) -> None:
        super().__init__(name="minder", daemon=True)
        self.stdout = _Stream()
        self.stderr = _Stream()
        self.passed: Bound | None = None
        """The bound that ended the run."""
        self._streams = {stdout: self.stdout, stderr: self.stderr}
        self._output_left = output_bytes
        self._output_limit = output_bytes
        self._kill = kill
        self._bound = Bound(float("inf"), None, "")
        self._wakeup, self._wake = os.pipe()
        self._done = False

    def bound(self, bound: Bound) -> None:
        """End the run at ``bound``, unless it ends earlier. May be called from any thread."""
        if bound.at < self._bound.at:
            self._bound = bound
            os.write(self._wake, b"w")

    def end_now(self, ending: Ending, detail: str) -> None:
        """Say why the run is over; the first reason stays. The caller kills."""
        if self.passed is None:
            self.passed = Bound(time.monotonic(), ending, detail)

    def finish(self) -> None:
        """Wait until both streams are read to their end. Call when every process is dead."""
        self._done = True
        os.write(self._wake, b"w")
        self.join()
        os.close(self._wakeup)
        os.close(self._wake)

    def run(self) -> None:
        """The thread's body."""
        poll = select.poll()
        for descriptor in (*self._streams, self._wakeup):
            poll.register(descriptor, select.POLLIN)
        open_streams = set(self._streams)
        while not self._done or open_streams:
            ready = poll.poll(self._patience_ms())
            if self._done and not ready:
                return  # all are dead and the pipes are empty: somebody else holds an end
            for descriptor, _ in ready:
                if descriptor == self._wakeup:
                    os.read(self._wakeup, 64)
                    continue
                data = os.read(descriptor, _CHUNK)
                if not data:
                    poll.unregister(descriptor)
                    open_streams.discard(descriptor)
                self._take(self._streams[descriptor], data)
            if self.passed is None and time.monotonic() >= self._bound.at:
                self.passed = self._bound
            if self.passed is not None and not self._done:
                self._kill()  # again and again: a program may fork while it dies

    def _take(self, stream: _Stream, data: bytes) -> None:
        stream.take(data)
        self._output_left -= len(data)
        if self._output_left < 0:
            self.end_now("limit", f"printed more than {self._output_limit} bytes")

    def _patience_ms(self) -> float | None:
        if self.passed is not None or self._done:
            return _REPEAT_S * 1000
        left = self._bound.at - time.monotonic()
        return None if left == float("inf") else max(0.0, left * 1000 + 1)
