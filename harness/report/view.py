"""What a report shows: the events of a campaign, collected and put in order. The one input of every renderer.

The verdict of each variant under each fault class comes from the campaign's summary; of a campaign that was
interrupted before it had one, it is worked out from the rows and marked so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.core.advice import Advice
from harness.core.baseline import BaselineResult
from harness.core.drift import IndexFigures
from harness.core.event import (
    AnyEvent,
    CampaignFinished,
    CampaignStarted,
    FindingConfirmed,
    Notice,
    TrialFinished,
)
from harness.core.fault import FaultClass
from harness.core.json_record import RecordError, convert_record
from harness.core.prediction import Prediction
from harness.core.proportion import excluded_rate, wild_rate, wilson
from harness.core.verdict import Finding, TrialRow, Verdict, worst


class ClassLine(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under one fault class, and of a power loss under one ``profile``.

    ``bad`` of ``runs`` measured executions violated an invariant, and ``bad_states`` of ``distinct`` crash states, and
    ``bad_orders`` of ``orders`` executions in an order that was searched for: no rate, for nobody drew them;
    ``coverage`` says how far these were sampled and not exhausted.
    """

    fault_class: FaultClass
    verdict: Verdict
    expected: Verdict | str = ""
    states: int = 0
    distinct: int = 0
    bad_states: int = 0
    runs: int = 0
    bad: int = 0
    orders: int = 0
    bad_orders: int = 0
    inconclusive: int = 0
    findings: tuple[str, ...] = ()
    reason: str = ""
    profile: str = ""
    coverage: str = ""
    not_measured: Mapping[str, str] = {}
    """The invariants that nothing measured here, with reasons."""
    cut: int | None = None
    """How much of what was planned the budget left undone; ``None`` where a run of an older version does not say."""

    @property
    def under(self) -> str:
        """The class, with the profile of a power loss: ``power on ext4``."""
        return f"{self.fault_class} on {self.profile}" if self.profile else self.fault_class

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one that the manifest states; true where it states none."""
        return not self.expected or self.verdict == self.expected

    @property
    def surprise(self) -> bool:
        """Whether something was measured and it is not what the manifest states."""
        return self.verdict in ("held", "violated") and not self.as_expected


class TimedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Where timed kills were aimed, and how long an undisturbed run takes (microseconds).

    ``prediction``: how many of the kills do damage, from exact verdicts and timed plain runs; none where nobody asked.
    """

    start_us: int
    end_us: int
    run_us: int
    prediction: Prediction | None = None


class CaseView(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: its classes, its run without a fault, its timed kills, what its lives did to its indexes.

    ``advice`` is what would keep a power loss from violating it.
    ``part`` is the scenario that asked for it, ``story`` what it does, in a sentence;
    ``dialogue`` names the one that a client held, ``steps`` what was done in each life of it,
    ``asked`` what its rows ask of a client.
    """

    id: str
    target: str
    variant: str
    version: str = ""
    control: str = ""
    classes: tuple[ClassLine, ...] = ()
    null_verdict: Verdict = "inconclusive"
    null_note: str = ""
    timed_runs: int = 0
    timed_bad: int = 0
    timed_inconclusive: int = 0
    timed_window: TimedWindow | None = None
    index: IndexFigures | None = None
    advice: Advice | None = None
    part: str = ""
    story: str = ""
    dialogue: str = ""
    steps: tuple[str, ...] = ()
    asked: dict[str, str] = {}
    faults: tuple[FaultClass, ...] = ()
    invariants: tuple[str, ...] = ()
    """Those that it was judged by; empty where a run of an older version does not say."""

    @property
    def name(self) -> str:
        """``target/variant@version``."""
        return f"{self.target}/{self.variant}" + (f"@{self.version}" if self.version else "")


class PartView(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario of the campaign: what it asks, and the report that it answers to."""

    name: str
    story: str = ""
    seed_story: str = ""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A count as a rate with its 95 % interval; at zero, the rate that it excludes."""

    k: int
    n: int
    rate: float | None = None
    low: float = 0.0
    high: float = 1.0
    excluded: float | None = None
    wild: float | None = None
    window_ms: float | None = None
    run_ms: float | None = None
    predicted: Prediction | None = None
    """The rate that the exact verdicts lead one to expect, from how long plain runs stand where a kill does damage."""


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A whole campaign as collected. ``finished`` is ``None`` for one that was interrupted."""

    started: CampaignStarted
    cases: tuple[CaseView, ...] = ()
    controls: tuple[CaseView, ...] = ()
    findings: tuple[Finding, ...] = ()
    control_findings: tuple[Finding, ...] = ()
    notices: tuple[Notice, ...] = ()
    rows: tuple[TrialRow, ...] = ()
    finished: CampaignFinished | None = None
    control_problem: str = ""
    parts: tuple[PartView, ...] = ()
    baseline: BaselineResult | None = None

    def label(self, finding: Finding) -> str:
        """Return how a finding stands: expected by the manifest, known to the baseline, or neither."""
        if finding.expected:
            return "expected"
        return "known" if self.baseline is not None and finding.key in self.baseline.covered else "UNEXPECTED"

    @property
    def verdict(self) -> Verdict:
        """The campaign's verdict; *inconclusive* while it has none."""
        return self.finished.verdict if self.finished else "inconclusive"

    @property
    def states(self) -> tuple[int, int]:
        """Crash states of the cases (controls apart): enumerated, distinct."""
        lines = [line for case in self.cases for line in case.classes]
        return sum(line.states for line in lines), sum(line.distinct for line in lines)

    @property
    def inconclusive(self) -> int:
        """Trials of the cases that ended without a measurement."""
        return sum(line.inconclusive for case in self.cases for line in case.classes)


def rate_of(case: CaseView) -> Rate | None:
    """Return the rate of a case's timed kills, or ``None`` if it had none."""
    n, k, window = case.timed_runs, case.timed_bad, case.timed_window
    if n == 0:
        return None
    low, high = wilson(k, n)
    excluded = excluded_rate(n) if k == 0 else None
    out = Rate(k=k, n=n, rate=k / n, low=low, high=high, excluded=excluded)
    if window is None or window.run_us <= 0:
        return out
    window_ms, run_ms = (window.end_us - window.start_us) / 1000, window.run_us / 1000
    wild = wild_rate(k / n, window_ms, run_ms) if window_ms >= 0 else None
    return msgspec.structs.replace(out, wild=wild, window_ms=window_ms, run_ms=run_ms, predicted=window.prediction)


class Collector:
    """Subscriber that keeps what reports need; :meth:`view` may be asked at any time."""

    def __init__(self) -> None:
        self._started = CampaignStarted(run_id="", scenario="", targets=(), seed=0, directory="", planned_trials=0)
        self._rows: dict[str, TrialRow] = {}
        self._findings: dict[str, Finding] = {}
        self._notices: dict[tuple[str, str], Notice] = {}
        self._finished: CampaignFinished | None = None

    def __call__(self, event: AnyEvent) -> None:
        """Take one event."""
        if isinstance(event, CampaignStarted):
            self._started = event
        elif isinstance(event, TrialFinished):
            self._rows[event.row.trial_id] = event.row
        elif isinstance(event, FindingConfirmed):
            self._findings[event.finding.key] = event.finding
        elif isinstance(event, Notice):
            self._notices[event.target, event.text] = event
        elif isinstance(event, CampaignFinished):
            self._finished = event

    def view(self) -> RunView:
        """Return what was collected so far."""
        rows = tuple(self._rows.values())
        cases = _cases(self._finished, rows)
        findings = sorted(self._findings.values(), key=_order)
        summary = self._finished.summary if self._finished else {}
        return RunView(
            started=self._started,
            cases=tuple(case for case in cases if not case.control),
            controls=tuple(case for case in cases if case.control),
            findings=tuple(item for item in findings if not item.control),
            control_findings=tuple(item for item in findings if item.control),
            notices=tuple(self._notices.values()),
            rows=rows,
            finished=self._finished,
            control_problem=str(summary.get("control_problem", "")),
            parts=_parts(summary),
            baseline=_baseline(summary),
        )


def collect(events: Iterable[AnyEvent]) -> RunView:
    """Return the view of these events."""
    collector = Collector()
    for event in events:
        collector(event)
    return collector.view()


def _order(finding: Finding) -> tuple[bool, bool, str, str, str, str]:
    """Unexpected first, then the proven ones, then by name."""
    return (
        finding.expected,
        not finding.is_confirmed,
        finding.target,
        finding.variant,
        finding.version,
        finding.fingerprint,
    )


def _parts(summary: dict[str, Any]) -> tuple[PartView, ...]:
    try:
        return tuple(convert_record(summary.get("parts", []), tuple[PartView, ...]))
    except RecordError:
        return ()  # of another version: the cases are told without headings


def _baseline(summary: dict[str, Any]) -> BaselineResult | None:
    try:
        found: BaselineResult | None = convert_record(summary.get("baseline"), BaselineResult | None)
    except RecordError:
        return None
    return found


def _cases(finished: CampaignFinished | None, rows: tuple[TrialRow, ...]) -> list[CaseView]:
    described: Any = finished.summary.get("cases") if finished else None
    if described:
        try:
            return list(convert_record(described, tuple[CaseView, ...]))
        except RecordError:
            pass  # a summary of another version: the rows say enough
    return _cases_of_rows(rows)


def _cases_of_rows(rows: tuple[TrialRow, ...]) -> list[CaseView]:
    grouped: dict[tuple[str, str, str, bool], list[TrialRow]] = {}
    for row in rows:
        control = row.kind in ("control", "canary") or row.trial_id.startswith("control:")
        grouped.setdefault((row.target, row.variant, row.version, control), []).append(row)
    return [_case_of_rows(*key, mine) for key, mine in grouped.items()]


def _case_of_rows(target: str, variant: str, version: str, control: bool, rows: list[TrialRow]) -> CaseView:
    classes: dict[tuple[FaultClass, str], list[TrialRow]] = {}
    for row in rows:
        if row.kind != "null" and row.fault_class != "none":
            classes.setdefault((row.fault_class, row.profile), []).append(row)
    null = next((row for row in rows if row.kind == "null"), None)
    timed = [row for row in rows if row.kind == "timed" and row.fault_class == "kill"]
    lines = [_class_of_rows(*key, mine) for key, mine in classes.items()]
    if null is not None and null.verdict == "violated":
        lines.insert(0, ClassLine(fault_class="none", verdict="violated", runs=1, bad=1, findings=null.findings))
    return CaseView(
        id=("control:" if control else "") + f"{target}/{variant}" + (f"@{version}" if version else ""),
        target=target,
        variant=variant,
        version=version,
        control="control" if control else "",
        classes=tuple(lines),
        null_verdict=null.verdict if null else "inconclusive",
        null_note=null.note if null else "",
        timed_runs=sum(row.verdict in ("held", "violated") for row in timed),
        timed_bad=sum(row.verdict == "violated" for row in timed),
        timed_inconclusive=sum(row.verdict == "inconclusive" for row in timed),
    )


def _class_of_rows(name: FaultClass, profile: str, rows: list[TrialRow]) -> ClassLine:
    runs = [row for row in rows if not row.states and row.kind != "exact"]
    measured = [row.verdict for row in rows if row.verdict != "inconclusive"]
    return ClassLine(
        fault_class=name,
        profile=profile,
        verdict=worst(measured),
        expected=next((row.expected for row in rows if row.expected), ""),
        states=sum(row.states for row in rows),
        distinct=sum(row.distinct for row in rows),
        bad_states=sum(row.bad_states for row in rows),
        runs=sum(row.verdict != "inconclusive" for row in runs),
        bad=sum(row.verdict == "violated" for row in runs),
        inconclusive=sum(row.verdict == "inconclusive" for row in runs),
        findings=tuple(dict.fromkeys(name for row in rows for name in row.findings)),
        reason="interrupted before a verdict",
    )
