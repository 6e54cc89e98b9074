"""The conversation that a transcript holds: records, the chain that a resume walks, the API messages it rebuilds.

The chain rule is that of the published agent SDK: from each record that nobody names as parent, walk to the nearest
user or assistant record; the latest of these in file order that is of no side chain, team or meta kind is the leaf;
the chain is its way up along ``parentUuid``. ``logicalParentUuid`` is not followed.

The blocks of one API response stand on a line each and share ``message.id``; they are one assistant message again.
Parallel results are a record each and hang below the call that they answer, so the way up from the leaf passes only
one of them: lines of a response on the chain, and results of its calls, belong to the conversation even off the way.

Non-goals: what is wrong with a conversation (:mod:`harness.checks.conversation_faults`), files, bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from harness.checks.messages_api import Block, blocks_of

CHAIN_TYPES = frozenset({"user", "assistant", "progress", "system", "attachment"})
"""Types of records that are links of the chain."""
_SPEAKERS = frozenset({"user", "assistant"})


class Record(NamedTuple):
    """One record of a transcript, as far as the conversation goes.

    ``main``: a user or assistant record of the main conversation (no side chain, team or meta). ``sent``: it goes to
    the API; a client's own note of an API error does not. ``source`` is the record whose tool call a result answers.
    ``boundary``: a compaction ends here. ``reuses``: a kind of record whose uuid may be another's. ``snapshot_of`` is
    the ``messageId`` of a file-history-snapshot, which is no uuid of a record.
    """

    type: str
    uuid: str = ""
    parent: str = ""
    main: bool = False
    sent: bool = False
    side: bool = False
    message_id: str = ""
    blocks: tuple[Block, ...] = ()
    source: str = ""
    boundary: bool = False
    reuses: bool = False
    snapshot_of: str = ""


def record_of(value: Mapping[str, Any]) -> Record | None:
    """Return what a parsed line is to the conversation, or ``None`` if nothing."""
    kind = value.get("type")
    if kind == "file-history-snapshot":
        return Record("file-history-snapshot", snapshot_of=_text(value, "messageId"))
    uuid = _text(value, "uuid")
    if not isinstance(kind, str) or kind not in CHAIN_TYPES or not uuid:
        return None
    side = bool(value.get("isSidechain") or value.get("teamName"))
    attachment = value.get("attachment")
    record = Record(
        kind,
        uuid,
        _text(value, "parentUuid"),
        side=side,
        boundary=kind == "system" and value.get("subtype") == "compact_boundary",
        reuses=isinstance(attachment, dict) and attachment.get("type") == "saved_hook_context",
    )
    message = value.get("message")
    if kind not in _SPEAKERS or not isinstance(message, dict):
        return record
    main = not side and not value.get("isMeta")
    content = message.get("content")
    return record._replace(
        main=main,
        sent=main and not value.get("isApiErrorMessage"),
        message_id=_text(message, "id") if kind == "assistant" else "",
        # An empty string is an empty message, not an empty text block.
        blocks=tuple(blocks_of(content)) if content else (),
        source=_text(value, "sourceToolAssistantUUID"),
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _tool_ids(record: Record) -> Iterator[tuple[str, str]]:
    for block in record.blocks:
        if block.get("type") == "tool_use":
            yield "tool_use", str(block.get("id"))
        elif block.get("type") == "tool_result":
            yield "tool_result", str(block.get("tool_use_id"))


class Conversation:
    """What resuming finds in a sequence of records. Indices are those of ``records``.

    ``where`` finds a record by uuid; ``leaf`` is -1 where there is no conversation; ``order`` is what the leaf
    reaches, oldest first, and ``reached`` the same as a set.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.where: dict[str, int] = {record.uuid: index for index, record in enumerate(records) if record.uuid}
        self.leaf = self._choose_leaf()
        self.order: tuple[int, ...] = self._with_parallel(self._way_up(self.leaf))
        self.reached = frozenset(self.order)

    def parent_of(self, index: int) -> int:
        """Return the index of a record's parent, or -1."""
        parent = self.records[index].parent
        return self.where.get(parent, -1) if parent else -1

    def _choose_leaf(self) -> int:
        records = self.records
        parents = {record.parent for record in records}
        best = spare = -1
        for index in range(len(records) - 1, -1, -1):
            uuid = records[index].uuid
            if not uuid or uuid in parents:
                continue
            found = self._nearest_speaker(index)
            if found < 0 or records[found].side:
                continue
            if records[found].main:
                best = max(best, found)
            else:
                spare = max(spare, found)
        return best if best >= 0 else spare

    def _nearest_speaker(self, index: int) -> int:
        seen: set[int] = set()
        while index >= 0 and index not in seen:
            if self.records[index].type in _SPEAKERS:
                return index
            seen.add(index)
            index = self.parent_of(index)
        return -1

    def _way_up(self, index: int) -> list[int]:
        way: list[int] = []
        seen: set[int] = set()
        records, where = self.records, self.where
        while index >= 0 and index not in seen:
            seen.add(index)
            way.append(index)
            parent = records[index].parent
            index = where.get(parent, -1) if parent else -1
        way.reverse()
        return way

    def _with_parallel(self, way: list[int]) -> tuple[int, ...]:
        """Add, behind the last line of each response on the way, its further lines and the results of its calls.

        Only what the way lacks: of two answers to one call, by two instances say, the way has chosen one.
        """
        records, on = self.records, set(way)
        off = [
            i for i, record in enumerate(records) if record.main and i not in on and self.where[record.uuid] == i
        ]
        if not off:
            return tuple(way)
        last = {records[index].message_id: index for index in way if records[index].message_id}
        response = {records[i].uuid: last[records[i].message_id] for i in way if records[i].message_id}
        have = {name for index in way for name in _tool_ids(records[index])}
        more: dict[int, list[int]] = {}

        def add(home: int, index: int) -> None:
            names = set(_tool_ids(records[index]))
            if home >= 0 and not names & have:
                have.update(names)
                more.setdefault(home, []).append(index)
                response[records[index].uuid] = home

        for index in off:
            add(last.get(records[index].message_id, -1), index)
        for index in off:
            record = records[index]
            if record.type == "user" and _tool_ids(record):
                add(response.get(record.source, response.get(record.parent, -1)), index)
        return tuple(each for index in way for each in (index, *more.get(index, ())))

    @cached_property
    def rebuilt(self) -> tuple[tuple[dict[str, Any], ...], tuple[tuple[int, ...], ...]]:
        """The API messages, and per message the record that each of its blocks came from."""
        turns: list[dict[str, Any]] = []
        sources: list[list[int]] = []
        home: dict[str, int] = {}
        for index in self.order:
            record = self.records[index]
            if not record.sent:
                continue
            at = home.get(record.message_id, -1) if record.message_id else -1
            if at < 0:
                if not turns or turns[-1]["role"] != record.type:
                    turns.append({"role": record.type, "content": []})
                    sources.append([])
                at = len(turns) - 1
                if record.message_id:
                    home[record.message_id] = at
            turns[at]["content"].extend(record.blocks)
            sources[at].extend([index] * len(record.blocks))
        return tuple(turns), tuple(map(tuple, sources))

    @property
    def messages(self) -> tuple[dict[str, Any], ...]:
        """The API messages that resuming rebuilds: plain data, neighbours of one role merged."""
        return self.rebuilt[0]


def conversation_of(values: Iterable[Mapping[str, Any]]) -> Conversation:
    """Return the conversation of parsed records, in file order."""
    found = (record_of(value) for value in values)
    return Conversation(tuple(record for record in found if record is not None))
