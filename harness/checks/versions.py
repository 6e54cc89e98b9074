"""What each bound file held over a run: the versions a document may have, the records a log owes.

Built by :class:`History` while a trace is replayed; read by the invariants through
:class:`harness.checks.expectation.Expectation`.

A *publication* is a moment when the program left a file to others: an acknowledgement, the end of the run, the
close of the last descriptor open for writing, or a rename or link of a file that had none open. A *generation* of
a record file ends when its content is replaced by something that is not an extension of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from harness.checks.binding import FileBinding
from harness.core.content import EMPTY, Content
from harness.core.role import mask_bytes

_GENERATION_LIMIT = 64
"""A record file rewritten more often has no meaningful prefixes; only the records it owes are judged."""

Version = Content | None
"""What a name held: a content, or ``None`` for "no such file"."""


def extends(new: Version, old: Content) -> bool:
    """Whether ``new`` is ``old`` with something (or nothing) at its end, as far as its chain shows."""
    if new is None or new.size < old.size:
        return False
    node = new
    while node.prev is not None and node.size > old.size:
        node = node.prev
    return node == old


class History:
    """One path's contents over the run, in order."""

    __slots__ = (
        "__weakref__",
        "at_ack",
        "binding",
        "first",
        "framed",
        "generations",
        "last",
        "path",
        "version_at_ack",
        "versions",
        "was_there",
    )

    def __init__(self, path: str, binding: FileBinding, start: Version, acks_before: int) -> None:
        self.path = path
        self.binding = binding
        self.was_there = start is not None
        self.versions: list[Version] = [start]
        self.at_ack: list[Version] = [start] * (acks_before + 1)
        self.version_at_ack: list[int] = [0] * (acks_before + 1)
        self.generations: list[Content] = []
        self.last: Version = start
        self.first: Content | None = start
        self.framed = True

    def change(self, new: Version) -> None:
        """The path now holds ``new``."""
        old, self.last = self.last, new
        if old is not None and old.size and not extends(new, old):
            self._end_generation(old)

    def _end_generation(self, content: Content) -> None:
        if self.binding.holds_records and len(self.generations) <= _GENERATION_LIMIT:
            self.generations.append(content)

    def publish(self) -> None:
        """The present content is one that others may find."""
        if self.versions[-1] != self.last:
            self.versions.append(self.last)
        if self.last is not None:
            if self.first is None:
                self.first = self.last
            if self.last.size and self.last.read(self.last.size - 1, self.last.size) != b"\n":
                self.framed = False

    def acknowledge(self) -> None:
        """An acknowledgement passed."""
        self.publish()
        self.at_ack.append(self.last)
        self.version_at_ack.append(len(self.versions) - 1)

    def finish(self) -> None:
        """The run is over."""
        self.publish()
        if self.last is not None and self.last.size:
            self._end_generation(self.last)

    @property
    def rewritten(self) -> bool:
        """Whether the record file was replaced or cut at some moment, so that order alone does not tell."""
        return len(self.generations) > 1

    @property
    def has_prefixes(self) -> bool:
        """Whether "is a prefix of what the run wrote" is a meaningful question."""
        return len(self.generations) <= _GENERATION_LIMIT


class ExpectedDocument:
    """The version set of the documents of one key: order, and what is owed at each acknowledgement."""

    __slots__ = ("_latest", "_owed", "histories")

    def __init__(self, histories: list[History], digest: Callable[[Content], bytes]) -> None:
        self.histories = histories
        self._latest: dict[bytes | None, int] = {}
        for history in histories:
            for index, version in enumerate(history.versions):
                name = None if version is None else digest(version)
                self._latest[name] = max(index, self._latest.get(name, -1))
        # Several files of one role cannot be told apart in another run: then only the set is judged.
        self._owed: tuple[int, ...] = (0,)
        if len(histories) == 1:
            self._owed = tuple(histories[0].version_at_ack)

    def claim(self, named: Sequence[int]) -> None:
        """Raise what is owed: ``named`` has, per acknowledgement, the version it names (-1 for none)."""
        self._owed = tuple(accumulate(map(max, self._owed, (0, *named)), max))

    @property
    def count(self) -> int:
        """Return the number of different versions, absence included."""
        return len(self._latest)

    def owed(self, acked: int) -> int:
        """Return the index of the oldest version still allowed after ``acked`` acknowledgements."""
        return self._owed[min(acked, len(self._owed) - 1)]

    def index(self, name: bytes | None) -> int:
        """Return the latest index at which the document was ``name`` (``None``: absent), or -1."""
        return self._latest.get(name, -1)

    def absence_allowed(self, acked: int) -> bool:
        """Whether the file may be missing after ``acked`` acknowledgements."""
        return self.index(None) >= self.owed(acked)


def masked_content(content: Content) -> Content:
    """Return the content with uuids and timestamps replaced."""
    return EMPTY.append(mask_bytes(content.to_bytes()))
