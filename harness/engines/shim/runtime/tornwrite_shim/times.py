"""In the place of the line to the engine: nothing waits, and when each operation began and ended goes to a file.

A record is a little-endian 32-bit length and that many bytes: the fields with NULs between, first the process, the
nanoseconds that watching had cost it by then, when the operation began and ended (the system's monotonic clock, less
what watching had cost), the marks ("f": it failed), then the fields of the frame as ``channel.py`` has them, and what
must be known of its result. The text of an output comes last and may hold NULs.
"""

from __future__ import annotations

import _thread
import os
import struct
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .channel import REAL, VARIABLE, Link, _encode, _out_of_the_way

T = TypeVar("T")

PREFIX = "times:"
"""What the address begins with where only times are asked for; a file's name follows."""
_LENGTH = struct.Struct("<I")
_now = time.monotonic_ns


class Clock(Link):
    """Keeps the times of this process' operations."""

    def __init__(self) -> None:
        super().__init__()
        self._began = _now()
        self._file = -1
        self._is: tuple[int, int] = (0, 0)
        self._spent = 0
        self._births = 0

    def connect(self, birth: str = "") -> None:
        """Open the file, or go on with it after a fork, and say who this is; up to now all was start-up of the shim."""
        self.pid = REAL["getpid"]()
        self.active = True
        self._lock = _thread.allocate_lock()
        birth = birth or os.environ.pop(VARIABLE + "_BIRTH", "")
        if self._file < 0:
            path = os.environ[VARIABLE][len(PREFIX) :]
            try:
                file = REAL["open"](path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            except OSError:
                self.active = False  # whoever may not note its times runs on without
                return
            self._file = _out_of_the_way(file)
            self._is = self._which()
        else:
            self._births = 0
        self._log(b"", 0, 0, (b"hello", birth), b"")

    def ready(self, began: int) -> None:
        """Count what it took to load the shim as time that a plain run does not have."""
        self._spent += _now() - (began or self._began)

    def ask(self, *fields: Any) -> bytes:
        """Answer as the engine would."""
        if not self.active:
            return b"i"
        if fields[0] == b"look":
            return b"s" if fields[1] == 1 else b"w"
        self._births += 1
        number = b"%d.%d" % (self.pid, self._births)
        if fields[0] == b"born":
            self._log(b"", 0, 0, (b"born", number), b"")
        return b"g" + number

    def note(self, *fields: Any) -> None:
        """Keep what tells which file a descriptor is."""
        if self.active and fields[0] in (b"close", b"dup"):
            now = _now()
            self._log(b"", now, now, (fields[0], *fields[2:]), b"")
            self._spent += _now() - now

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
        """Do it, and note when."""
        if not self.active:
            return real()
        if REAL["getpid"]() != self.pid:
            self.connect()
        came = _now()
        if fields[0] != b"output":
            payload = b""
        began = _now()
        try:
            result = real()
        except OSError:
            ended = _now()
            self._log(b"f", began, ended, fields, b"", began - came)
            self._spent += began - came + _now() - ended
            raise
        ended = _now()
        told = facts(result) if facts is not None and fields[0] == b"open" else ()
        self._log(b"", began, ended, (*fields, *told), payload, began - came)
        self._spent += began - came + _now() - ended
        return result

    def _log(
        self,
        marks: bytes,
        began: int,
        ended: int,
        fields: tuple[Any, ...],
        payload: bytes | memoryview,
        more: int = 0,
    ) -> None:
        spent = self._spent + more
        head = b"%d\0%d\0%d\0%d\0%b\0" % (self.pid, spent, began - spent, ended - spent, marks)
        data = head + b"\0".join(map(_encode, fields))
        if payload:
            data += b"\0" + payload
        try:
            if self._which() != self._is:
                raise OSError  # it is a file of the program's own by now
            REAL["write"](self._file, _LENGTH.pack(len(data)) + data)
        except OSError:  # the program has closed what it did not open: it runs on, and nobody tells its times
            self.active = False

    def _which(self) -> tuple[int, int]:
        info = REAL["fstat"](self._file)
        return info.st_dev, info.st_ino
