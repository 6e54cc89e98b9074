"""From the bytes of standard output to acknowledgements.

The bytes form one stream, however many processes share the descriptor and however the writes cut it; a line
counts when its newline has arrived. Lines are matched as text (UTF-8, undecodable bytes as surrogate escapes).

Non-goals: what the lines mean. Partial lines longer than :data:`MAX_LINE_BYTES` are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    MakeNode,
    Open,
    Rename,
    Sync,
    Unlink,
    Write,
)

MAX_LINE_BYTES = 1 << 16
"""A line without an end is given up after this many bytes; an acknowledgement is never that long."""


class AckPatternError(ValueError):
    """The acknowledgement or arm pattern is not a usable regular expression."""


def compile_pattern(pattern: str, what: str, group: str = "") -> re.Pattern[str]:
    """Return ``pattern`` compiled. Raises :class:`AckPatternError` if it is invalid or lacks ``group``."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise AckPatternError(f"{what} pattern {pattern!r}: {error}") from error
    if group and group not in compiled.groupindex:
        raise AckPatternError(
            f"{what} pattern {pattern!r}: needs a group named {group!r}, as in (?P<{group}>\\S+)"
        )
    return compiled


class AckReader:
    """Splits a stream into lines and picks the acknowledgements and the arm line out of it."""

    def __init__(self, ack: str, arm: str = "", arm_times: int = 1) -> None:
        self._ack = compile_pattern(ack, "ack", "id") if ack else None
        self._arm = compile_pattern(arm, "arm") if arm else None
        self._partial = b""
        self._too_long = False
        self._arms_left = arm_times
        self.armed = False
        """Whether as many lines as asked for have matched the arm pattern."""
        self.split_batch = False
        """Whether a write carried two acknowledgements or more and ended inside a line: a block buffer does."""

    def feed(self, data: bytes) -> list[str]:
        """Take in the bytes of one write; return the ids of the acknowledgements that it completes, in order."""
        lines = data.split(b"\n")
        rest = lines.pop()
        ids: list[str] = []
        for line in lines:
            whole = self._partial + line
            self._partial = b""
            if self._too_long:
                self._too_long = False
                continue
            if len(whole) <= MAX_LINE_BYTES:
                self._line(whole, ids)
        if self._too_long or len(self._partial) + len(rest) > MAX_LINE_BYTES:
            self._partial = b""
            self._too_long = True
        else:
            self._partial += rest
        if len(ids) > 1 and rest:
            self.split_batch = True
        return ids

    def _line(self, raw: bytes, ids: list[str]) -> None:
        text = raw.decode("utf-8", "surrogateescape")
        if text.endswith("\r"):
            text = text[:-1]
        if self._arm is not None and not self.armed and self._arm.search(text):
            self._arms_left -= 1
            self.armed = self._arms_left <= 0
        if self._ack is not None:
            match = self._ack.search(text)
            if match and match["id"] is not None:
                ids.append(match["id"])


def looks_buffered(operations: Sequence[AnyOperation]) -> bool:
    """Whether acknowledgements came out of a block buffer, so that some of them were due earlier.

    True where one write, anywhere in the run, carries two acknowledgements or more and the program made two or more
    *changes* since the acknowledgement before it. A single acknowledgement after any number of changes is fine.

    Group commit stays measurable: several records made durable together, then their acknowledgements in one write,
    are one change. A change ends with

    - a flush of a written file, or the close of its last writer: all its writes until then are one change;
    - a rename or a link: what was written since that acknowledgement under the old name (below it, for a directory)
      is part of the same change;
    - a symbolic link made;
    - the acknowledgement itself: each write that nothing has flushed or closed by then is a change of its own, for
      nothing tells what it waited for.

    What the run itself makes and removes without ever renaming it (a lock, a journal) is no change, nor is a removal.
    """
    passing = _made_and_removed(operations)
    names: dict[str, int] = {}
    changes = _Changes(names)
    for position, op in enumerate(operations):
        if isinstance(op, Ack):
            follows = operations[position + 1] if position + 1 < len(operations) else None
            if op.batch == 0 and isinstance(follows, Ack) and follows.batch > 0 and changes.count > 1:
                return True
            changes = _Changes(names)
        elif not op.error and getattr(op, "ino", -1) not in passing:
            changes.note(op)
    return False


def _made_and_removed(operations: Sequence[AnyOperation]) -> set[int]:
    """Return the inodes under names that the run makes, has removed by its end, and never renames or links."""
    made: dict[str, set[int]] = {}
    removed: set[str] = set()
    moved: set[str] = set()
    linked: set[int] = set()
    for op in operations:
        if op.error:
            continue
        if isinstance(op, Open) and op.created and op.path is not None:
            made.setdefault(op.path, set()).add(op.ino)
            removed.discard(op.path)
        elif isinstance(op, Unlink):
            removed.add(op.path)
        elif isinstance(op, Rename):
            moved.update((op.path, op.to))
        elif isinstance(op, Link):
            linked.add(op.ino)
    return {ino for path, inodes in made.items() if path in removed - moved for ino in inodes - linked}


class _Changes:
    """What a program has changed since an acknowledgement. ``names``: of the inodes of the whole run, kept up."""

    def __init__(self, names: dict[str, int]) -> None:
        self._names = names
        self._writes: dict[int, int] = {}
        self._changed: dict[int, int] = {}
        self._published = 0

    @property
    def count(self) -> int:
        """The number of changes."""
        return sum(self._writes.values()) + sum(self._changed.values()) + self._published

    def note(self, op: AnyOperation) -> None:
        """Look at one operation that succeeded."""
        if isinstance(op, Write):
            self._writes[op.ino] = self._writes.get(op.ino, 0) + 1
        elif isinstance(op, Open | MakeNode):
            if op.path is not None:
                self._names[op.path] = op.ino
            if isinstance(op, MakeNode) and op.destination is not None:
                self._changed[op.ino] = 1
        elif isinstance(op, Sync) and op.ino == -1:
            self._published += bool(self._writes)
            self._writes.clear()
        elif isinstance(op, Sync) or (isinstance(op, Close) and op.writers_left == 0):
            if self._writes.pop(op.ino, 0):
                self._changed[op.ino] = self._changed.get(op.ino, 0) + 1
        elif isinstance(op, Rename):
            self._rename(op)
        elif isinstance(op, Link):
            self._publish({op.ino})

    def _rename(self, op: Rename) -> None:
        below = op.path + "/"
        if op.path in self._names:
            moved = {op.path: self._names[op.path]}
        else:
            moved = {path: ino for path, ino in self._names.items() if path.startswith(below)}
        for path in moved:
            del self._names[path]
        self._names.update({op.to + path[len(op.path) :]: ino for path, ino in moved.items()})
        self._publish(set(moved.values()))

    def _publish(self, inodes: set[int]) -> None:
        for ino in inodes:
            self._writes.pop(ino, 0)
            self._changed.pop(ino, 0)
        self._published += 1
