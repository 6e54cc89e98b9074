"""The shards of one run added up: the events of each go in, those of the one run come out. Pure.

Shards belong together when plan, seed and number of shards agree. Counts add up, for no trial is in two shards. What
every shard does for itself counts once: the run without a fault (of the shard that judged it) and the controls (of the
first shard; one that failed in any makes the whole broken). The crash point, the confirmation and the token of a
finding are those of its first trial in the plan, as in one run.

What is missing is said, and nothing holds then; a shard that is there twice is a :class:`MergeError`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from harness.campaign.aggregate import (
    EXIT_AS_EXPECTED,
    EXIT_BROKEN,
    EXIT_INCONCLUSIVE,
    CaseResult,
    ClassResult,
    join_timed,
    never_measured,
    summary,
    verdict_of,
)
from harness.campaign.context import case_id
from harness.campaign.sharding import ELSEWHERE
from harness.core.event import (
    AnyEvent,
    CampaignFinished,
    CampaignStarted,
    FindingConfirmed,
    Notice,
    TrialFinished,
)
from harness.core.fault import FAULT_CLASSES, FaultClass
from harness.core.json_record import RecordError, convert_record
from harness.core.shard import Shard
from harness.core.verdict import Finding, TrialRow, Verdict, worst

_PHASES = (
    *("null", "canary", "state", "check", "recover", "damage", "sync", "errno", "timed", "signal"),
    *("after_ack", "schedule", "life"),
)
"""The phases of a case in the order of a plan."""
_OF_CASE = ("timed_window", "advice", "index")
"""What the summary says of a case beside its classes; one shard at most has each."""
_NOTHING_MEASURED = "not measured"


class MergeError(ValueError):
    """Runs that cannot be added up; one line that says why."""


class _Part(NamedTuple):
    """One shard, as it was stored."""

    started: CampaignStarted
    notices: tuple[Notice, ...]
    rows: tuple[TrialRow, ...]
    findings: tuple[Finding, ...]
    finished: CampaignFinished | None
    cases: tuple[CaseResult, ...]

    @property
    def summary(self) -> Mapping[str, Any]:
        return self.finished.summary if self.finished is not None else {}


def _part(events: Iterable[AnyEvent]) -> _Part:
    events = list(events)
    started = next(event for event in events if isinstance(event, CampaignStarted))
    finished = next((event for event in events if isinstance(event, CampaignFinished)), None)
    try:
        described = finished.summary.get("cases", []) if finished is not None else []
        cases: tuple[CaseResult, ...] = convert_record(described, tuple[CaseResult, ...])
    except RecordError as error:
        raise MergeError(f"{started.run_id}: not a run that this version can add up: {error}") from None
    return _Part(
        started=started,
        notices=tuple(event for event in events if isinstance(event, Notice)),
        rows=tuple(event.row for event in events if isinstance(event, TrialFinished)),
        findings=tuple(event.finding for event in events if isinstance(event, FindingConfirmed)),
        finished=finished,
        cases=cases,
    )


def merge_shards(shards: Sequence[Iterable[AnyEvent]]) -> list[AnyEvent]:
    """Return the events of the run whose shards these are. Raises :class:`MergeError`."""
    parts = sorted((_part(events) for events in shards), key=lambda part: part.started.shard.number)
    first = parts[0].started
    for part in parts[1:]:
        if (part.started.plan, part.started.seed, part.started.shard.of) != (
            *(first.plan, first.seed),
            first.shard.of,
        ):
            raise MergeError(f"{first.run_id} and {part.started.run_id} are not shards of one run")
    numbers = [part.started.shard.number for part in parts]
    for one, two in itertools.pairwise(parts):
        if one.started.shard == two.started.shard:
            ids = f"{one.started.run_id} and {two.started.run_id}"
            raise MergeError(f"shard {one.started.shard} is there twice: {ids}; leave one out")
    missing = {
        f"shard {Shard(n, first.shard.of)}": "missing" for n in range(1, first.shard.of + 1) if n not in numbers
    }
    missing |= {
        f"shard {part.started.shard}": f"interrupted ({part.started.run_id}), and not in the sums"
        for part in parts
        if part.finished is None
    }
    parts = [part for part in parts if part.finished is not None] or parts
    return list(_events(parts, missing))


def _events(parts: Sequence[_Part], missing: Mapping[str, str]) -> Iterator[AnyEvent]:
    rows = _rows(parts)
    findings = _findings(parts)
    results = _results(parts, rows)
    yield _started(parts, missing)
    notices = {(item.target, item.text): item for part in parts for item in part.notices}
    yield from (Notice(text=f"{name}: {why}") for name, why in missing.items())
    yield from notices.values()
    yield from (TrialFinished(row=row) for row in rows.values())
    yield from (FindingConfirmed(finding=finding) for finding in findings.values())
    yield _finished(parts, results, findings, missing)


def _started(parts: Sequence[_Part], missing: Mapping[str, str]) -> CampaignStarted:
    first = parts[0].started
    merged = [f"{part.started.shard} {part.started.run_id}" for part in parts]
    return msgspec.structs.replace(
        first,
        run_id="+".join(part.started.run_id for part in parts),
        directory="",
        shard=Shard(),
        planned_trials=first.planned_trials,
        environment={
            **first.environment,
            "shards": merged,
            **({"shards_missing": [f"{name}: {why}" for name, why in missing.items()]} if missing else {}),
        },
    )


def _finished(
    parts: Sequence[_Part],
    results: Sequence[CaseResult],
    findings: Mapping[str, Finding],
    missing: Mapping[str, str],
) -> CampaignFinished:
    first = parts[0].summary
    asked = dict(first.get("not_measured", {}))
    never = {**asked, **never_measured(results, first.get("requested", ()))}
    verdict, code = verdict_of(results, missing=bool(never))
    if missing and verdict == "held":
        verdict = "inconclusive"
    if missing and code == EXIT_AS_EXPECTED:
        code = EXIT_INCONCLUSIVE
    trouble = [
        f"shard {part.started.shard}: {problem}"
        for part in parts
        if (problem := str(part.summary.get("control_problem", "")))
    ]
    if trouble:
        verdict, code = "broken", EXIT_BROKEN
    required = first.get("required", [])
    if code == EXIT_AS_EXPECTED and required:
        code = EXIT_INCONCLUSIVE
    data = summary(results, findings.values())
    for entry in data["cases"]:
        for part in parts:
            for told in part.summary.get("cases", ()):
                if told.get("id") == entry["id"]:
                    entry |= {name: told[name] for name in _OF_CASE if name in told and name not in entry}
    never |= missing
    data |= {
        "control_problem": "; ".join(trouble),
        "never_measured": never,
        "requested": list(first.get("requested", ())),
        "parts": first.get("parts", []),
        "required": required,
    }
    return CampaignFinished(verdict=verdict, exit_code=code, summary=data)


# -- rows and findings ---------------------------------------------------------------------------------------------


def _rows(parts: Sequence[_Part]) -> dict[str, TrialRow]:
    """Return every row once. Of the runs without a fault, those that were judged."""
    rows: dict[str, TrialRow] = {}
    for part in parts:
        for row in part.rows:
            known = rows.get(row.trial_id)
            if known is None or (known.note == ELSEWHERE and row.note != ELSEWHERE):
                rows[row.trial_id] = row
            elif not (_is_control(row) or row.kind in ("null", "exact")):
                raise MergeError(f"the trial {row.trial_id[:80]!r} is in two shards: they are not of one run")
    return rows


def _is_control(row: TrialRow) -> bool:
    return row.trial_id.startswith("control:")


def _place(finding: Finding) -> tuple[int, tuple[int, ...]]:
    """Return where in the plan of its case a finding was first seen."""
    path = str(finding.evidence.get("trial", "")).removeprefix(f"{case_id(finding)}/")
    phase, _, rest = path.partition("/")
    if rest.startswith("damage/"):
        phase = "damage"
    order = _PHASES.index(phase) if phase in _PHASES else len(_PHASES)
    return order, tuple(int(digits) for digits in re.findall(r"[0-9]{1,9}", rest))


def _findings(parts: Sequence[_Part]) -> dict[str, Finding]:
    """Return the findings of the whole run by key: counts added, the rest as the first trial in the plan showed it."""
    seen: dict[str, list[Finding]] = {}
    for number, part in enumerate(parts):
        for finding in part.findings:
            if not finding.control or not number:
                seen.setdefault(finding.key, []).append(finding)
    merged = {key: _added(same) for key, same in seen.items()}
    damages: dict[str, set[str]] = {}
    for part in parts:
        for key, kinds in part.summary.get("damages", {}).items():
            damages.setdefault(key, set()).update(kinds)
    for key, home in join_timed(merged, damages).items():
        runs = merged.pop(key).runs
        merged[home] = msgspec.structs.replace(merged[home], runs=merged[home].runs + runs)
    return merged


def _added(same: Sequence[Finding]) -> Finding:
    first = min(same, key=_place)
    proven = first.confirmation
    if not proven.attempts:
        proven = next((item.confirmation for item in same if item.confirmation.attempts), proven)
    added: Finding = msgspec.structs.replace(
        first,
        states=sum(item.states for item in same),
        runs=sum(item.runs for item in same),
        confirmation=proven,
        token=first.token or next((item.token for item in same if item.token), ""),
    )
    return added


# -- results -------------------------------------------------------------------------------------------------------


def _results(parts: Sequence[_Part], rows: Mapping[str, TrialRow]) -> list[CaseResult]:
    same: dict[str, list[CaseResult]] = {}
    for number, part in enumerate(parts):
        for case in part.cases:
            if not case.control or not number:
                same.setdefault(case.id, []).append(case)
    expected: dict[tuple[str, FaultClass, str], Verdict] = {}
    for row in rows.values():
        if row.expected:
            expected.setdefault((_case_of(row), row.fault_class, row.profile), row.expected)
    merged = [cases[0] if cases[0].control else _case(cases, rows, expected) for cases in same.values()]
    return sorted(merged, key=lambda case: bool(case.control))


def _case_of(row: TrialRow) -> str:
    return f"{row.target}/{row.variant}" + (f"@{row.version}" if row.version else "")


def _case(
    cases: Sequence[CaseResult],
    rows: Mapping[str, TrialRow],
    expected: Mapping[tuple[str, FaultClass, str], Verdict],
) -> CaseResult:
    """Return one case of the whole run."""
    first = cases[0]
    lines: dict[tuple[FaultClass, str], list[ClassResult]] = {}
    for case in cases:
        for item in case.classes:
            lines.setdefault((item.fault_class, item.profile), []).append(item)
    order = ["none", *first.faults, *FAULT_CLASSES]
    for name in first.faults:
        if not any(key[0] == name for key in lines):  # no shard had anything to do there
            nothing = ClassResult(
                fault_class=name, verdict="inconclusive", expected="held", reason=_NOTHING_MEASURED
            )
            lines[name, ""] = [nothing]
    classes = [_line(lines[key]) for key in sorted(lines, key=lambda key: order.index(key[0]))]
    classes = [
        item
        if item.fault_class == "none"  # one shard alone judges what needs no fault
        else msgspec.structs.replace(
            item, expected=expected.get((first.id, item.fault_class, item.profile), item.expected)
        )
        for item in classes
    ]
    null = rows.get(f"{first.id}/null")
    merged: CaseResult = msgspec.structs.replace(
        first,
        classes=tuple(classes),
        null_verdict=null.verdict if null is not None else "inconclusive",
        null_note=null.note if null is not None else "not run",
        timed_runs=sum(case.timed_runs for case in cases),
        timed_bad=sum(case.timed_bad for case in cases),
        timed_inconclusive=sum(case.timed_inconclusive for case in cases),
    )
    return merged


def _line(same: Sequence[ClassResult]) -> ClassResult:
    """Return one class of the whole run. What a part could not judge is not held, whatever the other parts say."""
    measured = [item for item in same if item.verdict != "inconclusive"]
    verdict = worst(item.verdict for item in measured)
    unmeasured = [item for item in same if item.verdict == "inconclusive"]
    # A part whose few trials all ended without a measurement leaves none out: they are counted as such.
    left = [
        item for item in unmeasured if not (measured and item.inconclusive and item.reason == _NOTHING_MEASURED)
    ]
    if left and verdict == "held":
        verdict = "inconclusive"
    reasons = [item.reason for item in (left if verdict == "inconclusive" else measured) if item.reason]
    merged: ClassResult = msgspec.structs.replace(
        same[0],
        verdict=verdict,
        states=sum(item.states for item in same),
        distinct=sum(item.distinct for item in same),
        bad_states=sum(item.bad_states for item in same),
        runs=sum(item.runs for item in same),
        bad=sum(item.bad for item in same),
        orders=sum(item.orders for item in same),
        bad_orders=sum(item.bad_orders for item in same),
        inconclusive=sum(item.inconclusive for item in same),
        findings=tuple(dict.fromkeys(name for item in same for name in item.findings)),
        reason=next(iter(reasons), ""),
        coverage=next((item.coverage for item in same if item.coverage), ""),
        cut=sum(item.cut for item in same),
    )
    return merged
