"""All trials of a run in a table that stays small: counted by writer, kind and fault class; the telling ones listed."""

from __future__ import annotations

from typing import NamedTuple

from harness.core.verdict import TrialRow
from harness.report.view import RunView

LISTED = 120
_TELLING = {"broken": 0, "violated": 1, "inconclusive": 2, "held": 3}


class Tally(NamedTuple):
    """Trials of one writer, kind and fault class, by verdict; ``states`` judged in them."""

    writer: str
    kind: str
    under: str
    total: int
    held: int
    violated: int
    inconclusive: int
    broken: int
    states: int


class Trials(NamedTuple):
    """The tallies, the trials that are listed, and how many are not."""

    total: int
    tallies: tuple[Tally, ...]
    listed: tuple[TrialRow, ...]
    left_out: int


def trials_of(view: RunView) -> Trials:
    """Return the trials of a run."""
    counts: dict[tuple[str, str, str], list[int]] = {}
    for row in view.rows:
        control = "control: " if row.kind == "control" else ""
        writer = f"{control}{row.target}/{row.variant}" + (f"@{row.version}" if row.version else "")
        key = (writer, row.kind, f"{row.fault_class} {row.profile}".strip())
        count = counts.setdefault(key, [0, 0, 0, 0, 0, 0])
        count[0] += 1
        count[{"held": 1, "violated": 2, "inconclusive": 3, "broken": 4}[row.verdict]] += 1
        count[5] += row.states
    tallies = tuple(Tally(*key, *count) for key, count in counts.items())
    telling = sorted(
        (row for row in view.rows if row.verdict != "held" and row.kind != "control"),
        key=lambda row: _TELLING[row.verdict],
    )
    listed = tuple(telling[:LISTED])
    return Trials(len(view.rows), tallies, listed, len(view.rows) - len(listed))
