"""Files that a user names, read as they are: regular files of bounded size, nothing that would block or never end."""

from __future__ import annotations

import difflib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from harness.core.content import MAX_FILE_BYTES
from harness.report.escape import plain

STANDARD_INPUT = "-"
_MIB = 1 << 20
_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(click.ClickException):
    """A file cannot be read; the message is one line: which, why, and what would do."""


class WildFile(NamedTuple):
    """A file to be read: the name to show, and the path to open."""

    name: str
    path: str


def files_of(paths: Sequence[str], *, recursive: bool) -> Iterator[WildFile]:
    """Yield the files that ``paths`` name, each directory's in order if ``recursive``. Links inside are not followed.

    Raises :class:`UnreadableError` for what does not exist, and for a directory where they are not asked for.
    """
    for path in paths:
        if path == STANDARD_INPUT:
            yield WildFile(path, "")
        elif not os.path.isdir(path):
            if not os.path.lexists(path):
                raise UnreadableError(f"{path!r}: no such file{_close(path)}")
            yield WildFile(path, path)
        elif not recursive:
            raise UnreadableError(f"{path!r} is a directory; name files, or take those below it with -r")
        else:
            yield from _below(path)


def _close(path: str) -> str:
    directory, name = os.path.split(path)
    try:
        names = os.listdir(directory or ".")
    except OSError:
        return ""
    found = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {os.path.join(directory, found[0])!r}?" if found else ""


def _below(directory: str) -> Iterator[WildFile]:
    for place, directories, names in os.walk(directory, onerror=_refuse):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if not os.path.islink(path) and os.path.isfile(path):
                yield WildFile(path, path)


def _refuse(error: OSError) -> None:
    raise UnreadableError(f"{error.filename!r}: {error.strerror}")


def read_file(file: WildFile, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of ``file``, of standard input for ``-``. Raises :class:`UnreadableError`."""
    if file.name == STANDARD_INPUT and not file.path:
        return _bounded(sys.stdin.buffer.read(limit + 1), "standard input", limit)
    try:
        # Without O_NONBLOCK the opening of a FIFO would wait for a writer.
        descriptor = os.open(file.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        kind = _kind(file.path)
        raise UnreadableError(_no_file(file, kind) if kind else f"{file.name!r}: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableError(_no_file(file, _kind_of(mode)))
        try:
            return _bounded(stream.read(limit + 1), repr(file.name), limit)
        except OSError as error:
            raise UnreadableError(f"{file.name!r}: {error.strerror}") from None


def _bounded(data: bytes, name: str, limit: int) -> bytes:
    if len(data) > limit:
        raise UnreadableError(
            f"{name} is larger than {limit // _MIB} MiB ({limit:,} bytes), the most that is read"
        )
    return data


def _no_file(file: WildFile, kind: str) -> str:
    return (
        f"{file.name!r} is {kind}, not a regular file; to explain what comes out of it: tornwrite explain - < FILE"
    )


def _kind(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) else _kind_of(mode)


def _kind_of(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "a directory" if stat.S_ISDIR(mode) else "no file")


def shown(file: WildFile) -> str:
    """Return the name of a file as text that moves no cursor."""
    return "standard input" if not file.path else plain(file.name)
