"""What people see while a campaign runs and when it ends. Progress on a terminal, plain lines elsewhere.

The table reads as the answer: does it lose data, how often, why, what helps. It fits 80 columns; where the output is
no terminal it is 100 wide, or as wide as COLUMNS says, a sentence is one line, and there are no escape sequences.
Every text of a target passes :func:`harness.report.escape.plain`; nothing is ever read as rich's markup.
"""

from __future__ import annotations

import io
import os
from typing import IO, cast

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted, PhaseStarted, TrialFinished
from harness.report.advice import REPAIR, repairs
from harness.report.answer import Group, Row, groups, side_by_side, tally
from harness.report.causes import Cause, causes, rank
from harness.report.ends import HEAD, NOTE, TITLE, end_tables
from harness.report.escape import plain
from harness.report.notes import short_notes
from harness.report.patient import PatientStream
from harness.report.remedy import remedy
from harness.report.sentence import (
    baseline_lines,
    cause_headline,
    control_lines,
    how_confirmed,
    how_often,
    replay_command,
    state_in_words,
    timed_rate,
    verdict_sentence,
)
from harness.report.versions import version_tables
from harness.report.view import Collector, RunView

_PLAIN_WIDTH = 100
_LEAST_WIDTH = 40
_CAUSES_SHOWN = 8
_NOTICES_SHOWN = 12
_RATES_SHOWN = 4
_GAP = 2
_HEADINGS = ("writer", "verdict", "under what, how often", "why")
_STYLES = {"held": "green", "violated": "red", "inconclusive": "yellow", "broken": "bold red"}


def console_for(stream: IO[str], width: int | None = None) -> Console:
    """Return a console on ``stream``: colours and its real width on a terminal, plain and 100 wide elsewhere."""
    terminal = stream.isatty()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a name its encoding cannot show must not end the report
    return Console(
        file=cast(IO[str], PatientStream(stream)),
        width=width or (None if terminal else _plain_width()),
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
        no_color=None if terminal else True,
    )


def lost_output(console: Console) -> OSError | None:
    """Return why what was printed did not arrive, where it had a reader; ``None`` if it did."""
    return console.file.failure if isinstance(console.file, PatientStream) else None


def _plain_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return max(_LEAST_WIDTH, int(columns)) if columns.isascii() and columns.isdecimal() else _PLAIN_WIDTH


class TerminalReport:
    """Subscriber. ``quiet`` leaves out what happens while it runs and prints only the end."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._collector = Collector()
        self._quiet = quiet
        self._progress: Progress | None = None
        self._planned = 0
        self._done = 0
        self._told = ""

    def __call__(self, event: AnyEvent) -> None:
        """Take one event."""
        self._collector(event)
        if isinstance(event, CampaignFinished):
            self.close()
            print_view(self._console, self._collector.view())
        elif not self._quiet:
            self._live(event)

    def close(self) -> None:
        """Take the progress line away; also for a campaign that never finished."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _live(self, event: AnyEvent) -> None:
        if isinstance(event, CampaignStarted):
            self._line(f"{plain(event.scenario)}: seed {event.seed}, run {plain(event.run_id)}")
            self._planned = 0
            if self._console.is_terminal:
                self._start_progress()
        elif isinstance(event, PhaseStarted):
            self._phase(event)
        elif isinstance(event, TrialFinished):
            self._done += 1
            if self._progress is not None:
                total = max(self._planned, self._done)
                self._progress.update(self._progress.task_ids[0], completed=self._done, total=total)

    def _phase(self, event: PhaseStarted) -> None:
        self._planned += event.trials or 1
        name = plain(f"{event.target}/{event.variant}")
        if self._progress is not None:
            planned = max(self._planned, self._done)
            self._progress.update(
                self._progress.task_ids[0], total=planned, description=plain(f"{event.phase} {name}", 40)
            )
        elif event.phase != self._told:  # one line per phase: a campaign of twenty writers has twenty of each
            self._told = event.phase
            self._line(f"{event.phase} …")

    def _start_progress(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._progress.add_task("starting", total=None)
        self._progress.start()

    def _line(self, text: str) -> None:
        say(self._console, text)


class _RateColumn(TextColumn):
    """Trials per second over the last half minute."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def render(self, task: object) -> Text:
        """Return ``12.3/s``, or nothing while there is no rate."""
        speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
        return Text(f"{speed:.1f}/s" if speed else "")


def say(console: Console, text: str, style: str = "", indent: int = 0, unbroken: bool = False) -> None:
    """Print one paragraph of text that is already safe. ``unbroken`` text (a command) can be copied as one line."""
    if unbroken or not console.is_terminal:
        console.print(Text(" " * indent + text, style=style), soft_wrap=True)
    else:
        console.print(Padding(Text(text, style=style, overflow="fold"), (0, 0, 0, indent)))


def print_view(console: Console, view: RunView) -> None:
    """Print the end of a campaign: the answer, findings and remedies, controls, rates, what was not measured."""
    told = groups(view, plain)
    widths = _widths([row for group in told for row in group.rows], console.width)
    for number, group in enumerate(told):
        say(console, "")
        _group(console, group, widths, heading=not number)
    _beside(console, view)
    _versions(console, view)
    _findings(console, view)
    _section(console, REPAIR, repairs(view, plain))
    _section(console, "Controls", control_lines(view, plain))
    rates = [f"{plain(case.name)}: {timed_rate(case)}" for case in view.cases if timed_rate(case)]
    if len(rates) <= _RATES_SHOWN:
        _section(console, "Timed kills", rates)
    _ends(console, view)
    enumerated, distinct = view.states
    say(console, "")
    say(
        console,
        f"{enumerated:,} crash states enumerated, {distinct:,} distinct; {view.inconclusive:,} inconclusive trials",
    )
    notices = short_notes(view)
    more = len(notices) - _NOTICES_SHOWN
    last = [f"… and {more} more in the report"] if more > 0 else []
    _section(console, "Not measured, and other notes", [*notices[:_NOTICES_SHOWN], *last])
    say(console, "")
    if len(view.parts) > 1:
        say(console, tally(view))
    if view.control_problem:
        say(console, f"The harness failed its own control: {plain(view.control_problem)}", "bold red")
    if view.baseline is not None:
        say(console, f"Baseline {plain(view.baseline.path)}, on {view.baseline.today} (UTC)", "bold")
        for line in baseline_lines(view, plain):
            say(console, line, indent=2)
        say(console, "")
    say(console, verdict_sentence(view, plain), _STYLES.get(view.verdict, ""))
    if view.started.directory:
        say(console, f"Page: {plain(view.started.directory)}/report.html")
        say(console, f"Report: {plain(view.started.directory)}/report.md")


def print_table(console: Console, table: Table) -> None:
    """Print a table; where nobody sees its edges, without the blanks that pad its rows."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)


def _widths(rows: list[Row], width: int) -> tuple[int, ...]:
    """Return the widths of the columns, the same for all tables; the last two share what the others leave."""
    room = max(_LEAST_WIDTH, width) - _GAP * (len(_HEADINGS) - 1)
    writer = min(max([len(_HEADINGS[0]), *(cell_len(row.writer) for row in rows)]), max(12, room * 32 // 100))
    verdict = min(max([len(_HEADINGS[1]), *(cell_len(_word(row)) for row in rows)]), max(12, room * 14 // 100))
    rest = max(16, room - writer - verdict)
    lines = [cell_len(line) for row in rows for line in row.often.split("\n")]
    often = min(max([len(_HEADINGS[2]), *lines]), rest * 3 // 5)
    return writer, verdict, often, rest - often


def _ends(console: Console, view: RunView) -> None:
    tables = end_tables(view)
    if not tables:
        return
    _section(console, TITLE, list(NOTE))
    for writer, rows in tables:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
        for name in HEAD:
            table.add_column(name, header_style="bold", overflow="fold", min_width=len(name))
        for row in rows:
            table.add_row(*(Text(plain(text)) for text in row))
        say(console, plain(writer), indent=2)
        print_table(console, table)


def _beside(console: Console, view: RunView) -> None:
    """Print what a kill and what a power loss does to each writer, side by side."""
    rows = side_by_side(view, plain)
    if not rows:
        return
    say(console, "")
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False)
    for name in ("writer", "kill", "power loss"):
        table.add_column(name, overflow="fold", header_style="bold")
    for writer, kill, power in rows:
        table.add_row(Text(writer), Text(kill, style=_STYLES.get(kill, "")), Text(power))
    print_table(console, table)


def _versions(console: Console, view: RunView) -> None:
    """Print, per client, a row for each dialogue and a column for each version, and where it changed."""
    for told in version_tables(view, plain):
        say(console, "")
        say(console, f"{told.target}: dialogues that violate, of those that were whole", "bold")
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False)
        for name in ("dialogue", *told.versions):
            table.add_column(name, overflow="fold", header_style="bold")
        for name, cells in told.rows:
            table.add_row(Text(name), *(Text(str(cell), style="red" if cell.bad else "") for cell in cells))
        print_table(console, table)
        for line in (*told.changes, *told.silent):
            _fold(console, line)


def _word(row: Row) -> str:
    return row.verdict + (" (!)" if row.surprise else "")


def _group(console: Console, group: Group, widths: tuple[int, ...], heading: bool) -> None:
    """Print one part: its title, its rows, what helps. The names of the columns stand above the first."""
    if group.title:
        _fold(console, group.title, "bold")
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False, show_header=heading)
    for name, width in zip(_HEADINGS, widths, strict=True):
        table.add_column(name, overflow="fold", header_style="bold", no_wrap=False, width=width)
    for row in group.rows:
        word = Text(_word(row), style=_STYLES.get(row.verdict, ""))
        table.add_row(Text(row.writer), word, Text(row.often), Text(row.why))
    print_table(console, table)
    for line in group.helps:
        _fold(console, f"helps: {line}", "green")


def _fold(console: Console, text: str, style: str = "") -> None:
    """Print a line that belongs to the table: folded at its width everywhere, continued under itself."""
    lines = Text(text, style=style).wrap(console, max(_LEAST_WIDTH, console.width) - _GAP)
    for number, line in enumerate(lines):
        line.rstrip()
        console.print(Text(" " * _GAP if number else "", style=style) + line, soft_wrap=True)


def _chosen(view: RunView, found: tuple[Cause, ...]) -> list[Cause]:
    """Return the causes to show: the first ones, of a campaign of several parts the first of each and what is news."""
    if len(view.parts) < 2:
        return list(found[:_CAUSES_SHOWN])
    part_of = {(case.target, case.variant, case.version): case.part for case in view.cases}
    first: dict[str, Cause] = {}
    # A proven finding under a fault says more than one that needs none: that one is about a discipline.
    for cause in sorted(
        found, key=lambda item: (not item.lead.is_confirmed, item.lead.fault_class == "none", rank(item.lead))
    ):
        lead = cause.lead
        first.setdefault(part_of.get((lead.target, lead.variant, lead.version), ""), cause)
    news = [cause for cause in found if not cause.lead.expected][:_CAUSES_SHOWN]
    return [
        *news,
        *(first[part.name] for part in view.parts if part.name in first and first[part.name] not in news),
    ]


def _findings(console: Console, view: RunView) -> None:
    found = causes(view.findings)
    shown = _chosen(view, found)
    for number, cause in enumerate(shown, 1):
        say(console, "")
        _cause(console, view, number, cause)
    more = len(found) - len(shown)
    if more > 0:
        say(console, "")
        say(console, f"… and {more} more in the report, each with what to do and its token")


def _cause(console: Console, view: RunView, number: int, cause: Cause) -> None:
    finding = cause.lead
    label = view.label(finding)
    say(console, f"{number}. {cause_headline(cause, plain)} [{label}]", "bold" if label == "UNEXPECTED" else "")
    detail: list[str] = [plain(finding.message)]
    detail += filter(None, [state_in_words(finding, plain)])
    detail += [f"{how_often(view, finding)} {plain(how_confirmed(finding))}"]
    detail.append(f"Now: {remedy(finding, plain)}")
    for line in detail:
        say(console, line, indent=3)
    command = replay_command(finding, view)
    if command:
        say(console, f"Replay: {command}", indent=3, unbroken=True)


def _section(console: Console, title: str, lines: list[str]) -> None:
    if not lines:
        return
    say(console, "")
    say(console, title, "bold")
    for line in lines:
        say(console, line, indent=2)
