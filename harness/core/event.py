"""The one stream of events: a campaign emits, and terminal, JSON, JUnit and Markdown only subscribe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from harness.core.shard import Shard
from harness.core.verdict import Finding, TrialRow, Verdict


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all events share; the time of an event is the subscriber's business."""


class CampaignStarted(Event, frozen=True, kw_only=True, tag="campaign_started"):
    """The plan is known: what runs, with which seed, where it is kept."""

    run_id: str
    scenario: str
    targets: tuple[str, ...]
    seed: int
    directory: str
    planned_trials: int
    environment: dict[str, Any] = {}
    shard: Shard = Shard()
    plan: str = ""
    """What all shards of one run have in common: the digest of cases, faults, numbers and seed."""


class PhaseStarted(Event, frozen=True, kw_only=True, tag="phase_started"):
    """A phase of one variant begins: record, check, recover, power, errno, timed, concurrency, lives, confirm."""

    phase: str
    target: str
    variant: str
    trials: int = 0


class TrialFinished(Event, frozen=True, kw_only=True, tag="trial_finished"):
    """One trial has its row."""

    row: TrialRow


class FindingConfirmed(Event, frozen=True, kw_only=True, tag="finding_confirmed"):
    """A finding is final: its counts and its confirmation are known."""

    finding: Finding


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """Something a reader must know: not available, not seen, sampled, skipped."""

    text: str
    target: str = ""


class CampaignFinished(Event, frozen=True, kw_only=True, tag="campaign_finished"):
    """The campaign has its verdict and its exit code."""

    verdict: Verdict
    exit_code: int
    summary: dict[str, Any] = {}


AnyEvent: TypeAlias = CampaignStarted | PhaseStarted | TrialFinished | FindingConfirmed | Notice | CampaignFinished
Subscriber: TypeAlias = Callable[[AnyEvent], None]
