"""A disk that remembers: one file on a FUSE file system, served by a process of its own, stdlib only.

Every write and flush is answered from memory (a descriptor that the caller owns) and appended to a log (another
one) before it is answered, so the log's order is the order in which the disk had things. :meth:`Disk.mark` puts a
mark between them and returns when it stands in the log.

A write may be held back (:class:`Slow`): others overtake it, as on a disk with a queue. A flush covers what was
answered before it, as on a real disk.

The server ends when the last descriptor of its control socket closes. Nothing it is served through outlives it:
the kernel aborts the connection, and users of the disk meet I/O errors.
"""

from __future__ import annotations

import errno
import heapq
import os
import select
import socket
import time
from typing import NamedTuple

from harness.engines.base import EngineError
from harness.engines.block import fuse_protocol as fuse
from harness.engines.block.disk_log import DiskEvent, DiskWrite, Failure, Flush, Mark, encode
from harness.engines.block.system import mount_detached

_REFUSED = frozenset((errno.ENOENT, errno.EINTR, errno.EAGAIN))
_UNMOUNTED = frozenset((errno.ENODEV, errno.ECONNABORTED))
_PATIENCE_S = 60.0


class Slow(NamedTuple):
    """Writes of at least ``min_bytes`` reach the disk, and are answered, ``ms`` milliseconds late."""

    min_bytes: int
    ms: float


class Disk:
    """The recorder's end of the control socket, for one thread."""

    def __init__(self, control: socket.socket, name: str) -> None:
        self._control = control
        self._name = name
        control.settimeout(_PATIENCE_S)

    def open(self) -> int:
        """Wait for the server and return a descriptor of the disk. Raises :class:`EngineError`.

        What went wrong in the server is the last event of its log.
        """
        try:
            _, descriptors, _, _ = socket.recv_fds(self._control, 16, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise EngineError(f"the recorded disk does not answer: {error}") from error
        if not descriptors:
            raise EngineError("the recorded disk could not be started")
        try:
            return os.open(self._name, os.O_RDWR | os.O_CLOEXEC, dir_fd=descriptors[0])
        except OSError as error:
            raise EngineError(f"the recorded disk cannot be opened: {error.strerror}") from error
        finally:
            os.close(descriptors[0])

    def mark(self, count: int) -> None:
        """Put a mark into the log; it stands there on return. Raises :class:`EngineError`."""
        try:
            self._control.send(b"m%d" % count)
            if self._control.recv(16):
                return
            reason = "it has ended"
        except OSError as error:
            reason = str(error)
        raise EngineError(f"the recorded disk does not answer: {reason}")


class _Held(NamedTuple):
    due: float
    unique: int
    offset: int
    data: bytes


class _Server:
    def __init__(self, image: int, log: int, control: socket.socket, name: str, slow: Slow | None) -> None:
        self._image = image
        self._log = log
        self._control = control
        self._name = name.encode()
        self._slow = slow
        self._size = os.fstat(image).st_size
        self._held: list[_Held] = []
        self._device = -1

    def append(self, event: DiskEvent) -> None:
        rest = memoryview(encode(event))
        while rest:
            rest = rest[os.write(self._log, rest) :]

    def serve(self) -> None:
        """Mount, hand the mount over, and answer until the control socket or the mount is closed."""
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        options = (("fd", str(self._device)), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0"))
        mount = mount_detached("fuse", "tornwrite", (*options, ("allow_other", None)))
        socket.send_fds(self._control, [b"r"], [mount])
        os.close(mount)
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(self._wait_ms()):
                going_on = self._marked() if descriptor == self._control.fileno() else self._requested()
                if not going_on:
                    return
            while self._held and self._held[0].due <= time.monotonic():
                held = heapq.heappop(self._held)
                self._write(held.unique, held.offset, held.data)

    def _wait_ms(self) -> float | None:
        return max(0.0, self._held[0].due - time.monotonic()) * 1000 + 0.1 if self._held else None

    def _marked(self) -> bool:
        message = self._control.recv(64)
        if not message:
            return False
        self.append(Mark(int(message[1:])))
        self._control.send(b"k")
        return True

    def _requested(self) -> bool:
        try:
            raw = os.read(self._device, fuse.REQUEST_BYTES)
        except OSError as error:
            if error.errno in _REFUSED:
                return True
            if error.errno in _UNMOUNTED:
                return False
            raise
        asked = fuse.request(raw)
        if asked.opcode == fuse.WRITE:
            offset, length = fuse.extent(asked.body)
            data = fuse.payload(asked.body, length)
            if self._slow is not None and length >= self._slow.min_bytes:
                due = time.monotonic() + self._slow.ms / 1000
                heapq.heappush(self._held, _Held(due, asked.unique, offset, data))
            else:
                self._write(asked.unique, offset, data)
        elif asked.opcode == fuse.READ:
            offset, length = fuse.extent(asked.body)
            self._answer(asked.unique, os.pread(self._image, length, offset))
        elif asked.opcode == fuse.FSYNC:
            self.append(Flush())
            self._answer(asked.unique)
        elif asked.opcode == fuse.INIT:
            self._answer(asked.unique, fuse.answer_init(asked.body))
        elif asked.opcode not in fuse.UNANSWERED:
            self._answer(asked.unique, *fuse.answer_simple(asked, self._name, self._size))
        return True

    def _write(self, unique: int, offset: int, data: bytes) -> None:
        os.pwrite(self._image, data, offset)
        self.append(DiskWrite(offset, data))
        self._answer(unique, fuse.write_answer(len(data)))

    def _answer(self, unique: int, data: bytes = b"", error: int = 0) -> None:
        try:
            os.write(self._device, fuse.answer(unique, data, error))
        except FileNotFoundError:
            return  # whoever asked was interrupted, and waits no more


def serve_disk(image: int, log: int, control: socket.socket, name: str, slow: Slow | None = None) -> None:
    """Be the server of the disk ``name`` until the other end of ``control`` is closed.

    ``image`` is a descriptor of its content, changed in place; ``log`` one that events are appended to. What goes
    wrong is the log's last event.
    """
    server = _Server(image, log, control, name, slow)
    try:
        server.serve()
    except Exception as error:  # the log is the one place where it can be said
        server.append(Failure(f"{type(error).__name__}: {error}"))
