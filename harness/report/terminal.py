"""What people see while a campaign runs and when it ends. Progress on a terminal, plain lines elsewhere.

Fits 80 columns; where the output is no terminal, the table is 100 wide, or as wide as COLUMNS says, a sentence is one
line, and there are no escape sequences. Every text
of a target passes :func:`harness.report.escape.plain`; nothing is ever read as rich's markup.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import IO

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted, Notice, PhaseStarted, TrialFinished
from harness.report.causes import Cause, causes
from harness.report.ends import HEAD, NOTE, TITLE, end_tables
from harness.report.escape import plain
from harness.report.sentence import (
    cause_headline,
    control_line,
    counts,
    how_confirmed,
    how_often,
    not_asked,
    replay_command,
    timed_rate,
    verdict_sentence,
)
from harness.report.view import Collector, RunView

_PLAIN_WIDTH = 100
_LEAST_WIDTH = 40
_CAUSES_SHOWN = 8
_NOTICES_SHOWN = 12
_STYLES = {"held": "green", "violated": "red", "inconclusive": "yellow", "broken": "bold red"}


class _PatientConsole(Console):
    """Goes silent when its reader goes away (``| head``): a campaign still has its verdict and its files to write."""

    def on_broken_pipe(self) -> None:
        """Drop what would still be printed."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def console_for(stream: IO[str], width: int | None = None) -> Console:
    """Return a console on ``stream``: colours and its real width on a terminal, plain and 100 wide elsewhere."""
    terminal = stream.isatty()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a name its encoding cannot show must not end the report
    return _PatientConsole(
        file=stream,
        width=width or (None if terminal else _plain_width()),
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
        no_color=None if terminal else True,
    )


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
        elif isinstance(event, Notice):
            self._line(f"  note: {_notice(event)}")

    def _phase(self, event: PhaseStarted) -> None:
        self._planned += event.trials or 1
        name = plain(f"{event.target}/{event.variant}")
        if self._progress is not None:
            planned = max(self._planned, self._done)
            self._progress.update(
                self._progress.task_ids[0], total=planned, description=plain(f"{event.phase} {name}", 40)
            )
        else:
            self._line(f"{event.phase} {name}" + (f", {event.trials} trials" if event.trials else ""))

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
        _say(self._console, text)


class _RateColumn(TextColumn):
    """Trials per second over the last half minute."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def render(self, task: object) -> Text:
        """Return ``12.3/s``, or nothing while there is no rate."""
        speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
        return Text(f"{speed:.1f}/s" if speed else "")


def _say(console: Console, text: str, style: str = "", indent: int = 0, unbroken: bool = False) -> None:
    """Print one paragraph of text that is already safe. ``unbroken`` text (a command) can be copied as one line."""
    if unbroken or not console.is_terminal:
        console.print(Text(" " * indent + text, style=style), soft_wrap=True)
    else:
        console.print(Padding(Text(text, style=style, overflow="fold"), (0, 0, 0, indent)))


def _notice(notice: Notice) -> str:
    return (f"{plain(notice.target)}: " if notice.target else "") + plain(notice.text)


def print_view(console: Console, view: RunView) -> None:
    """Print the end of a campaign: verdicts, findings, controls, rates, what was not measured."""
    _say(console, "")
    _print_table(console, _table(view))
    _findings(console, view)
    _section(console, "Controls", [control_line(c, line, plain) for c in view.controls for line in c.classes])
    _section(
        console,
        "Timed kills",
        [f"{plain(case.name)}: {timed_rate(case)}" for case in view.cases if timed_rate(case)],
    )
    _ends(console, view)
    enumerated, distinct = view.states
    _say(console, "")
    _say(
        console,
        f"{enumerated:,} crash states enumerated, {distinct:,} distinct; {view.inconclusive:,} inconclusive trials",
    )
    notices = [_notice(notice) for notice in view.notices]
    more = len(notices) - _NOTICES_SHOWN
    _section(
        console,
        "Not measured, and other notes",
        [
            *notices[:_NOTICES_SHOWN],
            *([f"… and {more} more in the report"] if more > 0 else []),
            *filter(None, [not_asked(view)]),
        ],
    )
    _say(console, "")
    if view.control_problem:
        _say(console, f"The harness failed its own control: {plain(view.control_problem)}", "bold red")
    _say(console, verdict_sentence(view, plain), _STYLES.get(view.verdict, ""))
    if view.started.directory:
        _say(console, f"Report: {plain(view.started.directory)}/report.md")


def _print_table(console: Console, table: Table) -> None:
    """Print a table; where nobody sees its edges, without the blanks that pad its rows."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)


def _table(view: RunView) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("target", "fault", "verdict", "expected", "measured"):
        table.add_column(name, overflow="fold", header_style="bold", no_wrap=False)
    for case in view.cases:
        if case.null_verdict not in ("held", "violated"):  # a violation has a line of its own
            reason = plain(case.null_note, 120) or "a run without any fault"
            table.add_row(
                Text(plain(case.name)), Text("none"), _verdict(case.null_verdict), Text("-"), Text(reason)
            )
        for line in case.classes:
            mark = " (!)" if line.surprise else ""
            table.add_row(
                Text(plain(case.name)),
                Text(line.fault_class),
                _verdict(line.verdict, mark),
                Text(line.expected or "-"),
                Text(counts(line, plain)),
            )
    return table


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
        _say(console, plain(writer), indent=2)
        _print_table(console, table)


def _verdict(verdict: str, mark: str = "") -> Text:
    return Text(verdict + mark, style=_STYLES.get(verdict, ""))


def _findings(console: Console, view: RunView) -> None:
    found = causes(view.findings)
    for number, cause in enumerate(found[:_CAUSES_SHOWN], 1):
        _say(console, "")
        _cause(console, view, number, cause)
    more = len(found) - _CAUSES_SHOWN
    if more > 0:
        _say(console, "")
        _say(console, f"… and {more} more of this kind in the report")


def _cause(console: Console, view: RunView, number: int, cause: Cause) -> None:
    finding = cause.lead
    label = "expected" if finding.expected else "UNEXPECTED"
    _say(console, f"{number}. {cause_headline(cause, plain)} [{label}]", "bold" if not finding.expected else "")
    detail: list[str] = [plain(finding.message), f"{how_often(view, finding)} {plain(how_confirmed(finding))}"]
    if finding.crash_point is not None:
        detail.append(f"Crash point: {plain(str(finding.crash_point))}")
    for line in detail:
        _say(console, line, indent=3)
    command = replay_command(finding, view)
    if command:
        _say(console, f"Replay: {command}", indent=3, unbroken=True)


def _section(console: Console, title: str, lines: list[str]) -> None:
    if not lines:
        return
    _say(console, "")
    _say(console, title, "bold")
    for line in lines:
        _say(console, line, indent=2)
