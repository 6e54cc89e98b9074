"""Versions × dialogues: what each version of a client loses, how often, and between which versions that changed.

A cell is ``12/15``: dialogues that violate, of those that were whole. A change is told where two neighbouring versions
differ by more than chance (Fisher's exact test, Holm's correction over all pairs of the table).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from harness.core.dialogue import without_dialogue
from harness.core.significance import LEVEL, fisher_exact, holm, spell_p
from harness.report.answer import rate
from harness.report.view import CaseView, ClassLine, RunView

Show = Callable[[str], str]


class Cell(NamedTuple):
    """What one version showed in one dialogue; ``total`` 0: it says nothing, with the reason."""

    bad: int
    total: int
    inconclusive: int = 0
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.bad}/{self.total}" if self.total else "-"


class VersionTable(NamedTuple):
    """One client: its versions in the order of the campaign, a row per dialogue, what changed, what says nothing."""

    target: str
    versions: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    changes: tuple[str, ...]
    silent: tuple[str, ...]


def version_tables(view: RunView, show: Show) -> tuple[VersionTable, ...]:
    """Return a table per client that held dialogues in more than one version."""
    clients: dict[tuple[str, str], list[CaseView]] = {}
    for case in view.cases:
        if case.dialogue and case.version:
            clients.setdefault((case.target, without_dialogue(case.variant)), []).append(case)
    tables = (_table(target, cases, show) for (target, _), cases in clients.items())
    return tuple(table for table in tables if len(table.versions) > 1)


def _table(target: str, cases: list[CaseView], show: Show) -> VersionTable:
    versions = tuple(dict.fromkeys(case.version for case in cases))
    by_place = {(case.dialogue, case.version): _cell(case, show) for case in cases}
    names = tuple(dict.fromkeys(case.dialogue for case in cases))
    empty = Cell(0, 0, reason="not held")
    rows = tuple((name, tuple(by_place.get((name, each), empty) for each in versions)) for name in names)
    silent = tuple(
        f"{show(name)} with {show(version)}: {cell.reason or 'no dialogue was whole'}"
        for name, cells in rows
        for version, cell in zip(versions, cells, strict=True)
        if not cell.total
    )
    return VersionTable(
        target=show(target),
        versions=tuple(map(show, versions)),
        rows=tuple((show(name), cells) for name, cells in rows),
        changes=tuple(_changes(rows, versions, show)),
        silent=silent,
    )


def _cell(case: CaseView, show: Show) -> Cell:
    line: ClassLine | None = next((each for each in case.classes if each.fault_class != "none"), None)
    if line is None:
        return Cell(0, 0, reason=show(case.null_note))
    return Cell(line.bad, line.runs, line.inconclusive, "" if line.runs else show(line.reason))


def _changes(rows: tuple[tuple[str, tuple[Cell, ...]], ...], versions: tuple[str, ...], show: Show) -> list[str]:
    """Return, per dialogue, between which neighbours it changed: cells without a measurement are passed over."""
    pairs: list[tuple[str, int, int, Cell, Cell]] = []
    for name, cells in rows:
        measured = [index for index, cell in enumerate(cells) if cell.total]
        pairs += [(name, a, b, cells[a], cells[b]) for a, b in pairwise(measured)]
    values = holm([fisher_exact(one.bad, one.total, two.bad, two.total) for *_, one, two in pairs])
    return [
        f"{show(name)}: {'better' if two.bad * one.total < one.bad * two.total else 'worse'} from {show(versions[a])} "
        f"({rate(one.bad, one.total)}) to {show(versions[b])} ({rate(two.bad, two.total)}), {spell_p(p)}"
        for (name, a, b, one, two), p in zip(pairs, values, strict=True)
        if p < LEVEL
    ]
