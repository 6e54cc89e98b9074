"""Appends whole lines to the log, each with one ``write``; a line that could not be written whole is cut off again.

Not synced: the log outlives the death of every process, and a power loss ends the campaign as well. A log that takes
no more lines says why, and from then on the service answers nothing: an answer without its line is no evidence.

Non-goals: two services at once in one log.
"""

from __future__ import annotations

import contextlib
import os
import threading

from harness.core.api_log import LogLine, encode_line

MOST_BYTES = 512 << 20


class LogError(Exception):
    """The log cannot be written; one line with the path and the reason."""


class Log:
    """An open log. Safe to use from several threads."""

    def __init__(self, path: str, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most_bytes
        self._lock = threading.Lock()
        self._failed = ""
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._cut_torn_tail()
        except OSError as error:
            raise LogError(f"{path}: {error.strerror}") from None

    def _cut_torn_tail(self) -> None:
        """Cut off what a killed service did not finish: the next line must not be glued to it."""
        size = os.fstat(self._descriptor).st_size
        keep = size
        while keep and (tail := os.pread(self._descriptor, min(keep, 1 << 16), max(0, keep - (1 << 16)))):
            newline = tail.rfind(b"\n")
            if newline >= 0:
                keep -= len(tail) - newline - 1
                break
            keep -= len(tail)
        if keep < size:
            os.ftruncate(self._descriptor, keep)

    @property
    def size(self) -> int:
        """How many bytes the log has."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def append(self, line: LogLine) -> None:
        """Write one line. Raises :class:`LogError`, and does so ever after."""
        data = encode_line(line)
        with self._lock:
            if self._failed:
                raise LogError(self._failed)
            before = self.size
            try:
                if before + len(data) > self._most:
                    raise OSError(0, f"would be larger than {self._most} bytes")
                view = memoryview(data)
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, before)
                self._failed = f"{self._path}: {error.strerror}"
                raise LogError(self._failed) from None
