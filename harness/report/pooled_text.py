"""Several systems side by side, in words: as the terminal prints it, and as Markdown."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.proportion import percent, spell_rate
from harness.core.significance import spell_p
from harness.report import escape
from harness.report.pooled import Cell, PooledFinding, PooledResult, PooledRow
from harness.report.terminal import print_table, say

_SHOWN = 12


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    parts = [f"{cell.bad_states:,}/{cell.distinct:,} states"] if cell.distinct else []
    parts += [f"{cell.bad}/{cell.runs} runs"] if cell.runs else []
    return f"{cell.verdict} {', '.join(parts)}".rstrip()


def _pooled(row: PooledRow) -> str:
    if row.pooled is None:
        return "-"
    rate = row.pooled
    text = f"{rate.k}/{rate.n} [{percent(rate.low)}, {percent(rate.high)}]"
    return f"systems differ: {text}" if row.differ else text


def _under(row: PooledRow) -> str:
    if row.fault_class == "none":
        return "no fault"
    return f"power {row.profile}" if row.profile else row.fault_class


def _letters(result: PooledResult) -> list[str]:
    return [chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(len(result.systems))]


def _columns(result: PooledResult) -> list[str]:
    return [
        f"{letter} = {item.name}: {item.verdict}, seed {item.seed}, {item.run_id}"
        for letter, item in zip(_letters(result), result.systems, strict=True)
    ]


def _remarks(result: PooledResult) -> list[str]:
    letter = dict(zip((item.name for item in result.systems), _letters(result), strict=True))
    out = [
        f"{row.writer} under {_under(row)}: {letter[a]} and {letter[b]} differ, {spell_p(p)}"
        for row in result.rows
        for a, b, p in row.differ
    ]
    tests = f"{result.tests} pair{'' if result.tests == 1 else 's'} of systems tested"
    return [
        *out,
        *result.notices,
        f"Pooled: real runs of all systems added up, Wilson 95 %, which takes them to have one rate; {tests} for that "
        f"(Fisher's exact test, Holm, at {result.level:g}). Crash states are enumerated on each system, never added.",
    ]


def _finding(result: PooledResult, item: PooledFinding, show: Callable[[str], str]) -> str:
    letter = dict(zip((each.name for each in result.systems), _letters(result), strict=True))
    where = "all" if len(item.systems) == len(result.systems) else ", ".join(letter[name] for name in item.systems)
    return f"{show(item.summary)} [{'expected' if item.expected else 'UNEXPECTED'}; on {where}]"


def print_pooled(console: Console, result: PooledResult) -> None:
    """Print the systems, the table, the findings that are not on all of them or surprise, and how it was made."""
    plain = escape.plain
    for line in _columns(result):
        say(console, plain(line))
    say(console, "")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("writer", "under", *_letters(result), "pooled runs"):
        table.add_column(name, overflow="fold", header_style="bold")
    before = ""
    for row in result.rows:
        writer = "" if row.writer == before else row.writer
        before = row.writer
        cells = (writer, _under(row), *map(_cell, row.cells), _pooled(row))
        table.add_row(*(Text(plain(text)) for text in cells))
    print_table(console, table)
    told = [item for item in result.findings if not item.expected or len(item.systems) < len(result.systems)]
    if result.findings:
        say(console, "")
    for item in told[:_SHOWN]:
        say(console, _finding(result, item, plain))
    more = len(result.findings) - len(told[:_SHOWN])
    if more:
        say(console, f"{more} more finding{'' if more == 1 else 's'} (--json has all)")
    say(console, "")
    for line in _remarks(result):
        say(console, plain(line))


def pooled_markdown(result: PooledResult) -> str:
    """Return the table as Markdown."""
    show = escape.markdown
    head = ("writer", "under", *_letters(result), "pooled runs")
    out = ["# tornwrite: several systems", "", *(f"- {show(line)}" for line in _columns(result)), ""]
    out += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in result.rows:
        pooled = "-" if row.pooled is None else spell_rate(row.pooled.k, row.pooled.n)
        pooled += " (the systems differ)" if row.differ else ""
        cells = (_under(row), *map(_cell, row.cells), pooled)
        out.append(f"| {' | '.join([escape.code(row.writer), *map(show, cells)])} |")
    out += ["", "## Findings", "", *(f"- {_finding(result, item, show)}" for item in result.findings), ""]
    return "\n".join([*out, *(f"- {show(line)}" for line in _remarks(result))]).rstrip() + "\n"
