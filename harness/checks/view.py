"""What a check is shown: one file of a tree with its summary and what is expected of it, or the whole tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from harness.checks.binding import FileBinding
from harness.checks.expectation import Expectation, ExpectedDocument, ExpectedRecords
from harness.checks.rules import DEFAULT_RULES, Rules
from harness.checks.summary import Lines, NulFold, is_json
from harness.core.content import Content
from harness.core.fault import FaultClass
from harness.core.tree import Tree
from harness.core.verdict import Violation

_PARSED_LIMIT = 1 << 14


class Facts:
    """What is asked about whole contents now and then, memoised by digest."""

    def __init__(self) -> None:
        self.nul = NulFold()
        self._parsed: dict[bytes, bool] = {}

    def parses(self, content: Content) -> bool:
        """Whether the content is one JSON value."""
        found = self._parsed.get(content.digest)
        if found is None:
            if len(self._parsed) > _PARSED_LIMIT:
                self._parsed.clear()
            found = is_json(content.to_bytes())
            self._parsed[content.digest] = found
        return found


class FileView(NamedTuple):
    """One bound file.

    ``lines`` is the summary of a record file (of no lines for others). ``records`` or ``document`` is what the run
    promised for this path (or role), ``None`` for a name the run never had. ``is_prefix``: the content is a prefix
    of something the run wrote there. ``off_script``: acknowledgements were withheld, so order does not tell.
    ``told`` keeps what a check of trees found, by invariant, where it depends on this file alone.
    """

    path: str
    binding: FileBinding
    content: Content
    lines: Lines
    records: ExpectedRecords | None
    document: ExpectedDocument | None
    acked: int
    fault_class: FaultClass
    expectation: Expectation
    is_prefix: bool
    off_script: bool
    facts: Facts
    told: dict[str, tuple[Violation, ...]]

    def nul_at(self) -> int:
        """Return the offset of the first NUL byte, or -1."""
        return self.facts.nul.of(self.content)

    def parses(self) -> bool:
        """Whether the whole content is one JSON value."""
        return self.facts.parses(self.content)

    def may_be_container(self) -> bool:
        """Whether the last byte lets the content be a JSON object or array: a torn prefix mostly shows there."""
        return bool(self.content.size) and self.content.chunk[-1] in b"}] \n\r\t"

    def is_container(self) -> bool:
        """Whether the whole content is one JSON object or array."""
        return self.may_be_container() and self.parses()

    @property
    def tail_bytes(self) -> int:
        """Bytes after the last newline."""
        return self.content.size - self.lines.tail_start


class TreeView(NamedTuple):
    """A tree with its bound files; ``lines`` are those that hold records line by line.

    ``acked_ids`` is set when acknowledgements came off script (some withheld).
    """

    tree: Tree
    files: Mapping[str, FileView]
    lines: Mapping[str, FileView]
    acked: int
    acked_ids: tuple[str, ...] | None
    fault_class: FaultClass
    expectation: Expectation
    rules: Rules = DEFAULT_RULES

    def only_lines(self, key: str) -> FileView | None:
        """Return the file compared under ``key`` if no other file of the tree holds lines, else ``None``."""
        return None if self.expectation.masked or len(self.lines) != 1 else self.lines.get(key)

    def keyed(self, key: str) -> list[FileView]:
        """Return the files compared under ``key``: the path, or every file of the role."""
        if not self.expectation.masked:
            found = self.files.get(key)
            return [] if found is None else [found]
        return [view for path, view in self.files.items() if self.expectation.key_of(path) == key]
