"""One more record on a conversation that is in order, in constant time.

Crash states of a long run grow a transcript record by record, and nearly all of them are in order. ``Growth`` is what
has to be known of such a conversation to see that the next record keeps it in order: it hangs where it should, its ids
are new, its results were asked for. ``grown`` says ``None`` as soon as that is not plain, and then the whole
conversation is built and judged (:mod:`harness.checks.conversation_faults`): the two agree, which a test holds.

Non-goals: judging what is not in order; side chains, compactions and meta records, which are not plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.checks.conversation import Record
from harness.checks.messages_api import THOUGHTS, UNANSWERED, Block, Breach, error_of

_CARRIERS = frozenset({"progress", "system", "attachment"})


class Seen:
    """The names seen so far, shared by all states of one growing conversation; a branch takes a copy."""

    __slots__ = ("first", "size")

    def __init__(self, first: dict[str, int], size: int) -> None:
        self.first = first
        self.size = size

    def add(self, names: Sequence[str], size: int) -> Seen | None:
        """Return this with ``names`` added as number ``size``; ``None`` if one of them is known."""
        first, owner = self.first, self
        if self.size != size:  # another state has grown beyond this one
            first = {name: number for name, number in first.items() if number < size}
            owner = Seen(first, size)
        if len(set(names)) < len(names) or any(name in first for name in names):
            return None
        first.update(dict.fromkeys(names, size))
        owner.size = size + 1
        return owner


class Growth(NamedTuple):
    """A conversation in order. ``tip``: the last uuid on the way up. ``size`` counts the steps of ``seen``.

    ``messages`` counts API messages, ``role`` is that of the last one; ``response`` is the ``message.id`` of the
    answer being written or answered, ``lines`` its uuids. ``pending`` are its calls without a result, each with the
    index of its record; ``only_results``: nothing but results follows it. ``called`` and ``thinking`` are of its
    blocks so far; ``thoughts``: there is thinking in the latest answer.
    """

    seen: Seen
    size: int = 0
    tip: str = ""
    messages: int = 0
    role: str = ""
    response: str = ""
    lines: tuple[str, ...] = ()
    pending: tuple[tuple[str, int], ...] = ()
    only_results: bool = True
    called: bool = False
    thinking: bool = False
    thoughts: bool = False

    def open_turn(self) -> tuple[str, tuple[str, ...], int] | None:
        """Return text, ids and record of the calls that wait for a result, if any do."""
        if not self.pending:
            return None
        names = tuple(name for name, _ in self.pending)
        at = self.messages - 1 - (self.role == "user")
        return error_of(Breach(UNANSWERED, at, -1, names)).message, names, self.pending[0][1]


def new_growth() -> Growth:
    """Return the conversation of no records."""
    return Growth(Seen({}, 0))


def grown(growth: Growth, record: Record, index: int) -> Growth | None:
    """Return the conversation with ``record`` as number ``index``, or ``None`` if it is not plainly in order."""
    if record.snapshot_of:
        return growth
    if not record.uuid or record.side or record.boundary or record.reuses:
        return None
    if record.type in _CARRIERS:
        return _named(growth, record, ()) if record.parent == growth.tip else None
    if not record.sent or not record.blocks:
        return None
    if record.type == "assistant":
        return _said(growth, record, index) if record.parent == growth.tip else None
    kinds = {block.get("type") for block in record.blocks}
    if "tool_result" in kinds:
        return _answered(growth, record) if kinds == {"tool_result"} else None
    if record.parent != growth.tip or growth.pending or "tool_use" in kinds or _has_empty_text(record.blocks):
        return None
    more = _named(growth, record, ())
    return more and _in_role(more, "user")._replace(response="", lines=(), only_results=False)


def _named(growth: Growth, record: Record, names: Sequence[str]) -> Growth | None:
    seen = growth.seen.add((record.uuid, *names), growth.size)
    return growth._replace(seen=seen, size=growth.size + 1, tip=record.uuid) if seen is not None else None


def _in_role(growth: Growth, role: str) -> Growth:
    return growth if growth.role == role else growth._replace(role=role, messages=growth.messages + 1)


def _has_empty_text(blocks: Sequence[Block]) -> bool:
    return any(block.get("type") == "text" and not block.get("text") for block in blocks)


def _said(growth: Growth, record: Record, index: int) -> Growth | None:
    """A line of an API response: of the one being written, or of a new one once nothing is pending."""
    goes_on = record.message_id == growth.response and growth.role == "assistant"
    if not record.message_id or (growth.pending and not goes_on) or _has_empty_text(record.blocks):
        return None
    names = [] if goes_on else [f"message {record.message_id}"]
    called, thinking = (
        (growth.called, growth.thinking) if goes_on else (False, record.blocks[0].get("type") in THOUGHTS)
    )
    pending = growth.pending
    thoughts = growth.thoughts and (goes_on or growth.role == "assistant")
    for block in record.blocks:
        kind = block.get("type")
        if kind == "tool_use":
            called = True
            names.append(f"call {block.get('id')}")
            pending = (*pending, (str(block.get("id")), index))
        elif kind == "tool_result" or (kind == "text" and called) or (kind in THOUGHTS and not thinking):
            return None
        thoughts = thoughts or kind in THOUGHTS
    more = _named(growth, record, names)
    return more and _in_role(more, "assistant")._replace(
        response=record.message_id,
        lines=(*growth.lines, record.uuid) if goes_on else (record.uuid,),
        pending=pending,
        only_results=True,
        called=called,
        thinking=thinking,
        thoughts=thoughts,
    )


def _answered(growth: Growth, record: Record) -> Growth | None:
    """Results of pending calls, below the record before them or below a line of the response that made the calls."""
    if record.parent != growth.tip and record.parent not in growth.lines:
        return None
    if not growth.only_results or (record.source and record.source not in growth.lines):
        return None
    names = [str(block.get("tool_use_id")) for block in record.blocks]
    pending = tuple(call for call in growth.pending if call[0] not in names)
    if len(set(names)) < len(names) or len(pending) + len(names) != len(growth.pending):
        return None
    more = _named(growth, record, ())
    return more and _in_role(more, "user")._replace(pending=pending)
