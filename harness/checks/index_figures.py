"""The figures of a sequence of lives: what each did to the indexes of sessions, and what they are in the end. Pure.

Non-goals: verdicts (M6 has them); why an entry is as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from harness.checks.binding import Bindings, FileBinding
from harness.checks.documents import index_entries
from harness.checks.flight import is_agent, stem
from harness.checks.paths import directory_of
from harness.checks.transcripts import MESSAGES, NEWEST
from harness.core.drift import EntryFigures, IndexFigures, LifeFigures
from harness.core.tree import File, Tree


class Stage(NamedTuple):
    """One life as trees: at its start, when all instances waited, and after each of them had ended, in order.

    ``ended`` is empty of a life that was not lived.
    """

    exit: str
    now_ms: int
    instances: int
    start: Tree
    idle: Tree | None = None
    ended: tuple[Tree, ...] = ()


def has_index(bindings: Iterable[FileBinding]) -> bool:
    """Whether a target keeps an index at all."""
    return any(binding.format == "index" for binding in bindings)


def entries_in(tree: Tree, bindings: Bindings) -> dict[str, EntryFigures]:
    """Return, by session, what the indexes of a tree say of every main transcript that lies beside one."""
    indexes = {
        directory_of(path): (path, index_entries(file.content) or {})
        for path, file in tree.files()
        if _format(bindings, path) == "index"
    }
    found = {}
    for path, file in tree.files():
        if _format(bindings, path) != "transcript" or is_agent(path) or directory_of(path) not in indexes:
            continue
        index, rows = indexes[directory_of(path)]
        entry, name = rows.get(stem(path)), stem(path)
        found[name] = EntryFigures(
            session=name,
            index=index,
            messages=MESSAGES.of(file.content),
            newest_ms=NEWEST.of(file.content),
            count=entry.message_count if entry is not None else -1,
            modified_ms=entry.modified_ms if entry is not None else -1,
        )
    return found


def index_figures(stages: Sequence[Stage], bindings: Iterable[FileBinding]) -> IndexFigures:
    """Return the figures of lives that followed each other."""
    bound = Bindings(bindings)
    lives = tuple(_life(stage, bound) for stage in stages)
    last = next((stage.ended[-1] for stage in reversed(stages) if stage.ended), None)
    entries = entries_in(last, bound) if last is not None else {}
    return IndexFigures(lives=lives, entries=tuple(entries.values()), lag_ms=_lags(entries.values()))


def _lags(entries: Iterable[EntryFigures]) -> dict[str, int]:
    """Return how far each index is behind: from its newest entry to the newest record beside it."""
    by_index: dict[str, list[EntryFigures]] = {}
    for entry in entries:
        by_index.setdefault(entry.index, []).append(entry)
    return {
        path: max(0, max(each.newest_ms for each in mine) - max(each.modified_ms for each in mine))
        for path, mine in by_index.items()
        if any(each.found for each in mine)
    }


def _life(stage: Stage, bindings: Bindings) -> LifeFigures:
    if not stage.ended:
        return LifeFigures(exit=stage.exit, now_ms=stage.now_ms, instances=stage.instances, measured=False)
    left = stage.ended[-1]
    idle = stage.idle if stage.idle is not None else left
    seen = [entries_in(tree, bindings) for tree in (stage.start, idle, *stage.ended)]
    written = {stem(path) for path in _changed(stage.start, left, bindings, "transcript") if not is_agent(path)}
    mine = [entry for name, entry in seen[-1].items() if name in written]
    return LifeFigures(
        exit=stage.exit,
        now_ms=stage.now_ms,
        instances=stage.instances,
        writes_alive=len(_changed(stage.start, idle, bindings, "index")),
        writes_at_end=len(
            {p for a, b in pairwise((idle, *stage.ended)) for p in _changed(a, b, bindings, "index")}
        ),
        written=len(mine),
        current=sum(entry.is_current for entry in mine),
        missing=sum(not entry.found for entry in mine),
        stale=sum(entry.found and not entry.is_current for entry in mine),
        behind_ms=max((entry.behind_ms for entry in mine), default=0),
        lost=tuple(sorted(_lost(seen))),
        rolled_back_ms=_rolled_back_ms(seen),
    )


def _lost(seen: Sequence[dict[str, EntryFigures]]) -> set[str]:
    """Return the sessions that had an entry and have none in the end, though their transcript is there."""
    had = {name for entries in seen for name, entry in entries.items() if entry.found}
    return {name for name in had if name in seen[-1] and not seen[-1][name].found}


def _rolled_back_ms(seen: Sequence[dict[str, EntryFigures]]) -> int:
    back = (
        before[name].modified_ms - entry.modified_ms
        for before, after in pairwise(seen)
        for name, entry in after.items()
        if entry.found and name in before
    )
    return max(0, max(back, default=0))


def _changed(before: Tree, after: Tree, bindings: Bindings, file_format: str) -> list[str]:
    """Return the files of a format that are new, or whose content is another."""

    def same(path: str, file: File) -> bool:
        old = before.node_at(path)
        return isinstance(old, File) and old.content == file.content

    return [p for p, file in after.files() if _format(bindings, p) == file_format and not same(p, file)]


def _format(bindings: Bindings, path: str) -> str:
    binding = bindings.of(path)
    return "" if binding is None or binding.litter else binding.format
