"""What each bound file held over a run: the versions a document may have, the records a log owes.

Built by :class:`History` while a trace is replayed; read by the invariants through
:class:`harness.checks.expectation.Expectation`.

A *publication* is a moment when the program left a file to others: an acknowledgement, the end of the run, the
close of the last descriptor open for writing, a rename or link of a file that had none open, or the making of a
symbolic link, which is a document whose version is its destination.

A *generation* of a record file ends when its content is replaced by something that is not an extension of it. The
replacement is under way until the next publication; what is published then is the least that the new generation
ever holds (its *floor*), unless it begins from nothing because the old file was moved away. What is there in
between is nobody's version: no generation of its own. Cutting a torn last line off is no replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from harness.checks.binding import FileBinding
from harness.core.content import EMPTY, Content
from harness.core.tree import File, Node, Symlink

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


_LINK = b"\0symbolic link to\0"


def held_by(node: Node | None) -> Version:
    """Return what a document's name holds: the bytes of a file, or where a symbolic link leads."""
    if isinstance(node, File):
        return node.content
    if isinstance(node, Symlink):
        return EMPTY.append(_LINK + node.destination.encode("utf-8", "surrogateescape"))
    return None


def is_link(content: Content) -> bool:
    """Whether a content stands for a symbolic link."""
    return content.read(0, len(_LINK)) == _LINK


NO_ACKNOWLEDGEMENT = "it is rewritten in place, and no acknowledgement says what is owed meanwhile"
KEPT_ELSEWHERE = "it is emptied or rewritten in place, and another file may hold its records meanwhile"
NO_NEWLINES = "it is appended to, and its records do not end with a newline"
TOO_OFTEN = "it is rewritten too often to have prefixes"


class History:
    """One path's contents over the run, in order. Generations and their floors are kept of record files only."""

    __slots__ = (
        "__weakref__",
        "_between",
        "_doubt",
        "_rewriting",
        "at_ack",
        "binding",
        "first",
        "floors",
        "framed",
        "generation_at_ack",
        "generations",
        "last",
        "made_again_at",
        "path",
        "removed_at",
        "undecided",
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
        self.floors: list[Content] = [EMPTY]
        """What each generation holds at least, the present one's last; empty for one that begins from nothing."""
        self.generation_at_ack: list[int] = [0] * (acks_before + 1)
        self.last: Version = start
        self.first: Content | None = start
        self.framed = True
        """Whether the contents at acknowledgements, at the end, and before replacements end with a newline."""
        self.undecided = ""
        """Why a part of what a record file owes cannot be told; empty if it can."""
        self.made_again_at: set[int] = set()
        """Numbers of acknowledgements after which the file was removed and made again from nothing."""
        self.removed_at = -1
        self._rewriting = False
        self._between: set[bytes] = set()
        self._doubt = ""

    def replaces(self, new: Version) -> bool:
        """Whether ``new`` would end a generation: something was there, and ``new`` is no more of it."""
        old = self.last
        return self.binding.holds_records and old is not None and old.size > 0 and not extends(new, old)

    def change(self, new: Version, *, moved: bool = False, elsewhere: bool = False) -> None:
        """The path now holds ``new``.

        ``moved``: by a rename or link, so that nothing was destroyed, or the new content came as a whole.
        ``elsewhere``: another file, published since this one last changed, may hold what was here.
        """
        if self.replaces(new):
            assert self.last is not None
            self._replace(self.last, new, moved=moved, elsewhere=elsewhere)
        elif new is not None and self.last is None and self.removed_at >= 0:
            if not moved and self.removed_at == len(self.at_ack) - 1:
                self.made_again_at.add(self.removed_at)
            self.removed_at = -1
        if self._rewriting and new is not None:
            self._between.add(new.digest)
        self.last = new

    def _replace(self, old: Content, new: Version, *, moved: bool, elsewhere: bool) -> None:
        if self._rewriting:
            return  # what was there between is part of the same replacement
        if new is not None and _heals(new, old):
            self._end_generation(old, torn=True)
            self.floors.append(new)
            return
        self._end_generation(old)
        self.floors.append(EMPTY)
        if moved and new is None:
            return  # the next one begins from nothing
        self._rewriting, self._between, self._doubt = True, set(), ""
        if new is None:
            self.removed_at = len(self.at_ack) - 1
        before = self.at_ack[-1]
        if moved:
            return
        if before is None or not before.size:
            self._doubt = NO_ACKNOWLEDGEMENT
        elif elsewhere:
            self._doubt = KEPT_ELSEWHERE

    def _end_generation(self, content: Content, torn: bool = False) -> None:
        if self.binding.holds_records and len(self.generations) <= _GENERATION_LIMIT:
            self.generations.append(content)
            if not torn:
                self._see_end(content)

    def _see_end(self, content: Version) -> None:
        if content is not None and content.size and content.read(content.size - 1, content.size) != b"\n":
            self.framed = False

    def publish(self) -> bool:
        """The present content is one that others may find. Return whether they find something new."""
        is_new = self.versions[-1] != self.last
        if is_new:
            self.versions.append(self.last)
        if self.last is not None and self.first is None:
            self.first = self.last
        if self._rewriting:
            self._rewriting, self.removed_at = False, -1
            self.floors[-1] = self.last or EMPTY
            if self._doubt and self._between - {self.floors[-1].digest}:
                self.undecided = self.undecided or self._doubt
        return is_new

    def acknowledge(self, in_flight: bool = False) -> bool:
        """An acknowledgement passed. Return whether it published something new.

        ``in_flight``: of another actor, while this document was being written: it is as good as its last version.
        """
        if in_flight and not self.binding.holds_records:
            self.at_ack.append(self.versions[-1])
            self.version_at_ack.append(len(self.versions) - 1)
            self.generation_at_ack.append(len(self.floors) - 1)
            return False
        is_new = self.publish()
        self.at_ack.append(self.last)
        self.version_at_ack.append(len(self.versions) - 1)
        self.generation_at_ack.append(len(self.floors) - 1)
        self._see_end(self.last)
        return is_new

    @property
    def is_one_link(self) -> bool:
        """Whether the name is a symbolic link that leads to one place all the time: nothing of the run is in it."""
        held = {version.digest: version for version in self.versions if version is not None}
        return len(held) == 1 and all(map(is_link, held.values()))

    def finish(self) -> None:
        """The run is over."""
        self.publish()
        if self.last is not None and self.last.size:
            self._end_generation(self.last)
        if not self.binding.holds_records:
            return
        if not self.has_prefixes:
            self.undecided = TOO_OFTEN
        elif not self.framed and not self.binding.json:
            self.undecided = self.undecided or NO_NEWLINES

    @property
    def rewritten(self) -> bool:
        """Whether the record file was replaced or cut at some moment, so that order alone does not tell."""
        return len(self.generations) > 1

    @property
    def has_prefixes(self) -> bool:
        """Whether "is a prefix of what the run wrote" is a meaningful question."""
        return len(self.generations) <= _GENERATION_LIMIT


def _heals(new: Content, old: Content) -> bool:
    """Whether ``new`` is ``old`` without its torn last line."""
    if not new.size or new.size > old.size:
        return False
    data = old.to_bytes()
    return new.size == data.rfind(b"\n") + 1 and new.to_bytes() == data[: new.size]


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
