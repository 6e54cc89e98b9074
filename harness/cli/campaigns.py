"""What ``run``, ``probe`` and ``demo`` share: a run directory, its subscribers, the campaign, the report's files."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from harness.campaign.plan import MEASURABLE, Options, Plan
from harness.campaign.run import run_campaign
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import DEFAULT_REPORTS, RunStore
from harness.catalog.baseline import load_baseline
from harness.cli.failures import InterruptedRunError, NothingToMeasureError
from harness.cli.output import OutputLostError, print_line
from harness.cli.reports import write_reports
from harness.core.baseline import Known
from harness.core.event import AnyEvent, CampaignFinished
from harness.report.baseline import judge_baseline, with_baseline
from harness.report.json_document import campaign_result, result_document
from harness.report.sentence import reasons
from harness.report.terminal import TerminalReport, console_for, lost_output
from harness.report.view import Collector
from harness.sandbox.workspace import Workspace


class Baseline(NamedTuple):
    """The findings that a project knows, the day that they are judged on, and the file that lists them."""

    known: tuple[Known, ...]
    today: date
    path: str


def today() -> date:
    """Return the day that expiries are held against: UTC, the same on every machine."""
    return datetime.now(UTC).date()


def read_baseline(path: str | None) -> Baseline | None:
    """Return the baseline in a file. Raises :class:`harness.catalog.ManifestError`."""
    return None if path is None else Baseline(load_baseline(path), today(), path)


def options_from(**given: Any) -> Options:
    """Return the options of a campaign from those of a command line; what was not given stays as planned."""
    names = set(Options.__struct_fields__)
    return Options(**{name: value for name, value in given.items() if name in names and value is not None})


def command_line() -> str:
    """Return the command as it was typed, for reports."""
    return shlex.join(["tornwrite", *sys.argv[1:]])


def rehearse(make_plan: Callable[[Workspace], Plan]) -> None:
    """Make the plan once in a workspace of its own: what cannot be planned must leave no run behind.

    Raises what ``make_plan`` raises, and :class:`NothingToMeasureError` where no fault class asked for can be tried.
    """
    with scratch_workspace() as workspace:
        plan = make_plan(workspace)
    if plan.cases and not any(case.faults for case in plan.cases):
        asked = ", ".join(item.what for item in plan.not_measured)
        raise NothingToMeasureError(
            f"no engine of this version can try {asked}; it can try {', '.join(MEASURABLE)}"
        )


def _place(out: str) -> str:
    return "" if out == DEFAULT_REPORTS else f" --out {shlex.quote(out)}"


def _how_to_go_on(name: str, store: RunStore, out: str) -> str:
    """Return what to type after an interrupt."""
    place = _place(out)
    again = f"; to go on: tornwrite run --resume {store.run_id}{place}" if name == "run" else ""
    return f"what it had measured: tornwrite report {store.run_id}{place}{again}"


def campaign(
    name: str,
    store: RunStore,
    make_plan: Callable[[Workspace], Plan],
    options: Options,
    as_json: bool,
    out: str,
    quiet: bool = False,
    known: Baseline | None = None,
) -> tuple[CampaignFinished, Collector]:
    """Carry out a campaign with its subscribers and write its reports, also when it is interrupted.

    ``out`` is where its run is kept, as it was typed; ``known`` the findings that are no failure. Raises
    :class:`InterruptedRunError` after an interrupt, and :class:`OutputLostError` where nobody could read it: then the
    run is whole all the same.
    """
    collector = Collector()
    subscribers: list[Callable[[AnyEvent], None]] = [store.keep, collector]
    console = console_for(sys.stdout)
    terminal = None if as_json or quiet else TerminalReport(console)
    if terminal is not None:
        subscribers.append(terminal)

    def emit(event: AnyEvent) -> None:
        if known is not None and isinstance(event, CampaignFinished):
            collector(event)
            view = collector.view()
            event = with_baseline(event, view, judge_baseline(view, *known))
        for subscriber in subscribers:
            subscriber(event)

    try:
        run_campaign(make_plan, store, options, emit, command_line())
    except KeyboardInterrupt:
        raise InterruptedRunError(_how_to_go_on(name, store, out)) from None
    finally:
        if terminal is not None:
            terminal.close()
        write_reports(store, collector.view(), options.content)
    view = collector.view()
    finished = view.finished
    assert finished is not None
    if as_json:
        print_line(result_document(name, finished.exit_code, campaign_result(view), reasons(view, str)))
    lost = lost_output(console) if terminal is not None else None
    if lost is not None:
        raise OutputLostError(lost, f"the run is whole: tornwrite report {store.run_id}{_place(out)}")
    return finished, collector
