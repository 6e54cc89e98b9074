"""What an undisturbed run promised: records owed, document versions, names.

Built once from the trace of the null run, then asked about any tree: a crash state of the same run, or the tree
another run of the same workload left. ``masked`` is for programs whose own randomness differs between runs:
names that are new in the run are compared by role, lines and documents with uuids and timestamps masked.

An update in flight is never owed: a record is owed from its acknowledgement on; without an ``id_key``, the records
complete in the file at an acknowledgement are owed until the run itself removes them, and those that it moves to
other files are owed somewhere all the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from harness.checks.binding import Bindings, FileBinding
from harness.checks.conversation_faults import FaultKey
from harness.checks.conversation_fold import Conversations, Judged
from harness.checks.messages_api import THOUGHTS, Block
from harness.checks.replaying import Names, replay_histories
from harness.checks.summary import (
    DigestFold,
    LineFold,
    PrefixFold,
    Problem,
    line_digest,
    parse_json,
)
from harness.checks.versions import NO_NEWLINES, ExpectedDocument, History, Version
from harness.core.content import EMPTY, Content
from harness.core.role import mask_bytes, path_role
from harness.core.trace import Trace

_GONE_KEPT = 8192
"""Contents for which is remembered what they lack."""


class OwedRecord(NamedTuple):
    """A record the program acknowledged. ``id`` is empty where records carry none; ``digest`` of its line, or
    ``None`` when the run never wrote it."""

    id: str
    digest: bytes | None


class Closest(NamedTuple):
    """The line digests of one content that the run wrote, and how many of the first ones agree (-1: it wrote none)."""

    lines: tuple[bytes, ...]
    agreed: int


def id_at(record: Any, id_key: str) -> str | None:
    """Return the value at a dotted path inside a record as text, or ``None``."""
    value = record
    for part in id_key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _next(history: History, acked: int) -> Version:
    """Return what a file held at the acknowledgement after ``acked``, or at the end."""
    return history.at_ack[acked + 1] if acked + 1 < len(history.at_ack) else history.last


class ExpectedRecords:
    """What the record files of one key owe: generations to be a prefix of, records by acknowledgement."""

    def __init__(self, key: str, histories: list[History], expectation: Expectation) -> None:
        self.key = key
        self.histories = histories
        self.binding: FileBinding = histories[0].binding
        self.framed = all(history.framed for history in histories)
        self._expectation = expectation
        self.generations: list[Content] = [g for history in histories for g in history.generations]
        self.has_prefixes = all(history.has_prefixes for history in histories)
        self.undecided = next((f"{h.path}: {h.undecided}" for h in histories if h.undecided), "")
        """Why a part of what these files owe cannot be told: then they are judged, and do not count as measured."""
        single = len(histories) == 1 and not expectation.masked
        self.prefix = PrefixFold(tuple(g.to_bytes() for g in self.generations) or (b"",))
        self._simple = single and not histories[0].rewritten and histories[0].last is not None
        self._counts: tuple[int, ...] = ()
        self._owed: dict[int, tuple[OwedRecord, ...]] = {}
        self._gone: dict[tuple[bytes, int], tuple[OwedRecord, ...] | None] = {}
        self._closest: dict[tuple[bytes, ...], Closest] = {}
        self._lines_at: dict[int, int] = {}
        self._acked_ids: list[tuple[int, OwedRecord, int]] = []

    @cached_property
    def start_problems(self) -> frozenset[Problem]:
        """What was wrong in these files when the run began."""
        fold = LineFold(parse=self.binding.json, transcript=self.binding.format == "transcript")
        starts = (history.at_ack[0] for history in self.histories)
        return frozenset(problem for start in starts if start is not None for problem in fold.of(start).problems)

    @cached_property
    def first_count(self) -> int:
        """Records in the first content the run published under a new name (the least of a role)."""
        digests = self._expectation.line_digests
        return min((len(digests(h.first)) for h in self.histories if h.first is not None), default=1)

    def claim(self, acknowledgement: int, record: OwedRecord, line: int) -> None:
        """Note that acknowledgement number ``acknowledgement`` (from 1) names ``record`` at ``line`` (from 0)."""
        self._acked_ids.append((acknowledgement, record, line))

    def prepare(self, acks: int) -> None:
        """Work out the number of complete lines owed at each acknowledgement, where the order alone tells."""
        if not self._simple:
            return
        history = self.histories[0]
        lines = LineFold(parse=False)
        count = [0 if v is None else lines.of(v).complete for v in history.at_ack]
        if self.binding.id_key:
            count = [count[0]] * (acks + 1)
            for number, record, line in self._acked_ids:
                if record.digest is None:
                    self._simple = False
                    return
                count[number] = max(count[number], line + 1)
            for number in range(1, acks + 1):
                count[number] = max(count[number], count[number - 1])
        self._counts = tuple(count)

    def count_owed(self, acked: int) -> int:
        """Return how many leading lines of the only generation are owed, or -1 where that does not decide."""
        if not self._simple:
            return -1
        return self._counts[min(acked, len(self._counts) - 1)]

    def lines_at(self, acked: int) -> int:
        """Return how many leading lines were complete after ``acked`` acknowledgements, and stay so in the run.

        0 where the run itself goes on to drop lines, or where files of one role cannot be told apart.
        """
        if len(self.histories) != 1:
            return 0
        found = self._lines_at.get(acked)
        if found is None:
            history, digests = self.histories[0], self._expectation.line_digests
            now = digests(history.at_ack[min(acked, len(history.at_ack) - 1)])
            later = digests(_next(history, acked))
            found = self._lines_at[acked] = len(now) if later[: len(now)] == now else 0
        return found

    @cached_property
    def replaced(self) -> bool:
        """Whether the run replaced what one of these files held, and left something."""
        return any(len(history.floors) > 1 for history in self.histories)

    def before_replacement(self, acked: int) -> Content:
        """Return what the only file held after ``acked`` acknowledgements, if it is replaced before the next one.

        Empty where it is not, or where nobody can tell what is owed meanwhile.
        """
        history = self.histories[0]
        begun = history.generation_at_ack
        after = begun[acked + 1] if acked + 1 < len(begun) else len(history.floors) - 1
        if begun[min(acked, len(begun) - 1)] == after or history.undecided not in ("", NO_NEWLINES):
            return EMPTY
        return history.at_ack[min(acked, len(history.at_ack) - 1)] or EMPTY

    def may_hold(self, content: Content, acked: int) -> bool:
        """Whether the only file may hold ``content`` after ``acked`` acknowledgements.

        It may hold a version published since, what it held then and any extension of it, and a later generation
        from its floor on. A log is compared line by line: its torn tail is B1's. One without newlines byte by byte.
        """
        history = self.histories[0]
        acked = min(acked, len(history.at_ack) - 1)
        if content in history.versions[history.version_at_ack[acked] :]:
            return True
        begun, pieces = history.generation_at_ack[acked], self._pieces(content)
        for number in range(begun, len(history.generations)):
            floor = history.at_ack[acked] if number == begun else history.floors[number]
            known = self._pieces(history.generations[number])
            if len(pieces) >= len(self._pieces(floor or EMPTY)) and pieces == known[: len(pieces)]:
                return True
        return False

    def is_known(self, content: Content) -> bool:
        """Whether the content is the beginning of what one of these files ever held."""
        pieces = self._pieces(content)
        return any(pieces == self._pieces(generation)[: len(pieces)] for generation in self.generations)

    def _pieces(self, content: Content) -> Sequence[bytes | int]:
        by_line = self.framed or self.binding.json
        return self._expectation.line_digests(content) if by_line else content.to_bytes()

    def owed(self, acked: int) -> tuple[OwedRecord, ...]:
        """Return the records owed after ``acked`` acknowledgements (with repetitions)."""
        if acked not in self._owed:
            self._owed[acked] = self._work_out(acked)
        return self._owed[acked]

    def gone_once(self, content: Content, acked: int) -> tuple[OwedRecord, ...] | None:
        """Return what is owed and not in ``content``; ``None`` where a line is owed or there more than once.

        Remembered: states of a power loss share their contents.
        """
        key = (content.digest, acked)
        if key not in self._gone:
            if len(self._gone) == _GONE_KEPT:
                self._gone = {}
            self._gone[key] = self._work_out_gone(content, acked)
        return self._gone[key]

    def _work_out_gone(self, content: Content, acked: int) -> tuple[OwedRecord, ...] | None:
        owed = self.owed(acked)
        there = self._expectation.line_digests(content)
        present, digests = frozenset(there), {record.digest for record in owed}
        if len(present) != len(there) or len(digests) != len(owed) or None in digests:
            return None
        return tuple(record for record in owed if record.digest not in present)

    def closest(self, lines: tuple[bytes, ...]) -> Closest:
        """Return what the run wrote that agrees longest with these line digests. Remembered, as above."""
        found = self._closest.get(lines)
        if found is None:
            if len(self._closest) == _GONE_KEPT:
                self._closest = {}
            found = self._closest[lines] = self._work_out_closest(lines)
        return found

    def _work_out_closest(self, lines: tuple[bytes, ...]) -> Closest:
        best: tuple[bytes, ...] = ()
        most = -1
        for generation in self.generations:
            known = self._expectation.line_digests(generation)
            limit = min(len(lines), len(known))
            agreed = next((index for index in range(limit) if lines[index] != known[index]), limit)
            if agreed > most:
                best, most = known, agreed
        return Closest(best, most)

    def owed_by_ids(self, ids: Iterable[str]) -> tuple[OwedRecord, ...]:
        """Return what is owed when exactly these ids were acknowledged; needs an ``id_key``."""
        wanted = set(ids)
        return tuple(record for _, record, _ in self._acked_ids if record.id in wanted)

    def newest_first(self, acked: int) -> Iterator[str]:
        """Yield the ids of the first ``acked`` acknowledgements that are this file's, the newest first."""
        return (record.id for number, record, _ in reversed(self._acked_ids) if number <= acked)

    def _work_out(self, acked: int) -> tuple[OwedRecord, ...]:
        digests = self._expectation.line_digests
        if self.binding.id_key:
            start = [OwedRecord("", d) for h in self.histories for d in digests(h.at_ack[0])]
            return (*start, *(record for number, record, _ in self._acked_ids if number <= acked))
        owed: list[OwedRecord] = []
        for history in self.histories:
            now = Counter(digests(history.at_ack[min(acked, len(history.at_ack) - 1)]))
            kept = now & Counter(digests(_next(history, acked)))
            gone = now - kept
            # Dropped here and all found elsewhere at the next acknowledgement: moved, and never owed any less.
            if gone and not gone - self._expectation.lines_beside(history, acked):
                kept = now
            owed += [OwedRecord("", digest) for digest in kept.elements()]
        return tuple(owed)

    def most_of(self, digest: bytes) -> int:
        """Return how often the run itself ever had this line at once."""
        return max((self._expectation.line_digests(g).count(digest) for g in self.generations), default=0)


class Expectation:
    """What is owed at each acknowledgement of a run. Build with :meth:`from_trace`."""

    def __init__(
        self,
        names: Names,
        bindings: Bindings,
        histories: Mapping[str, History],
        *,
        masked: bool,
        unseen: frozenset[str] = frozenset(),
    ) -> None:
        self.names = names
        self.bindings = bindings
        self.masked = masked
        self.ack_ids = names.ack_ids
        self.unseen = unseen
        self.histories = histories
        self.conversations = Conversations()
        self._digests = DigestFold(mask_bytes if masked else None)
        grouped: dict[str, list[History]] = {}
        for path, history in histories.items():
            grouped.setdefault(self.key_of(path), []).append(history)
        self.documents: dict[str, ExpectedDocument] = {
            key: ExpectedDocument(group, self.document_digest)
            for key, group in grouped.items()
            if group[0].binding.holds_document
        }
        self.records: dict[str, ExpectedRecords] = {
            key: ExpectedRecords(key, group, self)
            for key, group in grouped.items()
            if group[0].binding.holds_records
        }
        self.unmatched_acks = self._claim_ids()
        self._claim_versions()
        for records in self.records.values():
            records.prepare(len(self.ack_ids))

    @classmethod
    def from_trace(
        cls, trace: Trace, bindings: Iterable[FileBinding] | Bindings, masked: bool = False
    ) -> Expectation:
        """Return what ``trace``, the recording of an undisturbed run, promises.

        A write torn by a fault counts with all the bytes that were asked for. Raises
        :class:`harness.core.apply.ReplayError` for a trace that contradicts itself.
        """
        bound = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
        names, histories = replay_histories(trace, bound)
        return cls(names, bound, histories, masked=masked, unseen=frozenset(trace.unseen_paths))

    def key_of(self, path: str) -> str:
        """Return what a path is compared by: itself; with ``masked`` its role unless it was there at the start."""
        return path if not self.masked or path in self.names.start else path_role(path)

    def document_digest(self, content: Content) -> bytes:
        """Return what a document's content is compared by."""
        return line_digest(mask_bytes(content.to_bytes())) if self.masked else content.digest

    def line_digests(self, content: Version) -> tuple[bytes, ...]:
        """Return the digests of the complete lines of a content, masked if this expectation is."""
        if content is None or not content.size:
            return ()
        return self._digests.of(content)

    @cached_property
    def start_faults(self) -> frozenset[FaultKey]:
        """What was wrong with the conversations that the run started with; a copy of one has it too."""
        starts = (history.at_ack[0] for history in self.transcripts())
        judged = (self.conversations.of(start) for start in starts if start is not None)
        return frozenset(key for each in judged for fault in each.faults for key in fault.known_as())

    @cached_property
    def told(self) -> tuple[Judged, ...]:
        """The conversations that the run itself wrote, or left as they were: one per generation, and the last."""
        contents = {
            content.digest: content
            for history in self.transcripts()
            for content in (*history.generations, history.last)
            if content is not None
        }
        return tuple(map(self.conversations.of, contents.values()))

    @cached_property
    def thoughts(self) -> Mapping[str, Sequence[Block]]:
        """The thinking blocks that the run itself wrote, by the id of their message."""
        found: dict[str, list[Block]] = {}
        for record in (record for told in self.told for record in told.conversation.records):
            blocks = [block for block in record.blocks if block.get("type") in THOUGHTS]
            if record.message_id and blocks:
                found.setdefault(record.message_id, []).extend(blocks)
        return found

    def transcripts(self) -> Iterator[History]:
        """Yield the histories of the transcripts."""
        return (h for h in self.histories.values() if h.binding.format == "transcript" and not h.binding.litter)

    def lines_beside(self, history: History, acked: int) -> Counter[bytes]:
        """Count the lines of all other files of lines at the acknowledgement after ``acked``, or at the end."""
        return Counter(
            digest
            for other in self.histories.values()
            if other is not history and other.binding.holds_lines
            for digest in self.line_digests(_next(other, acked))
        )

    def _claim_ids(self) -> tuple[str, ...]:
        """Match acknowledged ids with records and documents; return the ids that nothing in the run carries.

        Below half of the ids matched, the acknowledgements are about something else and prove nothing missing.
        """
        keyed = [records for records in self.records.values() if records.binding.id_key]
        if not keyed:
            return ()
        found: dict[str, list[tuple[ExpectedRecords, History, bytes, int]]] = {}
        for records in keyed:
            for history in records.histories:
                for generation in history.generations:
                    for name, digest, line in _ids(generation.to_bytes(), records.binding.id_key, self.masked):
                        found.setdefault(name, []).append((records, history, digest, line))
        documents = self._document_ids()
        unmatched = [name for name in self.ack_ids if name not in found and name not in documents]
        if len(unmatched) * 2 > len(self.ack_ids):
            unmatched = []
        for number, name in enumerate(self.ack_ids, 1):
            if name in found:
                records, digest, line = self._owner(number, found[name])
                records.claim(number, OwedRecord(name, digest), line)
            elif name in unmatched:
                keyed[0].claim(number, OwedRecord(name, None), -1)
        return tuple(unmatched)

    def _owner(
        self, number: int, candidates: list[tuple[ExpectedRecords, History, bytes, int]]
    ) -> tuple[ExpectedRecords, bytes, int]:
        """Choose the file that held the record at its acknowledgement, else the one that held it first."""
        for records, history, digest, line in reversed(candidates):
            if digest in self.line_digests(history.at_ack[min(number, len(history.at_ack) - 1)]):
                return records, digest, line
        records, _, digest, line = candidates[0]
        return records, digest, line

    def _claim_versions(self) -> None:
        """A document that carries the acknowledged id owes that version, even if it was written later."""
        for document in self.documents.values():
            history = document.histories[0]
            if not history.binding.id_key or len(document.histories) > 1:
                continue
            first: dict[str, int] = {}
            for index, version in enumerate(history.versions):
                if version is not None:
                    for name in document_ids(version.to_bytes(), history.binding.id_key):
                        first.setdefault(name, index)
            if first:  # one that collects ids carries none of its own
                document.claim([first.get(name, -1) for name in self.ack_ids])

    def _document_ids(self) -> frozenset[str]:
        found: set[str] = set()
        for documents in self.documents.values():
            for history in documents.histories:
                if not history.binding.id_key:
                    continue
                for version in history.versions:
                    if version is not None:
                        found |= document_ids(version.to_bytes(), history.binding.id_key)
        return frozenset(found)


def document_ids(data: bytes, id_key: str) -> set[str]:
    """Return the id a document carries, if any."""
    try:
        name = id_at(parse_json(data), id_key)
    except ValueError:
        return set()
    return set() if name is None else {name}


@lru_cache(maxsize=256)
def _ids(data: bytes, id_key: str, masked: bool) -> tuple[tuple[str, bytes, int], ...]:
    """Return (id, line digest, line index) of each complete line that has an id."""
    found: list[tuple[str, bytes, int]] = []
    for index, line in enumerate(data.split(b"\n")[:-1]):
        try:
            name = id_at(parse_json(line), id_key)
        except ValueError:
            continue
        if name is not None:
            found.append((name, line_digest(mask_bytes(line) if masked else line), index))
    return tuple(found)


def forget_ids() -> None:
    """Clear the process-wide memo of record ids (benchmarks start cold)."""
    _ids.cache_clear()


__all__ = ["Expectation", "ExpectedDocument", "ExpectedRecords", "History", "OwedRecord", "id_at", "line_digest"]
