"""What the conversation of a transcript says: other checks find its faults, this says what each is evidence of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.checks.conversation import CHAIN_TYPES, Conversation, Record, record_of
from harness.checks.conversation_faults import ConversationFault, faults_of, results_in, uses_in
from harness.checks.explain.explanation import Seen

_IDS = 8
_PATTERN: Mapping[str, str] = {
    "G1": "record_twice",
    "G2": "record_missing",
    "G3": "order",
    "G6": "message_rule",
    "T2": "record_missing",
    "T3": "record_twice",
    "T4": "record_twice",
    "T5": "order",
    "T6": "order",
    "T7": "message_rule",
    "T8": "message_rule",
}
_LACKS, _ORDER = frozenset({"G2", "T1", "T2"}), frozenset({"T5", "T6"})
FOLLOWS = frozenset({"record_missing", "result_missing", "result_lost_alive", "order"})
"""Patterns that a record makes which is in the file and cannot be read."""
_TOLD: Mapping[str, str] = {
    "G1": "has the uuid of a record before it",
    "G2": "names a parent that is not in the file",
    "G3": "is among its own ancestors",
    "G6": "names a snapshot as its parent",
    "T1": "makes a tool call that has no result in the next message",
    "T2": "has a result of a call that the message before does not make",
    "T3": "has a second result of one call",
    "T4": "has a second call of one id",
    "T5": "has blocks in an order that the API refuses",
    "T6": "goes on with a message after records of others",
    "T7": "answers a call on the other side of a compaction",
    "T8": "is an empty message, or has a thinking block in the wrong place",
}


def is_transcript(values: Sequence[Mapping[str, Any]]) -> bool:
    """Whether records are those of a conversation: one of the chain's types, with a uuid and a parent."""
    return any(
        value.get("type") in CHAIN_TYPES and isinstance(value.get("uuid"), str) and "parentUuid" in value
        for value in values
        if isinstance(value.get("type"), str)
    )


def transcript_damage(values: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> Iterator[Seen]:
    """Yield the faults of the conversation that ``values`` are; ``numbers`` are their lines."""
    records: list[Record] = []
    lines: list[int] = []
    for value, number in zip(values, numbers, strict=True):
        record = record_of(value)
        if record is not None:
            records.append(record)
            lines.append(number)
    conversation = Conversation(tuple(records))
    faults = faults_of(conversation)
    lacks = any(fault.invariant in _LACKS and not fault.open for fault in faults)
    for fault in faults:
        if lacks and fault.invariant in _ORDER:
            continue  # what is missing has put the rest out of order
        line = lines[fault.record] if 0 <= fault.record < len(lines) else 0
        pattern = _unanswered(conversation, fault, lacks) if fault.invariant == "T1" else _PATTERN[fault.invariant]
        record_told = f"the record in line {line} " if line else "a record "
        yield Seen(
            pattern=pattern,
            what=f"{record_told}{_TOLD[fault.invariant]} ({fault.invariant})",
            line=line,
            ids=fault.ids[:_IDS],
        )


def _unanswered(conversation: Conversation, fault: ConversationFault, lacks: bool) -> str:
    """Return what a call without a result is evidence of; ``lacks``: other records are missing too."""
    if fault.open and not lacks:
        return "open_turn/last" if fault.record == len(conversation.records) - 1 else "open_turn/begun"
    answered = [index for index, record in enumerate(conversation.records) if results_in(record)]
    call = conversation.records[fault.record] if 0 <= fault.record < len(conversation.records) else Record("")
    siblings = {
        name
        for record in conversation.records
        if record is call or (call.message_id and record.message_id == call.message_id)
        for name in uses_in(record)
    } - set(fault.ids)
    last = max((i for i in answered if siblings & set(results_in(conversation.records[i]))), default=-1)
    went_on = last >= 0 and any(
        record.type == "assistant" and record.sent and record.message_id != call.message_id
        for record in conversation.records[last + 1 :]
    )
    return "result_lost_alive" if went_on else "result_missing"
