"""Where the processes of a target knock: pairs of pipes in a directory of their own, and the frames that come in.

A frame is described in ``runtime/tornwrite_shim/channel.py``. POSIX: named pipes ``N.up`` and ``N.down``, a few more of
them than are taken. Windows: one named pipe with as many instances as are asked for; a thread waits at each.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

_LENGTHS = struct.Struct("<II")
_MAX_HEAD = 1 << 20
_MAX_PAYLOAD = 1 << 31
_READ_BYTES = 1 << 18
_SPARE = 1
"""Pairs of pipes that nobody has taken yet."""


class Frame(NamedTuple):
    """What a process said: fields, and bytes to write."""

    fields: tuple[bytes, ...]
    payload: bytes

    def number(self, index: int) -> int:
        """Return a field as the number it is."""
        return int(self.fields[index])


class BadFrameError(Exception):
    """A process sent what is no frame: something else writes to its pipe."""


class Parser:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in bytes."""
        self._buffer += data

    def take(self) -> Frame | None:
        """Return the next whole frame, or ``None``. Raises :class:`BadFrameError`."""
        buffer = self._buffer
        if not buffer or len(buffer) < _LENGTHS.size:
            return None
        head, payload = _LENGTHS.unpack_from(buffer)
        if head > _MAX_HEAD or payload > _MAX_PAYLOAD:
            raise BadFrameError("not a frame of the shim")
        end = _LENGTHS.size + head + payload
        if len(buffer) < end:
            return None
        start = _LENGTHS.size + head
        frame = Frame(tuple(bytes(buffer[_LENGTHS.size : start]).split(b"\0")), bytes(buffer[start:end]))
        del buffer[:end]
        return frame


class Line(Protocol):
    """The connection of one process, or of one thread of it."""

    ended: bool
    """Whether nothing more will come: the process is gone, or has another program now."""

    def pull(self) -> None:
        """Take in what has arrived, without waiting."""

    def take(self) -> Frame | None:
        """Return the oldest frame that has arrived, or ``None``."""

    def wait(self, deadline: float) -> Frame | None:
        """Return the next frame, waiting for it; ``None`` at the end, or at the ``time.monotonic()`` deadline."""

    def answer(self, data: bytes) -> None:
        """Answer; one that is gone hears nothing."""


class PipeLine:
    """A pair of named pipes."""

    def __init__(self, base: str) -> None:
        os.mkfifo(f"{base}.down", 0o600)
        os.mkfifo(f"{base}.up", 0o600)  # last: whoever finds it finds both
        self.up = os.open(f"{base}.up", os.O_RDONLY | os.O_NONBLOCK)
        self._down = os.open(
            f"{base}.down", os.O_RDWR
        )  # also for reading, so that an open at either end never waits
        self._parser = Parser()
        self._readable = _readable_of(self.up)
        self.ended = False

    def pull(self) -> None:
        """Read what is in the pipe."""
        while not self.ended:
            try:
                data = os.read(self.up, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.ended = True
                return
            self._parser.feed(data)
            if len(data) < _READ_BYTES:
                return

    def take(self) -> Frame | None:
        """Return the oldest frame that has arrived."""
        return self._parser.take()

    def wait(self, deadline: float) -> Frame | None:
        """Return the next frame."""
        while True:
            frame = self._parser.take()
            if frame is not None or self.ended:
                return frame
            left = deadline - time.monotonic()
            if left <= 0 or not self._readable(left):
                return None
            self.pull()

    def answer(self, data: bytes) -> None:
        """Write an answer: short, and only one is ever under way, so this never waits."""
        os.write(self._down, data)

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.up)
        os.close(self._down)


def _readable_of(descriptor: int) -> Callable[[float], bool]:
    """Return what waits, for some seconds, until there is something to read, and says whether there is."""
    if not hasattr(select, "poll"):
        return lambda timeout_s: bool(select.select([descriptor], [], [], timeout_s)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda timeout_s: bool(poll.poll(timeout_s * 1000 + 1))


class PipeDoors:
    """The doors of one run, on POSIX, in a new directory of the workspace ``base``: it goes with it.

    ``on_line(line, descriptor)`` is called for each pair that is made.
    """

    patience_s = 1.0
    """How long the engine may wait elsewhere: its selector wakes it."""

    def __init__(self, base: str, on_line: Callable[[PipeLine, int], object]) -> None:
        self.address = tempfile.mkdtemp(prefix="shim-", dir=base)
        self._on_line = on_line
        self._lines: list[PipeLine] = []
        self.taken(_SPARE)

    def taken(self, count: int = 1) -> None:
        """Note that pairs have been taken, and make as many more."""
        for _ in range(count):
            line = PipeLine(os.path.join(self.address, str(len(self._lines))))
            self._lines.append(line)
            self._on_line(line, line.up)

    def arrived(self) -> list[Line]:
        """Return lines that a selector cannot tell of: none."""
        return []

    def close(self) -> None:
        """Close everything and remove the directory."""
        for number, line in enumerate(self._lines):
            line.close()
            base = os.path.join(self.address, str(number))
            for remove, end in ((os.unlink, ".up"), (os.unlink, ".down"), (os.rmdir, ".taken")):
                with contextlib.suppress(OSError):
                    remove(base + end)
        try:
            os.rmdir(self.address)
        except OSError:  # somebody else put something there
            shutil.rmtree(self.address, ignore_errors=True)


class QueueLine:
    """A connection whose frames a thread brings (Windows)."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._parser = Parser()
        self._over = False
        self.ended = False

    def listen(self, tell: Callable[[QueueLine], object]) -> None:
        """Bring frames until the end; the body of the thread."""
        try:
            while True:
                self._frames.put(self._connection.recv_bytes())
                tell(self)
        except (EOFError, OSError):
            self._frames.put(b"")
            tell(self)

    def _feed(self, data: bytes) -> None:
        self._parser.feed(data)
        self.ended = self.ended or not data

    def pull(self) -> None:
        """Take what the thread has brought."""
        while not self._frames.empty():
            self._feed(self._frames.get())

    def take(self) -> Frame | None:
        """Return the oldest frame that has arrived."""
        return self._parser.take()

    def wait(self, deadline: float) -> Frame | None:
        """Return the next frame."""
        while True:
            frame = self._parser.take()
            left = deadline - time.monotonic()
            if frame is not None or self.ended or left <= 0:
                return frame
            try:
                self._feed(self._frames.get(timeout=left))
            except queue.Empty:
                return None

    def answer(self, data: bytes) -> None:
        """Answer; one that is gone hears nothing."""
        try:
            self._connection.send_bytes(data)
        except OSError:
            self._over = True


class QueueDoors:
    """The doors of one run on Windows; never run here, its decisions are tested with a listener that is a fake."""

    patience_s = 0.001

    def __init__(self, listener: Any = None) -> None:
        if listener is None:
            from multiprocessing.connection import Listener  # noqa: PLC0415 - Windows only

            listener = Listener(family="AF_PIPE")
        self._listener = listener
        self.address = str(listener.address)
        self._arrived: queue.SimpleQueue[QueueLine] = queue.SimpleQueue()
        threading.Thread(target=self._accept, name="doors", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line = QueueLine(self._listener.accept())
            except OSError:
                return
            threading.Thread(target=line.listen, args=(self._arrived.put,), daemon=True).start()

    def taken(self, count: int = 1) -> None:
        """Nothing to do: a pipe has as many instances as are asked for."""

    def arrived(self) -> list[Line]:
        """Return the lines on which something has arrived."""
        lines: dict[int, Line] = {}
        while not self._arrived.empty():
            line = self._arrived.get()
            lines[id(line)] = line
        return list(lines.values())

    def close(self) -> None:
        """Let nobody in any more."""
        self._listener.close()
