"""``open`` and ``io``: the standard buffers on a raw file that reports, and standard output on another."""

from __future__ import annotations

import _io
import builtins
import io
import os
import sys
from typing import Any

from .channel import LINK, REAL
from .files import IGNORED, closing, forget, is_watched, kind, opened, place, write_through

_RawFileIO = io.FileIO
_real_open = io.open
_FLAGS = {
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "r": os.O_RDONLY,
}
_ALWAYS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
_BLOCK_MAX = 8192 * 1024


class FileIO(_RawFileIO):
    """A raw file whose writes, sizes and closes the engine hears of."""

    def __init__(self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> None:
        writes = not set(mode).isdisjoint("wax+")
        if isinstance(file, int) or opener is not None or not writes:
            super().__init__(file, mode, closefd, opener)
            if not isinstance(file, int) and opener is None:
                forget(self.fileno())
            return
        flags = next(bits for letter, bits in _FLAGS.items() if letter in mode) | _ALWAYS
        if "+" in mode:
            flags = flags & ~os.O_WRONLY | os.O_RDWR
        LINK.operate(
            (b"open", b"openat", *place(file), flags),
            lambda: _RawFileIO.__init__(self, file, mode, closefd),
            facts=lambda _: opened(self.fileno()),
            path=file,
        )

    def write(self, data: Any) -> int:
        """Write as the engine says."""
        if self.closed or not self.writable():
            return super().write(data)
        view = memoryview(data).cast("B")
        whole, fd = super().write, self.fileno()
        return write_through(fd, b"write", view, lambda: whole(view), lambda n: whole(view[:n]))

    def truncate(self, size: int | None = None) -> int:
        """Set the size as the engine says."""
        if self.closed or not self.writable() or kind(self.fileno()) == IGNORED:
            return super().truncate(size)
        length = self.tell() if size is None else size
        set_size = super().truncate
        return LINK.operate((b"ftruncate", self.fileno(), length), lambda: set_size(length))

    def close(self) -> None:
        """Tell of the close, and close."""
        if not self.closed and self.closefd:
            # What a buffer above still holds has been written by now; a subclass' own close may write more.
            closing(self.fileno())
        super().close()


def _buffer_size(raw: _RawFileIO) -> int:
    size = int(getattr(raw, "_blksize", 0))
    if sys.version_info >= (3, 14):
        return max(min(size, _BLOCK_MAX), io.DEFAULT_BUFFER_SIZE)
    return size if size > 1 else io.DEFAULT_BUFFER_SIZE


def _stack(raw: FileIO, mode: str, buffering: int, encoding: Any, errors: Any, newline: Any) -> Any:
    """Put buffer and text layer on a raw file, as ``io.open`` does."""
    binary = "b" in mode
    line_buffering = False
    if buffering == 1 or (buffering < 0 and raw.isatty()):
        buffering, line_buffering = -1, True
    if buffering < 0:
        buffering = _buffer_size(raw)
    if buffering == 0:
        if binary:
            return raw
        raise ValueError("can't have unbuffered text I/O")
    if "+" in mode:
        buffer: Any = io.BufferedRandom(raw, buffering)
    elif "r" in mode:
        buffer = io.BufferedReader(raw, buffering)
    else:
        buffer = io.BufferedWriter(raw, buffering)
    if binary:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering)
    text.mode = mode  # type: ignore[misc]
    return text


def _is_plain(mode: Any, encoding: Any, errors: Any, newline: Any) -> bool:
    """Whether these arguments are ones that ``io.open`` accepts; it says itself what is wrong with others."""
    if not isinstance(mode, str) or len(set(mode)) != len(mode) or not set(mode) <= set("rwxabt+"):
        return False
    if sum(letter in mode for letter in "rwxa") != 1:
        return False
    return not ("b" in mode and ("t" in mode or encoding or errors or newline is not None))


def open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: Any = None,
    errors: Any = None,
    newline: Any = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Stand in for ``io.open``."""
    writes = isinstance(mode, str) and not set(mode).isdisjoint("wax+")
    known = isinstance(file, int) and is_watched(file)
    if not (writes or known) or not _is_plain(mode, encoding, errors, newline):
        stream = _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int) and opener is None:
            forget(stream.fileno())
        return stream
    if "b" not in mode:
        encoding = io.text_encoding(encoding)
    raw = FileIO(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    try:
        return _stack(raw, mode, buffering, encoding, errors, newline)
    except BaseException:
        raw.close()
        raise


def _standard_output() -> None:
    """Put standard output on a raw file that reports."""
    old = sys.stdout
    if old is None or not hasattr(old, "buffer"):
        return
    old.flush()
    raw = FileIO(1, "wb", closefd=False)
    raw.name = "<stdout>"
    buffer: Any = io.BufferedWriter(raw) if hasattr(old.buffer, "raw") else raw
    new = io.TextIOWrapper(
        buffer,
        encoding=old.encoding,
        errors=old.errors,
        newline="\n" if os.name != "nt" else None,
        line_buffering=bool(old.line_buffering),
        write_through=not hasattr(old.buffer, "raw"),
    )
    new.mode = "w"  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = new  # type: ignore[misc]


def patch() -> None:
    """Watch what goes through the standard streams of ``io``."""
    modules: Any = (builtins, io, _io)
    for module in modules:
        module.open = open
    io.FileIO = _io.FileIO = FileIO  # type: ignore[misc]
    REAL.setdefault("fdopen", os.fdopen)
    _standard_output()
