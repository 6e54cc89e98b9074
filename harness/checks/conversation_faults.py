"""G1, G2, G3, G6 and T1 to T8 on one conversation: what is wrong with it whatever a run promised.

Each fault names the record it shows at and the ids a repair has to deal with: the calls without an answer, the
results nobody asked for, the parents that are not there. Pairing is judged on the rebuilt API messages; so what a
resume would not send is not judged, except where a rule speaks of the file (T3, T6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from harness.checks.conversation import Conversation, Record
from harness.checks.messages_api import (
    DOUBLE_RESULT,
    EMPTY_MESSAGE,
    EMPTY_TEXT,
    THOUGHTS,
    UNANSWERED,
    UNASKED,
    Breach,
    breaches,
    error_of,
)
from harness.core.verdict import Damage

_LIMIT = 64
"""Faults kept per conversation and family; one with more is broken enough."""

FaultKey = tuple[str, str, bool]
"""Invariant, id, and whether the turn is still open: what makes two faults the same one."""


class ConversationFault(NamedTuple):
    """One broken rule. ``record`` is the index of the record where it shows. ``open``: the turn may yet be closed."""

    invariant: str
    damage: Damage
    what: str
    ids: tuple[str, ...]
    record: int
    open: bool = False

    def known_as(self) -> Iterator[FaultKey]:
        """Yield a key per id."""
        for name in self.ids:
            yield self.invariant, name, self.open


def faults_of(conversation: Conversation) -> tuple[ConversationFault, ...]:
    """Return what is wrong with a conversation."""
    families = (_graph, _pairing, _order, _emptiness)
    return tuple(fault for family in families for fault in islice(family(conversation), _LIMIT))


def _graph(conversation: Conversation) -> Iterator[ConversationFault]:
    records, where = conversation.records, conversation.where
    snapshots = {record.snapshot_of for record in records if record.snapshot_of}
    seen: set[str] = set()
    backwards = False
    for index, record in enumerate(records):
        if record.uuid in seen and not record.reuses:
            yield ConversationFault("G1", "other", "has the uuid of a record before it", (record.uuid,), index)
        if record.parent and record.parent not in seen:
            parent = where.get(record.parent, -1)
            if parent < 0:
                what = "names a parent that is not in the file"
                yield ConversationFault("G2", "unlinked", what, (record.parent,), index)
                if record.parent in snapshots:
                    what = "names a parent that is only the messageId of a file-history-snapshot"
                    yield ConversationFault("G6", "other", what, (record.parent,), index)
            backwards = True
        if record.uuid and not record.reuses:
            seen.add(record.uuid)
    if backwards or len(seen) < len(where):
        yield from _cycles(conversation)


def _cycles(conversation: Conversation) -> Iterator[ConversationFault]:
    done: set[int] = set()
    for start in range(len(conversation.records)):
        way: dict[int, None] = {}
        index = start
        while index >= 0 and index not in done and index not in way:
            way[index] = None
            index = conversation.parent_of(index)
        if index in way:
            steps = list(way)
            cycle = steps[steps.index(index) :]
            names = tuple(conversation.records[each].uuid for each in cycle)
            what = "is its own parent" if len(cycle) == 1 else f"is in a cycle of {len(cycle)} parents"
            yield ConversationFault("G3", "other", what, names, min(cycle))
        done.update(way)


def _pairing(conversation: Conversation) -> Iterator[ConversationFault]:
    turns, sources = conversation.rebuilt
    twice: set[str] = set()
    for breach in breaches(turns):
        text = error_of(breach).message
        if breach.text == UNANSWERED:
            missing = tuple(name for name in breach.ids if name not in breach.late)
            at = _source_of(conversation, breach, breach.ids[0])
            if missing:
                yield ConversationFault("T1", "rejected", text, missing, at, breach.open)
            if breach.late:
                yield ConversationFault("T5", "rejected", text, breach.late, at)
        else:
            row = "T2" if breach.text == UNASKED else "T3" if breach.text == DOUBLE_RESULT else "T4"
            if row == "T3":
                twice.update(breach.ids)
            yield ConversationFault(row, "rejected", text, breach.ids, sources[breach.message][breach.content])
        if breach.text in (UNANSWERED, UNASKED):
            yield from _compacted(conversation, breach)
    yield from _answered_twice(conversation, twice)


def _source_of(conversation: Conversation, breach: Breach, name: str) -> int:
    turns, sources = conversation.rebuilt
    for index, block in enumerate(turns[breach.message]["content"]):
        if block.get("type") == "tool_use" and block.get("id") == name:
            return sources[breach.message][index]
    return -1


def _answered_twice(conversation: Conversation, known: set[str]) -> Iterator[ConversationFault]:
    """More than one result of a call anywhere in the file, even where a resume would send only one of them."""
    count = Counter(name for record in conversation.records if record.main for name in results_in(record))
    for name, times in count.items():
        if times > 1 and name not in known:
            last = max(i for i, r in enumerate(conversation.records) if r.main and name in results_in(r))
            what = f"is one of {times} results of one tool_use"
            yield ConversationFault("T3", "other", what, (name,), last)


def results_in(record: Record) -> list[str]:
    """Return the ids of the calls that a record answers."""
    return [str(block.get("tool_use_id")) for block in record.blocks if block.get("type") == "tool_result"]


def uses_in(record: Record) -> list[str]:
    """Return the ids of the calls that a record makes."""
    return [str(block.get("id")) for block in record.blocks if block.get("type") == "tool_use"]


def _compacted(conversation: Conversation, breach: Breach) -> Iterator[ConversationFault]:
    """The call and its result are both in the file, with a compaction between them."""
    records = conversation.records
    boundaries = [index for index, record in enumerate(records) if record.boundary]
    for name in breach.ids if boundaries else ():
        call = next((i for i, record in enumerate(records) if record.main and name in uses_in(record)), -1)
        answer = next((i for i, record in enumerate(records) if record.main and name in results_in(record)), -1)
        if call >= 0 and any(call < boundary < answer for boundary in boundaries):
            what = "answers a tool_use on the other side of a compaction"
            yield ConversationFault("T7", "rejected", what, (name,), answer)


def _order(conversation: Conversation) -> Iterator[ConversationFault]:
    """T5 within an assistant message, T6 in the file."""
    records = conversation.records
    for turn, sources in zip(*conversation.rebuilt, strict=True):
        if turn["role"] != "assistant":
            continue
        owner: object = None
        calls: list[str] = []
        for block, source in zip(turn["content"], sources, strict=True):
            response = records[source].message_id or source
            if response != owner:
                owner, calls = response, []
            if block.get("type") == "tool_use":
                calls.append(str(block.get("id")))
            elif block.get("type") == "text" and calls:
                yield ConversationFault("T5", "other", "has text after a tool_use", (calls[-1],), source)
    left: set[str] = set()
    current = ""
    for index, record in enumerate(records):
        if not record.main or record.message_id == current:
            continue
        if current:
            left.add(current)
        current = record.message_id
        if current and current in left:
            what = "goes on with a message after records of others"
            yield ConversationFault("T6", "other", what, (current,), index)


def _emptiness(conversation: Conversation) -> Iterator[ConversationFault]:
    """T8: no empty message or text block, thinking first."""
    sent = [index for index in conversation.order if conversation.records[index].sent]
    begun: dict[str, bool] = {}
    for index in sent:
        record = conversation.records[index]
        if not record.blocks and not (index == sent[-1] and record.type == "assistant"):
            what = f"is an empty message (text {EMPTY_MESSAGE} of the API)"
            yield ConversationFault("T8", "rejected", what, (record.uuid,), index)
        for block in record.blocks:
            kind = block.get("type")
            if kind == "text" and not block.get("text"):
                what = f"has an empty text block (text {EMPTY_TEXT} of the API)"
                yield ConversationFault("T8", "rejected", what, (record.uuid,), index)
            thought = kind in THOUGHTS
            if (
                record.type == "assistant"
                and begun.setdefault(record.message_id or record.uuid, thought) < thought
            ):
                what = "has a thinking block in a message that does not begin with one"
                yield ConversationFault("T8", "rejected", what, (record.uuid,), index)
