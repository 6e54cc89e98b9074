"""The head table: one row per writer, one column per fault class, each cell a verdict with its counts and intervals."""

from __future__ import annotations

from typing import NamedTuple

from harness.core.fault import FAULT_CLASSES
from harness.core.proportion import spell_rate, wilson
from harness.core.verdict import Verdict
from harness.report.answer import rate
from harness.report.power import classes_in_words
from harness.report.view import CaseView, ClassLine, RunView

GLYPHS = {"held": "✓", "violated": "✕", "inconclusive": "?", "broken": "!"}
_ORDER: tuple[Verdict, ...] = ("broken", "violated", "inconclusive", "held")


class Whisker(NamedTuple):
    """A rate and its interval on a line of a hundred units."""

    low: float
    high: float
    at: float


class Part(NamedTuple):
    """One verdict of a cell: under which profiles, how many states and runs; ``surprise``: not what was expected."""

    verdict: Verdict
    surprise: bool
    under: str
    states: str
    runs: str
    spelt: str
    whisker: Whisker | None
    reason: str


class WriterRow(NamedTuple):
    """A writer: its name, its story, and a cell per column; an empty cell was not asked for."""

    case: CaseView
    part: str
    cells: tuple[tuple[Part, ...], ...]


class Matrix(NamedTuple):
    """The columns that any writer was tried under, and the writers."""

    columns: tuple[str, ...]
    rows: tuple[WriterRow, ...]


def matrix(view: RunView) -> Matrix:
    """Return the table of the cases of a campaign."""
    tried = {line.fault_class for case in view.cases for line in case.classes}
    columns = [name for name in ("none", *FAULT_CLASSES) if name in tried]
    titles = {part.name: " ".join(filter(None, (part.seed_story, part.name))) for part in view.parts}
    rows = [
        WriterRow(case, titles.get(case.part, ""), tuple(_cell(case, name) for name in columns))
        for case in view.cases
    ]
    return Matrix(tuple("no fault" if name == "none" else name for name in columns), tuple(rows))


def _cell(case: CaseView, name: str) -> tuple[Part, ...]:
    lines = [line for line in case.classes if line.fault_class == name]
    if name == "none" and not lines and case.null_verdict == "held":
        lines = [ClassLine(fault_class="none", verdict="held", runs=1)]
    out = []
    for verdict in _ORDER:
        for surprise in (True, False):
            mine = [line for line in lines if line.verdict == verdict and line.surprise == surprise]
            if mine:
                out.append(_part(case, mine, len(lines)))
    return tuple(out)


def _part(case: CaseView, lines: list[ClassLine], of: int) -> Part:
    """Return lines of one verdict as one: of several profiles the numbers of the worst."""
    worst = max(lines, key=lambda line: (line.bad_states, line.distinct))
    under = ""
    if worst.profile:
        (words,) = classes_in_words(case, lines) if of > 1 else (worst.profile,)
        under = words.removeprefix("power").strip() or f"all {of} profiles"
    upto = "up to " if len(lines) > 1 and worst.bad_states else ""
    runs, bad = sum(line.runs for line in lines), sum(line.bad for line in lines)
    counted = runs and not (worst.fault_class == "none" and runs == 1)
    return Part(
        verdict=worst.verdict,
        surprise=worst.surprise,
        under=under,
        states=f"{upto}{worst.bad_states:,}/{worst.distinct:,} states" if worst.distinct else "",
        runs=f"{rate(bad, runs)} runs" if counted else "",
        spelt=spell_rate(bad, runs) if counted else "",
        whisker=whisker(bad, runs) if counted else None,
        reason=worst.reason if worst.verdict in ("inconclusive", "broken") else "",
    )


def whisker(bad: int, runs: int) -> Whisker:
    """Return the Wilson interval of a rate as a picture of it."""
    low, high = wilson(bad, runs)
    return Whisker(round(100 * low, 1), round(100 * high, 1), round(100 * bad / runs, 1))
