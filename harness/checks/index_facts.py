"""What a sessions index says beside what its transcripts say: facts for a report, no judgement. Pure.

A rollback is told from the versions that an index had in one recorded run: how far the last of them is behind the
newest moment that any of them gave an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from harness.checks.binding import Bindings, FileBinding
from harness.checks.documents import index_entries
from harness.checks.expectation import Expectation
from harness.checks.flight import is_agent, stem
from harness.checks.paths import directory_of
from harness.checks.transcripts import NEWEST
from harness.core.content import Content
from harness.core.tree import Tree


class EntryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One session of one index. Times in milliseconds; -1 where there is none.

    ``message_count`` and ``modified_ms`` are the entry's (-1: the index has no entry), ``newest_ms`` is the time of the
    transcript's last record (-1: there is no transcript), ``back_ms`` how far the entry went back during the run.
    """

    session: str
    message_count: int = -1
    modified_ms: int = -1
    newest_ms: int = -1
    back_ms: int = 0


def index_facts(
    tree: Tree, bindings: Iterable[FileBinding], expectation: Expectation | None = None
) -> dict[str, tuple[EntryFacts, ...]]:
    """Return the sessions of every index of a tree, by its path; ``expectation`` is that of the run before it."""
    bound = Bindings(tuple(bindings))
    transcripts: dict[str, dict[str, Content]] = {}
    indexes: dict[str, Content] = {}
    for path, file in tree.files():
        binding = bound.of(path)
        if binding is not None and binding.format == "index":
            indexes[path] = file.content
        elif binding is not None and binding.format == "transcript" and not is_agent(path):
            transcripts.setdefault(directory_of(path), {})[stem(path)] = file.content
    back = {path: _went_back(path, expectation) for path in indexes}
    return {
        path: _facts(content, transcripts.get(directory_of(path), {}), back[path])
        for path, content in sorted(indexes.items())
    }


def _facts(
    content: Content, transcripts: Mapping[str, Content], back: Mapping[str, int]
) -> tuple[EntryFacts, ...]:
    entries = index_entries(content) or {}
    found = []
    for name in sorted({*entries, *transcripts}):
        entry, transcript = entries.get(name), transcripts.get(name)
        found.append(
            EntryFacts(
                session=name,
                message_count=entry.message_count if entry else -1,
                modified_ms=entry.modified_ms if entry else -1,
                newest_ms=NEWEST.of(transcript) if transcript else -1,
                back_ms=back.get(name, 0),
            )
        )
    return tuple(found)


def _went_back(path: str, expectation: Expectation | None) -> dict[str, int]:
    history = expectation.histories.get(path) if expectation is not None else None
    if history is None:
        return {}
    versions = [index_entries(version) or {} for version in history.versions]
    reached: dict[str, int] = {}
    for entries in versions:
        for name, entry in entries.items():
            reached[name] = max(reached.get(name, -1), entry.modified_ms)
    last = versions[-1] if versions else {}
    return {
        name: reached[name] - last[name].modified_ms for name in last if reached[name] > last[name].modified_ms
    }
