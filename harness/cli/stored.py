"""Runs on disk as reports take them: found by what a user types, read as events, shards of one run added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.campaign.durable import StoreError
from harness.campaign.latest import find_run
from harness.campaign.merging import MergeError, merge_shards
from harness.campaign.store import RunStore
from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted
from harness.report.replay import replay_events
from harness.report.view import RunView, collect


class Loaded(NamedTuple):
    """A run as reports take it, and the directories it was read from: several where it was run in shards."""

    view: RunView
    stores: tuple[RunStore, ...]


def events_of(store: RunStore) -> list[AnyEvent]:
    """Return the events of a stored run; also of one that was interrupted before it had a plan.

    Raises :class:`StoreError` for one that lacks a finding.
    """
    planned = store.read_artifact("run.json") is not None
    run_data = store.read_run() if planned else {"run_id": store.run_id}
    findings = store.findings()
    events = list(replay_events(run_data, store.rows(), findings.values()))
    ended_with = next((event.summary for event in events if isinstance(event, CampaignFinished)), {})
    for name in ended_with.get("findings", ()):
        if name not in findings:  # without it the run would read as one in which it was not seen
            raise StoreError(f"the run {store.directory!r} is damaged: findings/{name}, of its end, is missing")
    return events


def _started(events: Iterable[AnyEvent]) -> CampaignStarted:
    return next(event for event in events if isinstance(event, CampaignStarted))


def _whole(events: Sequence[AnyEvent]) -> tuple[str, ...]:
    """Return what the shards of one run on one system have in common; of a whole run, its id alone."""
    started = _started(events)
    if started.shard.whole:
        return (started.run_id,)
    facts = started.environment
    place = (str(facts.get(name, "")) for name in ("system", "architecture", "engine"))
    return (started.plan, str(started.seed), str(started.shard.of), *place)


def load_runs(texts: Sequence[str], out: str) -> list[Loaded]:
    """Return the runs that ``texts`` name, shards of one run added up; a single one stays what it is.

    Raises :class:`StoreError` where one is named twice, and :class:`MergeError`.
    """
    directories = [find_run(text, out) for text in texts]
    twice = next((text for n, text in enumerate(texts) if directories[n] in directories[:n]), None)
    if twice is not None:
        raise StoreError(f"{twice!r} is named twice")
    together: dict[tuple[str, ...], list[tuple[RunStore, list[AnyEvent]]]] = {}
    for directory in directories:
        store = RunStore.open(directory, writable=False)
        events = events_of(store)
        together.setdefault(_whole(events), []).append((store, events))
    return [_loaded(found, alone=len(directories) == 1) for found in together.values()]


def _loaded(found: Sequence[tuple[RunStore, list[AnyEvent]]], alone: bool) -> Loaded:
    first = found[0][1]
    whole = alone or (len(found) == 1 and _started(first).shard.whole)
    events = first if whole else merge_shards([events for _, events in found])
    return Loaded(collect(events), tuple(store for store, _ in found))


def load_run(text: str, out: str) -> RunView:
    """Return one run: a name, or the names of its shards with commas between."""
    runs = load_runs([word for word in text.split(",") if word] or [text], out)
    if len(runs) > 1:
        raise MergeError(f"{text!r}: not shards of one run; one run, or the shards of one, can be compared")
    return runs[0].view
