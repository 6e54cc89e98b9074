"""M6: a sessions index says what the transcripts beside it are, does not go back, and does not fall behind.

Where several writers at once leave it otherwise, one of them has lost an update: M3 as well.

An index is a copy of what the transcripts say, so a transcript or a record in flight need not be in it yet. Where
programs ended by themselves nothing is in flight. A binding with ``torn_tail = "healed"`` says that the next start
rebuilds a stale index: then only what is left after a start is judged. What was wrong when the run began counts once
the run has acknowledged something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from harness.checks.binding import DAY_MS
from harness.checks.documents import IndexEntry, index_entries
from harness.checks.expectation import Expectation
from harness.checks.flight import QUIET, Held, held_at, is_agent, position, stem
from harness.checks.invariant import check
from harness.checks.paths import directory_of, path_key
from harness.checks.transcripts import ENDS_UNTIMED, NEWEST, TITLES
from harness.checks.versions import History, Version
from harness.checks.view import FileView, TreeView
from harness.core.content import Content
from harness.core.tree import File
from harness.core.verdict import Damage, Violation

_IDS_SHOWN = 8
_MS_PER_HOUR = 3_600_000
_NS_PER_MS = 1_000_000

Entries = Mapping[str, IndexEntry]


class Floor(NamedTuple):
    """What the entry of a session had reached in the versions so far: it may not fall below."""

    modified_ms: int
    message_count: int
    custom_title: str


class _Index(NamedTuple):
    """One index of a tree, and the transcripts it is about: by session id, their file."""

    view: TreeView
    file: FileView
    entries: Entries
    start: Entries
    transcripts: Mapping[str, FileView]
    at: int

    @property
    def quiet(self) -> bool:
        """Whether nothing is in flight in this tree."""
        return self.view.fault_class in QUIET

    @property
    def fresh(self) -> bool:
        """Whether the run has acknowledged nothing yet: what was wrong before it may still be."""
        return not self.quiet and not self.at

    def held(self, path: str) -> Held | None:
        """Return what a path held around the last acknowledgement."""
        return held_at(self.view.expectation, path, self.at)

    def violation(self, damage: Damage, what: str, ids: list[str]) -> Violation:
        """Return a violation of this index about some sessions."""
        return Violation(
            invariant="M6",
            path=self.file.path,
            damage=damage,
            message=f"{len(ids)} of {len(self.entries)} entries: {what}",
            ids=tuple(sorted(ids))[:_IDS_SHOWN],
        )


@check("M3", "tree")
def no_entry_is_lost(view: TreeView) -> Iterator[Violation]:
    """What several writers at once leave out of an index, or take back in it, is an update that one of them lost."""
    if view.fault_class == "concurrency":
        for violation in index_agrees_with_transcripts(view):
            if violation.damage in ("lost", "stale"):
                yield msgspec.structs.replace(violation, invariant="M3")


@check("M6", "tree")
def index_agrees_with_transcripts(view: TreeView) -> Iterator[Violation]:
    """Entries are the transcripts on disk, keep titles, and neither go back nor fall behind."""
    for file in view.files.values():
        if file.binding.format != "index" or view.expectation.names.is_litter(file.path):
            continue
        if file.binding.torn_tail == "healed" and view.fault_class not in QUIET:
            continue
        entries = index_entries(file.content)
        if entries is None:
            continue
        history = view.expectation.histories.get(file.path)
        start = index_entries(history.versions[0]) if history is not None else None
        at = position(view.acked, view.acked_ids)
        index = _Index(view, file, entries, start or {}, _transcripts_beside(view, file), at)
        yield from _membership(index)
        if history is not None:
            yield from _progress(index, history)
        yield from _lag(index)


def _transcripts_beside(view: TreeView, index: FileView) -> dict[str, FileView]:
    """Return the main transcripts of the index's directory by session id, under the case rule."""
    sensitive = view.rules.case_sensitive
    here = path_key(directory_of(index.path), sensitive)
    return {
        stem(path): file
        for path, file in view.files.items()
        if file.binding.format == "transcript"
        and not is_agent(path)
        and path_key(directory_of(path), sensitive) == here
    }


def _names_it(entry: IndexEntry, file: FileView, case_sensitive: bool) -> bool:
    """Whether the path of an entry is that of the transcript: directory and name, for the root may have moved."""
    if not entry.full_path:
        return True
    said, real = (path_key(path, case_sensitive).split("/")[-2:] for path in (entry.full_path, file.path))
    return said[-len(real) :] == real


def _membership(index: _Index) -> Iterator[Violation]:
    sensitive = index.view.rules.case_sensitive
    known = {
        name
        for name, entry in index.entries.items()
        if name in index.transcripts and _names_it(entry, index.transcripts[name], sensitive)
    }
    missing = [name for name in index.transcripts if name not in known and _entry_is_owed(index, name)]
    if missing:
        yield index.violation("stale", f"{len(missing)} transcripts on disk have none", missing)
    extra = [
        name
        for name, entry in index.entries.items()
        if name not in known and not entry.is_sidechain and _transcript_is_gone(index, name)
    ]
    if extra:
        yield index.violation("other", f"{len(extra)} name a transcript not there", extra)


def _entry_is_owed(index: _Index, name: str) -> bool:
    if index.quiet:
        return True
    path = index.transcripts[name].path
    held = index.held(path)
    if held is None or not held.stays:
        return False
    return not index.fresh or name in index.start


def _transcript_is_gone(index: _Index, name: str) -> bool:
    """Whether an entry without a transcript is wrong: not while the transcript is being made or deleted."""
    if index.quiet:
        return True
    if name in index.start and index.fresh:
        return False
    directory = directory_of(index.file.path)
    held = index.held(f"{directory}/{name}.jsonl" if directory else f"{name}.jsonl")
    if held is None:
        return not index.view.expectation.masked
    return (held.now is None) == (held.later is None)


_FLOORS: WeakKeyDictionary[History, list[dict[str, Floor]]] = WeakKeyDictionary()


def _floors(history: History) -> list[dict[str, Floor]]:
    """Return, per version of an index, what each session's entry had reached by then."""
    known = _FLOORS.get(history)
    if known is None:
        known, reached = [], dict[str, Floor]()
        for version in history.versions:
            reached = {**reached, **_raised(reached, index_entries(version) or {})}
            known.append(reached)
        _FLOORS[history] = known
    return known


def _raised(reached: Mapping[str, Floor], entries: Entries) -> dict[str, Floor]:
    out = {}
    for name, entry in entries.items():
        old = reached.get(name, Floor(-1, -1, ""))
        out[name] = Floor(
            max(old.modified_ms, entry.modified_ms),
            max(old.message_count, entry.message_count),
            entry.custom_title or old.custom_title,
        )
    return out


def _progress(index: _Index, history: History) -> Iterator[Violation]:
    owed = _owed(index.view.expectation, history, index.at)
    floors = _floors(history)[owed]
    back, untitled = [], []
    for name, entry in index.entries.items():
        floor = floors.get(name)
        if floor is None:
            continue
        if entry.modified_ms < floor.modified_ms or entry.message_count < floor.message_count:
            back.append(name)
        if floor.custom_title and not _title_stands(index, history, name, entry):
            untitled.append(name)
    if back:
        yield index.violation("stale", "modified or messageCount went back", back)
    if untitled:
        yield index.violation("lost", "the custom title is gone", untitled)


def _owed(expectation: Expectation, history: History, at: int) -> int:
    document = expectation.documents.get(expectation.key_of(history.path))
    owed = document.owed(at) if document is not None else 0
    return min(owed, len(history.versions) - 1)


def _title_stands(index: _Index, history: History, name: str, entry: IndexEntry) -> bool:
    """Whether an entry's title is one that it had in the run, or the last one its transcript was given."""
    transcript = index.transcripts.get(name)
    given = TITLES.of(transcript.content)[-1:] if transcript is not None else ()
    if entry.custom_title in given:
        return True
    if not entry.custom_title:
        return False
    versions = (index_entries(version) or {} for version in history.versions)
    return any(name in entries and entries[name].custom_title == entry.custom_title for entries in versions)


def _lag(index: _Index) -> Iterator[Violation]:
    limit = index.file.binding.lag_ms
    behind: dict[str, int] = {}
    ahead: list[str] = []
    for name, file in index.transcripts.items():
        entry = index.entries.get(name)
        if entry is None or entry.modified_ms < 0:
            continue
        lag = _newest(index, file) - entry.modified_ms
        if _is_ahead(index, entry, file):
            ahead.append(name)
        if lag > limit and not (index.fresh and _was_behind(index, name, file, limit)):
            behind[name] = lag
    if behind:
        most = max(behind.values()) // _MS_PER_HOUR
        yield index.violation(
            "stale", f"up to {most} hours behind the transcript, limit {limit // _MS_PER_HOUR}", list(behind)
        )
    if ahead:
        yield index.violation("other", "over a day younger than any record of the transcript", ahead)


def _is_ahead(index: _Index, entry: IndexEntry, file: FileView) -> bool:
    """Whether an entry is over a day younger than its transcript, and was not so when the run began."""
    newest, old = NEWEST.of(file.content), index.start.get(entry.session_id)
    was = index.fresh and old is not None and old.modified_ms == entry.modified_ms
    later = ENDS_UNTIMED.of(file.content)  # what came last has no time: it may be as young as the entry says
    return newest >= 0 and entry.modified_ms - newest > DAY_MS and not was and not later


def _newest(index: _Index, file: FileView) -> int:
    """Return the time of the newest record that the index must know of."""
    newest = NEWEST.of(file.content)
    if newest < 0 and index.view.rules.file_times:
        node = index.view.tree.node_at(file.path)
        if isinstance(node, File) and node.mtime_ns is not None:
            newest = node.mtime_ns // _NS_PER_MS
    if index.quiet:
        return newest
    held = index.held(file.path)
    return min(newest, _time_of(held.now)) if held is not None else -1


def _time_of(version: Version) -> int:
    return NEWEST.of(version) if isinstance(version, Content) else -1


def _was_behind(index: _Index, name: str, file: FileView, limit: int) -> bool:
    history, entry = index.view.expectation.histories.get(file.path), index.start.get(name)
    if history is None or entry is None:
        return False
    return _time_of(history.versions[0]) - entry.modified_ms > limit
