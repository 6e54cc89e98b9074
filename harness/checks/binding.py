"""Which format the files of a target have: globs bound to formats, looked up by path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import msgspec

Format = Literal["transcript", "registry", "lease", "index", "log", "document", "opaque"]
TornTail = Literal["violation", "healed"]
FORMATS: tuple[str, ...] = get_args(Format)
RECORD_FORMATS = frozenset({"log", "transcript"})
"""Files of one record per line, appended to."""
DOCUMENT_FORMATS = frozenset({"registry", "lease", "index", "document"})
"""Files rewritten as a whole."""
DAY_MS = 86_400_000
SESSION_FORMATS = frozenset({"transcript", "registry"})
"""Files whose *name* a reader shows as a session."""


class FileBinding(msgspec.Struct, frozen=True):
    """Files matching ``glob`` have ``format``.

    ``id_key`` is the dotted path, inside a record or a document, of the value that acknowledgements name.
    ``torn_tail``: "healed" when the next opener repairs a torn last record, so the tail as found is no violation;
    of an index: when the next start rebuilds a stale one. ``open_turn``: "closed" when resuming closes the open tool
    turn that a transcript ends with, so that turn as found is no violation.
    ``lag_ms``: of an index, how far an entry may be behind its transcript where nothing is in flight.
    ``litter``: matching names are temporary files. ``json`` is false where records or documents need not be JSON:
    then only order and versions are judged.
    """

    glob: str
    format: Format
    id_key: str = ""
    torn_tail: TornTail = "violation"
    open_turn: Literal["violation", "closed"] = "violation"
    litter: bool = False
    json: bool = True
    lag_ms: int = DAY_MS

    @property
    def holds_records(self) -> bool:
        """Whether lines are records (log, transcript)."""
        return self.format in RECORD_FORMATS and not self.litter

    @property
    def holds_document(self) -> bool:
        """Whether the file is one document (registry, lease, index, document)."""
        return self.format in DOCUMENT_FORMATS and not self.litter

    @property
    def holds_lines(self) -> bool:
        """Whether the file may hold records of a log line by line: a log, or a document that is not JSON."""
        return self.holds_records or (self.holds_document and not self.json)

    @property
    def names_session(self) -> bool:
        """Whether a name matching this binding is shown as a session."""
        return self.format in SESSION_FORMATS and not self.litter


def _pieces(glob: str) -> Iterator[str]:
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            yield "(?:.*/)?"
            at += 3
        elif glob.startswith("**", at):
            yield ".*"
            at += 2
        elif glob[at] == "*":
            yield "[^/]*"
            at += 1
        elif glob[at] == "?":
            yield "[^/]"
            at += 1
        elif glob[at] == "[" and (end := glob.find("]", at + 2)) > 0:
            body = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            yield "[" + ("^" + body[1:] if body[0] == "!" else body) + "]"
            at = end + 1
        else:
            yield re.escape(glob[at])
            at += 1


def compile_glob(glob: str) -> re.Pattern[str]:
    """Return the pattern of a path glob: ``*`` and ``?`` stay within a name, ``**`` crosses directories."""
    return re.compile("".join(_pieces(glob)), re.DOTALL)


class Bindings:
    """The bindings of a target in their order; the first whose glob matches a path binds it."""

    def __init__(self, bindings: Iterable[FileBinding]) -> None:
        self.all = tuple(bindings)
        self._patterns = tuple((compile_glob(binding.glob), binding) for binding in self.all)
        self._known: dict[str, FileBinding | None] = {}

    def of(self, path: str) -> FileBinding | None:
        """Return the binding of ``path``, or ``None``."""
        try:
            return self._known[path]
        except KeyError:
            found = next((binding for pattern, binding in self._patterns if pattern.fullmatch(path)), None)
            self._known[path] = found
            return found
