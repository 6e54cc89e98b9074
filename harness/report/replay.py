"""From what a run left on disk back to its events, so that a report can be made again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.core.event import (
    AnyEvent,
    CampaignFinished,
    CampaignStarted,
    FindingConfirmed,
    Notice,
    TrialFinished,
)
from harness.core.json_record import RecordError, convert_record
from harness.core.verdict import Finding, TrialRow

_KEPT: dict[str, Any] = {
    "campaign_started": CampaignStarted,
    "notice": Notice,
    "campaign_finished": CampaignFinished,
}


class StoredRunError(ValueError):
    """``run.json`` is not of this version; one line that says where."""


def replay_events(
    run: Mapping[str, Any], rows: Iterable[TrialRow], findings: Iterable[Finding]
) -> Iterator[AnyEvent]:
    """Yield the events of a stored run: start, notices, trials, findings, end (if it has one).

    ``run`` is the content of ``run.json``. The order within a kind is kept; phases are not stored. Raises
    :class:`StoredRunError` where ``run`` is malformed.
    """
    kept = list(_kept_events(run))
    yield next((event for event in kept if isinstance(event, CampaignStarted)), None) or _started(run)
    yield from (event for event in kept if isinstance(event, Notice))
    yield from (TrialFinished(row=row) for row in rows)
    yield from (FindingConfirmed(finding=finding) for finding in findings)
    yield from [event for event in kept if isinstance(event, CampaignFinished)][-1:]


def _kept_events(run: Mapping[str, Any]) -> Iterator[AnyEvent]:
    events = run.get("events", [])
    if not isinstance(events, list):
        raise StoredRunError("run.json: events: not a list")
    for index, event in enumerate(events):
        kind = event.get("event") if isinstance(event, dict) else None
        if not isinstance(kind, str):
            raise StoredRunError(f"run.json: events[{index}]: not an event")
        if kind not in _KEPT:
            continue  # an addition of a later version
        try:
            yield convert_record(event, _KEPT[kind])
        except RecordError as error:
            raise StoredRunError(f"run.json: events[{index}]: {error}") from None


def _started(run: Mapping[str, Any]) -> CampaignStarted:
    """Return the start of a run that was killed before its first event was kept."""
    try:
        started: CampaignStarted = convert_record(
            {
                "event": "campaign_started",
                "run_id": run.get("run_id", ""),
                "scenario": run.get("name", ""),
                "targets": run.get("targets", []),
                "seed": run.get("seed", 0),
                "directory": "",
                "planned_trials": 0,
                "environment": {"command": run.get("command", ""), "tornwrite": run.get("tornwrite", "")},
            },
            CampaignStarted,
        )
    except RecordError as error:
        raise StoredRunError(f"run.json: {error}") from None
    return started
