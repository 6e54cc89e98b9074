"""The line to the engine: frames to it, short answers from it, one operation of this process at a time.

A frame is two little-endian 32-bit lengths, that many bytes of fields with NULs between, that many bytes of payload.
The directory that the environment names holds pairs of pipes (``N.up``, ``N.down``) made by the engine; a process takes
the first that is free by making the directory ``N.taken``.
"""

from __future__ import annotations

import _thread
import gc
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

IGNORE, GO, HOLD, CUT, FAIL, WAIT = b"i"[0], b"g"[0], b"h"[0], b"c"[0], b"e"[0], b"k"[0]
VARIABLE = "TORNWRITE_SHIM"
_LENGTHS = struct.Struct("<II")
_ANSWER_BYTES = 64
_PATIENCE_S = 10.0
_HIGH_FD = 500

REAL: dict[str, Any] = {name: getattr(os, name) for name in dir(os) if callable(getattr(os, name))}
"""The functions of ``os`` as they were: the shim itself uses nothing else."""


try:
    import fcntl

    CONTROL: Any = fcntl.fcntl
except ImportError:  # Windows
    CONTROL = None


class EngineGoneError(BaseException):
    """The engine went away: a target that goes on would act unwatched."""


def _encode(field: Any) -> bytes:
    if type(field) is bytes:
        return field
    return os.fsencode(field) if isinstance(field, str) else b"%d" % field


class Link:
    """The connection of this process."""

    def __init__(self) -> None:
        self.up = self.down = self.pid = -1
        self.active = False
        """Whether there is an engine: without one all goes on as if nobody watched."""
        self.early: set[Any] = set()
        """What was changed before there was an engine, by path."""
        self.anew: Callable[[], object] = lambda: None
        """Called where the engine knows nothing yet of what this process has open."""
        self.busy = False
        """Whether an operation is between its request and its result: signal handlers wait for that."""
        self.waiting: list[Callable[[], object]] = []
        self._lock = _thread.allocate_lock()
        self._threads: dict[int, int] = {}

    # -- connecting -------------------------------------------------------------------------------------------

    def connect(self, birth: str = "") -> None:
        """Take a pair of pipes and say who this is; ``birth`` is the number that a parent was given for it."""
        for descriptor in (self.up, self.down):
            if descriptor >= 0:
                REAL["close"](descriptor)
        self.pid = REAL["getpid"]()
        self.active = True
        self._lock = _thread.allocate_lock()
        self._threads = {_thread.get_ident(): 0}
        self.busy = False
        pair = _pipe_on_windows() if os.name == "nt" else _free_pair()
        self.up, self.down = map(_out_of_the_way, pair)
        forked = bool(birth)
        birth = birth or os.environ.pop(VARIABLE + "_BIRTH", "")
        command = os.path.basename(sys.executable or "python")
        self._send((b"hello", self.pid, birth, command, "python %d.%d" % sys.version_info[:2]), b"")
        self._answer()
        if not forked:
            self.anew()

    def _send(self, fields: tuple[Any, ...], payload: bytes | memoryview) -> None:
        head = b"\0".join(map(_encode, fields))
        data = memoryview(b"".join((_LENGTHS.pack(len(head), len(payload)), head, payload)))
        try:
            while data:
                data = data[REAL["write"](self.up, data) :]
        except OSError:
            raise EngineGoneError from None

    def _answer(self) -> bytes:
        try:
            answer: bytes = REAL["read"](self.down, _ANSWER_BYTES)
        except OSError:
            answer = b""
        if not answer:
            raise EngineGoneError
        return answer

    def thread(self) -> int:
        """Return the number of this thread: in the order of their first operations."""
        me = _thread.get_ident()
        return self._threads.setdefault(me, len(self._threads))

    # -- operations ---------------------------------------------------------------------------------------------

    def ask(self, *fields: Any) -> bytes:
        """Send a request that is no operation and return the answer."""
        if not self.active:
            return b"i"
        collecting = self._begin()
        try:
            self._send(fields, b"")
            return self._answer()
        finally:
            self._end(collecting)

    def note(self, *fields: Any) -> None:
        """Tell the engine something that needs no answer."""
        if not self.active:
            return
        collecting = self._begin()
        try:
            self._send(fields, b"")
        finally:
            self._end(collecting)

    def operate(
        self,
        fields: tuple[Any, ...],
        real: Callable[[], T],
        *,
        payload: bytes | memoryview = b"",
        cut: Callable[[int], T] | None = None,
        facts: Callable[[T], tuple[Any, ...]] | None = None,
        path: Any = None,
        waits: bool = False,
    ) -> T:
        """Do ``real`` when and as the engine says: whole, cut to some bytes, not at all and failing, or never.

        ``facts`` are what the engine must know of its result. One that ``waits`` for others does not keep them out.
        """
        if not self.active:
            self._before(fields, path)
            return real()
        collecting = self._begin()
        try:
            self._send((fields[0], self.thread(), *fields[1:]), payload)
            answer = self._answer()
            kind = answer[0]
            if kind == FAIL:
                number = int(answer[1:])
                raise OSError(number, os.strerror(number), path)
            while kind == WAIT:
                time.sleep(3600)
            if kind != IGNORE and not waits:
                return self._do(kind, answer, real, cut, facts)
        finally:
            self._end(collecting)
        if kind == IGNORE:
            return real()
        return self._wait(real, facts)

    def _before(self, fields: tuple[Any, ...], path: Any) -> None:
        """Note a change that nobody watches; a file that is made and removed again is none."""
        made = fields[0] == b"open" and fields[-1] & os.O_EXCL
        if fields[0] == b"unlink" and ("made", path) in self.early:
            self.early.remove(("made", path))
        elif path != os.devnull:
            self.early.add(("made", path) if made else path)

    def _do(
        self,
        kind: int,
        answer: bytes,
        real: Callable[[], T],
        cut: Callable[[int], T] | None,
        facts: Callable[[T], tuple[Any, ...]] | None,
    ) -> T:
        try:
            result = cut(int(answer[1:])) if kind == CUT and cut is not None else real()
        except OSError as error:
            self._send((b"fail", error.errno or 0), b"")
            if kind != GO:
                self._answer()
            raise
        self._send((b"done", *(facts(result) if facts is not None else ())), b"")
        if kind != GO:
            self._answer()
        return result

    def _wait(self, real: Callable[[], T], facts: Callable[[T], tuple[Any, ...]] | None) -> T:
        """Do an operation that may wait for somebody else, and tell of its end when it comes."""
        try:
            result = real()
        except OSError as error:
            self.note(b"late", self.thread(), error.errno or 0)
            raise
        self.note(b"late", self.thread(), 0)
        return result

    def _begin(self) -> bool:
        """Keep other threads, finalizers and signal handlers out; return whether the collector was on."""
        if REAL["getpid"]() != self.pid:
            self.connect()  # forked by somebody who did not tell
        collecting = gc.isenabled()
        if collecting:
            gc.disable()
        self._lock.acquire()
        self.busy = True
        return collecting

    def _end(self, collecting: bool) -> None:
        self.busy = False
        self._lock.release()
        if collecting:
            gc.enable()
        while self.waiting and not self.busy:
            self.waiting.pop(0)()


def _out_of_the_way(fd: int) -> int:
    """Give a descriptor a high number: a program may count on the low ones."""
    if CONTROL is None:
        return fd
    try:
        high: int = CONTROL(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    except OSError:
        return fd
    REAL["close"](fd)
    return high


def _free_pair() -> tuple[int, int]:
    base = os.environ[VARIABLE]
    number = 0
    while True:
        try:
            REAL["mkdir"](f"{base}/{number}.taken")
            break
        except FileExistsError:
            number += 1
        except OSError:
            raise EngineGoneError from None
    began = time.monotonic()
    while True:
        try:
            up = REAL["open"](f"{base}/{number}.up", os.O_WRONLY)
            return up, REAL["open"](f"{base}/{number}.down", os.O_RDONLY)
        except FileNotFoundError:
            if time.monotonic() - began > _PATIENCE_S:
                raise EngineGoneError from None
            time.sleep(0.0005)  # the engine makes more of them as they are taken


def _pipe_on_windows() -> tuple[int, int]:
    """A named pipe goes both ways: a copy of its descriptor stands for the way down."""
    up = REAL["open"](os.environ[VARIABLE], os.O_RDWR | getattr(os, "O_BINARY", 0))
    return up, REAL["dup"](up)


LINK = Link()
