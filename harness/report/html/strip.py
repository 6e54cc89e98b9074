"""The crash-point strip as a picture: every operation of a run × before, torn and after, under each fault class.

Shape says what colour says: a full block is violated, a part of one violated in some states, a thin line held, a dot
measured without an answer, nothing has no state. Very long runs share columns, and the worst of a column shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from markupsafe import Markup

from harness.core.fault import Phase
from harness.core.strip import Strip, StripRow
from harness.core.verdict import TrialRow
from harness.report.html.evidence import Recorded

COLUMNS = 240
TITLED = 15
"""Operations on either side of a fault that have a title of their own in the strip of a finding."""
ROW, GAP, TOP = 14, 3, 16
_WIDE, _NARROW, _FULL = 16, 5, 860
_TICK = 24


Counts = tuple[int, int, int]
"""(violated, held, without an answer) at one moment."""


class Line(NamedTuple):
    """One row of the picture: a label and, per operation, what was counted."""

    label: str
    detail: str
    cells: Mapping[int, Counts]


class Picture(NamedTuple):
    """The rows as SVG paths: ``bad``, ``part``, ``held`` and ``open`` are path data; ``columns`` are titled areas."""

    labels: tuple[tuple[str, str], ...]
    width: int
    height: int
    bad: str
    part: str
    held: str
    open: str
    acks: str
    ticks: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, float, str], ...]
    mark: str
    per_column: int
    operations: int
    summary: str


def lines_of(strip: Strip, rows: Iterable[TrialRow], recorded: Recorded | None) -> tuple[Line, ...]:
    """Return the rows of a writer: kill, short, power per profile, then what real runs did at exact places."""
    out: list[Line] = []
    for row in strip.rows:
        label = f"{row.fault_class} {row.profile}".strip()
        if row.fault_class == "kill":
            out += [Line(label, phase, _cells(row, phase)) for phase in ("before", "torn", "after")]
        else:
            out.append(Line(label, "torn" if row.fault_class == "short" else "after", _cells(row, "")))
    if recorded is not None:
        real = _real(rows, recorded)
        out += [Line(name, "real runs", cells) for name, cells in real.items()]
    return tuple(line for line in out if line.cells)


def _cells(row: StripRow, phase: Phase | str) -> dict[int, Counts]:
    """Return the counts per operation; before an operation is after the one before it."""
    out: dict[int, Counts] = {}
    for seq, at, states, violated in ((t.seq, t.phase, t.states, t.violated) for t in row.tallies):
        counts = (violated, states - violated, 0)
        if phase == "before":
            if at == "before":
                out[seq] = counts
            elif at == "after":
                out[seq + 1] = counts
        elif phase in ("", at):
            bad, good, unknown = out.get(seq, (0, 0, 0))
            out[seq] = (bad + counts[0], good + counts[1], unknown)
    return out


def _real(rows: Iterable[TrialRow], recorded: Recorded) -> dict[str, dict[int, Counts]]:
    out: dict[str, dict[int, Counts]] = {}
    for row in rows:
        index = recorded.index_of(row.crash_point) if row.kind in ("exact", "errno", "signal", "control") else None
        in_order = (
            row.fault is not None and row.fault.get("schedule") is not None
        )  # of another order than this one
        if index is None or row.states or row.fault_class == "damage" or in_order:
            continue
        cells = out.setdefault(row.fault_class, {})
        bad, good, unknown = cells.get(index, (0, 0, 0))
        violated, held = row.verdict == "violated", row.verdict == "held"
        cells[index] = (bad + violated, good + held, unknown + (not violated and not held))
    return out


def picture(
    operations: int,
    lines: tuple[Line, ...],
    recorded: Recorded | None,
    mark: int | None = None,
    brief: bool = False,
) -> Picture:
    """Draw the rows. ``mark`` is the operation a fault strikes; a ``brief`` picture has titles only around it."""
    per = -(-operations // COLUMNS) or 1
    columns = -(-operations // per)
    wide = max(_NARROW, min(_WIDE, _FULL // max(1, columns)))
    paths: dict[str, list[str]] = {"bad": [], "part": [], "held": [], "open": []}
    for number, line in enumerate(lines):
        top = TOP + number * (ROW + GAP)
        for column, counts in sorted(_merged(line.cells, per, columns).items()):
            kind, shape = _shape(counts, column * wide, top, wide - 1)
            paths[kind].append(shape)
    height = TOP + len(lines) * (ROW + GAP)
    step = next(size for size in (5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if size / per * wide >= 40)
    around = range(columns) if not brief else ()
    at = None if mark is None else mark // per
    if brief and at is not None:
        around = range(max(0, at - TITLED), min(columns, at + TITLED + 1))
    x = 0.0 if at is None else at * wide + (wide - 1) / 2
    return Picture(
        labels=tuple((line.label, line.detail) for line in lines),
        width=max(columns * wide, 40),
        height=height,
        **{name: Markup("".join(shapes)) for name, shapes in paths.items()},  # numbers only: no stranger's text
        acks=Markup(_acks(recorded, per, wide)),
        ticks=tuple(
            (number / per * wide, f"{number:,}")
            for number in range(0, operations, step)
            if not number or (columns - number / per) * wide > _TICK
        ),
        columns=tuple(
            (column * wide, wide, _title(column, per, operations, lines, recorded)) for column in around
        ),
        mark="" if at is None else f"M{x - 4:g} {TOP - 9}h8l-4 6zM{x:g} {TOP - 4}V{height}",
        per_column=per,
        operations=operations,
        summary=_summary(lines),
    )


def _merged(cells: Mapping[int, Counts], per: int, columns: int) -> Mapping[int, Counts]:
    if per == 1:
        return {index: counts for index, counts in cells.items() if index < columns}
    out: dict[int, Counts] = {}
    for index, counts in cells.items():
        column = min(index // per, columns - 1)
        known = out.get(column, (0, 0, 0))
        out[column] = (known[0] + counts[0], known[1] + counts[1], known[2] + counts[2])
    return out


def _shape(counts: Counts, x: float, top: int, wide: int) -> tuple[str, str]:
    bad, good, _ = counts
    if bad and not good:
        return "bad", f"M{x} {top}h{wide}v{ROW}h-{wide}z"
    if bad:
        high = max(5, round(ROW * 0.75 * bad / (bad + good)))
        return "part", f"M{x} {top + ROW - high}h{wide}v{high}h-{wide}z"
    if good:
        return "held", f"M{x} {top + ROW - 3}h{wide}v2h-{wide}z"
    return "open", f"M{x + wide / 2 - 1:g} {top + ROW - 4}h2v2h-2z"


def _acks(recorded: Recorded | None, per: int, wide: int) -> str:
    if recorded is None:
        return ""
    places = dict.fromkeys(index // per for index, step in enumerate(recorded.steps) if step.kind == "ack")
    return "".join(f"M{place * wide + (wide - 1) / 2:g} {TOP - 5}l2.5 2.5l-2.5 2.5l-2.5 -2.5z" for place in places)


def _title(column: int, per: int, operations: int, lines: tuple[Line, ...], recorded: Recorded | None) -> str:
    first, last = column * per, min(operations, (column + 1) * per) - 1
    head = f"operation {first}" if first == last else f"operations {first}–{last}"
    if recorded is not None and first == last and first < len(recorded.steps):
        step = recorded.steps[first]
        head += f": {step.kind} {step.path.rpartition('/')[2][:60]}".rstrip()
    told = []
    for line in lines:
        counts = [line.cells[index] for index in range(first, last + 1) if index in line.cells]
        bad, every = sum(each[0] for each in counts), sum(each[0] + each[1] for each in counts)
        if bad:
            told.append(f"{line.label} {line.detail}: {bad:,} of {every:,} violated")
    return f"{head} — {'; '.join(told) if told else 'nothing violated'}"


def _summary(lines: tuple[Line, ...]) -> str:
    told = []
    for line in lines:
        bad = sum(counts[0] > 0 for counts in line.cells.values())
        told.append(f"{line.label} {line.detail}: {bad} of {len(line.cells)} operations violated")
    return "; ".join(told)
