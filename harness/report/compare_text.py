"""A comparison in words: as the terminal prints it, and as Markdown. Text of targets passes ``show``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.proportion import excluded_rate, percent
from harness.core.significance import LEVEL, spell_p
from harness.report import escape
from harness.report.compare import ClassChange, Comparison, FindingChange, Side
from harness.report.terminal import print_table, say
from harness.report.view import Rate

_SHOWN = 12
_STYLES = {"worse": "red", "undecided": "yellow", "fixed": "green", "better": "green", "unchanged": "green"}
_MARKS = {"new": "red", "worse": "red", "gone": "green", "better": "green"}
_QUIET = ("unchanged",)


def _spell_runs(rate: Rate) -> str:
    if not rate.k:
        return f"0/{rate.n} runs (<{percent(excluded_rate(rate.n))} %)"
    return f"{rate.k}/{rate.n} runs [{percent(rate.low)}, {percent(rate.high)}]"


def _side(side: Side | None) -> str:
    """Return what one run measured, in the width of a column."""
    if side is None:
        return "not tried"
    if side.verdict in ("inconclusive", "broken"):
        return side.verdict
    parts = [f"{side.bad_states:,}/{side.distinct:,} states"] if side.distinct else []
    parts += [_spell_runs(side.runs)] if side.runs is not None else []
    return f"{side.verdict} {', '.join(parts)}".rstrip()


def _p(change: ClassChange) -> str:
    if change.difference.startswith("not measured") or change.p_holm is None:
        return change.difference
    if change.difference in ("lower in B", "higher in B") and change.p_holm >= LEVEL:
        # Not by how many of the runs: by states and planned runs, which need no test.
        return f"{change.difference}, by what is enumerated; runs {spell_p(change.p_holm)}"
    return f"{change.difference}, {spell_p(change.p_holm)}"


def _under(change: ClassChange) -> str:
    if change.fault_class == "none":
        return "no fault"
    return f"power {change.profile}" if change.profile else change.fault_class


def _writer(change: ClassChange) -> str:
    if change.writer_a and change.writer_b and change.writer_a != change.writer_b:
        return f"{change.writer_a} (A), {change.writer_b} (B)"
    return change.writer_a or change.writer_b


def method(comparison: Comparison) -> str:
    """Return how the numbers were made, in a sentence or two."""
    tests = comparison.tests
    return (
        f"{tests} test{'' if tests == 1 else 's'}: Fisher's exact test, two-sided, runs taken as unpaired; p after "
        f"Holm's correction, at {comparison.level:g}. Intervals: Wilson, 95 %. States, and runs under errno, short, "
        "damage and power, are enumerated, not drawn: a difference there is one without a test."
    )


def _finding_line(change: FindingChange, show: Callable[[str], str]) -> str:
    text = f"{change.status}: {show(change.summary)}" + (" [expected]" if change.expected else "")
    return text + (f" ({show(change.note)})" if change.note else "")


def _by_writer(comparison: Comparison) -> dict[str, list[ClassChange]]:
    grouped: dict[str, list[ClassChange]] = {}
    for change in comparison.classes:
        grouped.setdefault(_writer(change), []).append(change)
    return grouped


def _told(comparison: Comparison) -> tuple[list[FindingChange], int]:
    """Return the findings that differ, and how many do not."""
    told = [item for item in comparison.findings if item.status not in _QUIET]
    return told, len(comparison.findings) - len(told)


def _remarks(comparison: Comparison, show: Callable[[str], str]) -> list[str]:
    """Return how writers were matched and what could not be compared."""
    out = [f"Compared although their names differ: {show(pair)}." for pair in comparison.matched]
    return out + [f"Not compared: {show(line)}." for line in comparison.undecided]


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print a comparison: the classes of each writer, the findings that differ, the answer."""
    plain = escape.plain
    say(console, f"A {plain(comparison.run_a)}")
    say(console, f"B {plain(comparison.run_b)}")
    for writer, changes in _by_writer(comparison).items():
        say(console, "")
        say(console, plain(writer), "bold")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        for name in ("under", "A", "B", "difference"):
            table.add_column(name, overflow="fold", header_style="bold")
        for change in changes:
            style = {"higher in B": "red", "lower in B": "green"}.get(change.difference, "")
            cells = (_under(change), _side(change.a), _side(change.b))
            table.add_row(*(Text(plain(text)) for text in cells), Text(_p(change), style=style))
        print_table(console, table)
    told, same = _told(comparison)
    if comparison.findings:
        say(console, "")
    for item in told[:_SHOWN]:
        say(console, _finding_line(item, plain), _MARKS.get(item.status, ""))
    if len(told) > _SHOWN:
        say(console, f"… and {len(told) - _SHOWN} more (--json has all)")
    if same:
        say(console, f"{same} finding{'' if same == 1 else 's'} in both, unchanged")
    say(console, "")
    for line in (*_remarks(comparison, plain)[:_SHOWN], method(comparison)):
        say(console, line)
    say(console, plain(comparison.sentence), _STYLES.get(comparison.answer, ""))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown."""
    show = escape.markdown
    out = [f"# tornwrite compare: {comparison.answer}", "", show(comparison.sentence), ""]
    out += [f"- A: {escape.code(comparison.run_a)}", f"- B: {escape.code(comparison.run_b)}", ""]
    for writer, changes in _by_writer(comparison).items():
        out += [f"## {show(writer)}", "", _row(("under", "A", "B", "difference")), _row(("---",) * 4)]
        out += [_row([show(x) for x in (_under(c), _side(c.a), _side(c.b), _p(c))]) for c in changes]
        out.append("")
    told, same = _told(comparison)
    if told or same:
        out += ["## Findings", ""]
        out += [f"- {_finding_line(item, show)} {escape.code(item.fingerprint)}" for item in told]
        out += [f"- {same} in both, unchanged"] if same else []
        out.append("")
    out += [f"- {line}" for line in _remarks(comparison, show)]
    return "\n".join([*out, "", show(method(comparison))]).rstrip() + "\n"
