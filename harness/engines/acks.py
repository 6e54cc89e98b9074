"""From the bytes of standard output to acknowledgements.

The bytes form one stream, however many processes share the descriptor and however the writes cut it; a line
counts when its newline has arrived. Lines are matched as text (UTF-8, undecodable bytes as surrogate escapes).

Non-goals: what the lines mean. Partial lines longer than :data:`MAX_LINE_BYTES` are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.core.operation import Ack, AnyOperation, Close, Outside, Rename, Write

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
    """Whether the acknowledgements came out of a block buffer at the end of the run.

    True when a write after the last file operation carried two or more of them and the program had made two or
    more changes (writes or renames) before: more than one acknowledgement was then due earlier. A single final
    one is fine.
    """
    batched = False
    for position in range(len(operations) - 1, -1, -1):
        op = operations[position]
        if isinstance(op, Ack):
            batched = batched or op.batch > 0
        elif not isinstance(op, Close | Outside):
            break
    if not batched:
        return False
    changes = sum(1 for op in operations if isinstance(op, Write | Rename) and not op.error)
    return changes > 1
