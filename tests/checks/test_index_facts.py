"""Facts of indexes: what entries say beside their transcripts, and how far a run took one back."""

from __future__ import annotations

import json

from harness.checks import Expectation, FileBinding
from harness.checks.index_facts import EntryFacts, index_facts
from harness.core.tree import tree_of
from harness.explore.script import Script

BINDINGS = (
    FileBinding(glob="p/sessions-index.json", format="index"),
    FileBinding(glob="p/*.jsonl", format="transcript", id_key="uuid"),
)
DAY_MS = 86_400_000
INDEX = "p/sessions-index.json"


def index_of(**entries: tuple[int, int]) -> bytes:
    rows = [{"sessionId": name, "messageCount": count, "modified": ms} for name, (count, ms) in entries.items()]
    return json.dumps({"version": 1, "entries": rows}).encode()


def transcript(ms: int) -> bytes:
    return json.dumps({"type": "user", "uuid": "u", "timestamp": ms}).encode() + b"\n"


def test_an_entry_stands_beside_what_its_transcript_had() -> None:
    tree = tree_of(
        {
            INDEX: index_of(a=(9, DAY_MS), gone=(2, 5)),
            "p/a.jsonl": transcript(94 * DAY_MS),
            "p/new.jsonl": transcript(7),
            "p/agent-1.jsonl": transcript(200 * DAY_MS),
            "q/a.jsonl": transcript(1),
        }
    )
    assert index_facts(tree, BINDINGS) == {
        INDEX: (
            EntryFacts(session="a", message_count=9, modified_ms=DAY_MS, newest_ms=94 * DAY_MS),
            EntryFacts(session="gone", message_count=2, modified_ms=5),
            EntryFacts(session="new", newest_ms=7),
        )
    }


def test_an_index_that_cannot_be_read_has_no_entries() -> None:
    tree = tree_of({INDEX: b"{", "p/a.jsonl": transcript(7)})
    assert index_facts(tree, BINDINGS)[INDEX] == (EntryFacts(session="a", newest_ms=7),)


def test_a_rollback_is_told_from_the_versions_of_the_run() -> None:
    script = Script(tree_of({INDEX: index_of(a=(3, DAY_MS), b=(1, DAY_MS))}))
    for data in (index_of(a=(5, 21 * DAY_MS), b=(1, DAY_MS)), index_of(a=(3, DAY_MS), b=(1, 2 * DAY_MS))):
        script.replace(INDEX, data)
        script.ack("x")
    expectation = Expectation.from_trace(script.trace(), BINDINGS)
    (found,) = index_facts(tree_of({INDEX: data}), BINDINGS, expectation).values()
    assert {entry.session: entry.back_ms for entry in found} == {"a": 20 * DAY_MS, "b": 0}
