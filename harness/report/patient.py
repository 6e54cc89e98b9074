"""A stream that outlives its reader and its disk: a campaign has its verdict and its files still to write.

What cannot be written is dropped. A reader that went away (``| head``) is no error; anything else is kept in
``failure``, for whoever ends the command to say.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import IO


class PatientStream(io.TextIOBase):
    """Text to ``stream``, as long as it takes it."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__()
        self._stream = stream
        self._lost = False
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write ``text``, or drop it."""
        if not self._lost:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Flush what was written, or drop it."""
        if not self._lost:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Send what is still buffered nowhere, so that the interpreter's last flush cannot fail."""
        self._lost = True
        if not isinstance(error, BrokenPipeError):
            self.failure = error
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"
