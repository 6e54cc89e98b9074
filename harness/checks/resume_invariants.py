"""What resuming makes of a conversation: G4 and T9 on a repair, and the outcome as its user sees it.

``resume_outcome`` compares the records before a resume with the messages that it sends. All acknowledged ones are in
them: *recovered*. The API takes the messages and some are missing: *rolled back*. The API refuses them: *rejected*,
and so is every later attempt, since nothing about the messages changes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from harness.checks.conversation import Record, conversation_of
from harness.checks.conversation_faults import results_in
from harness.checks.conversation_fold import Judged
from harness.checks.invariant import check
from harness.checks.messages_api import THOUGHTS, ApiError, Block, Message, merged, validate
from harness.checks.recovery import RecoveryView
from harness.core.tree import File, Tree
from harness.core.verdict import Violation

_SUCCESS = re.compile(r"\s*(?:ok|done|success(?:ful(?:ly)?)?|succeeded|completed?|finished)\b", re.IGNORECASE)
_IDS_SHOWN = 8

Resumed = Literal["recovered", "rolled_back", "rejected"]


class ResumeOutcome(NamedTuple):
    """``text`` is the API's refusal, empty unless rejected; ``lost`` the acknowledged ids that are not sent."""

    outcome: Resumed
    text: str = ""
    lost: tuple[str, ...] = ()


def resume_outcome(
    before: Iterable[Mapping[str, Any]], after: Sequence[Message] | ApiError, acked: Iterable[str]
) -> ResumeOutcome:
    """Return what became of a conversation.

    ``before``: the parsed records of the transcript that was resumed; ``after``: the messages that resuming sends, or
    what the API answered; ``acked``: the uuids acknowledged before. Records that are never sent (of other kinds, of
    side chains, before the last compaction) cannot be missed; an acknowledged uuid that is no record any more is.
    """
    if isinstance(after, ApiError):
        return ResumeOutcome("rejected", after.message)
    error = validate(after)
    if error is not None:
        return ResumeOutcome("rejected", error.message)
    told = conversation_of(before)
    sent = Counter(_key(str(turn["role"]), block) for turn in merged(after) for block in turn["content"])
    compacted = max((i for i, record in enumerate(told.records) if record.boundary), default=-1)
    lost: list[str] = []
    for name in dict.fromkeys(acked):
        index = told.where.get(name, -1)
        record = told.records[index] if index >= 0 else None
        if record is None or (index > compacted and not _is_sent(record, sent)):
            lost.append(name)
    return ResumeOutcome("rolled_back" if lost else "recovered", lost=tuple(lost))


def _is_sent(record: Record, sent: Counter[str]) -> bool:
    if not record.sent:
        return True
    mine = Counter(_key(record.type, block) for block in record.blocks if block.get("type") not in THOUGHTS)
    if any(sent[key] < times for key, times in mine.items()):
        return False
    sent.subtract(mine)  # two prompts of the same words need two messages
    return True


def _key(role: str, block: Block) -> str:
    """Return what tells a block of a record and a block of a request apart; cache marks do not."""
    plain = {key: value for key, value in block.items() if key != "cache_control"}
    if plain.get("type") == "tool_result":
        plain.setdefault("is_error", False)
        if isinstance(plain.get("content"), str):
            plain["content"] = [{"type": "text", "text": plain["content"]}]
    return role + json.dumps(plain, sort_keys=True)


def _transcripts(view: RecoveryView, tree: Tree) -> Iterator[tuple[str, Judged]]:
    for path, file in tree.files():
        binding = view.binding_of(path)
        if binding is not None and binding.format == "transcript" and not binding.litter:
            yield path, view.expectation.conversations.of(file.content)


@check("G4", "recovery")
def resume_reaches_as_much(view: RecoveryView) -> Iterator[Violation]:
    """The leaf reaches after a resume what it reached before, unless a compaction came between.

    What is still in the file has to be reached. What is not may have been rolled back: where acknowledgements name
    records, those in flight; where they do not, as many as the resume has added.
    """
    for path, old in _transcripts(view, view.before):
        node = view.after.node_at(path)
        if not isinstance(node, File):
            continue  # M8 says that the file is gone
        new = view.expectation.conversations.of(node.content)
        reached, left = len(old.conversation.reached), len(new.conversation.reached)
        if _boundaries(new) > _boundaries(old):
            continue
        gone = [old.conversation.records[i].uuid for i in old.conversation.order]
        kept = {new.conversation.records[i].uuid for i in new.conversation.order}
        unreached = [name for name in gone if name not in kept]
        there = {record.uuid for record in new.conversation.records}
        cut_off = any(name in there for name in unreached)
        lost = left < reached and not all(_in_flight(view, path, name) for name in unreached)
        if not cut_off and not lost:
            continue
        yield Violation(
            invariant="G4",
            path=path,
            damage="unlinked",
            message=f"of {reached} records that the conversation reached before recovery, {len(unreached)} are not "
            "reached after it and one more",
            offset=new.offsets[new.conversation.leaf] if new.conversation.leaf >= 0 else -1,
            ids=tuple(unreached)[:_IDS_SHOWN],
        )


def _in_flight(view: RecoveryView, path: str, uuid: str) -> bool:
    """Whether a record was written and not acknowledged yet, where acknowledgements name records."""
    binding, expectation = view.binding_of(path), view.expectation
    return binding is not None and binding.id_key == "uuid" and uuid in expectation.ack_ids[view.acked :]


def _boundaries(found: Judged) -> set[str]:
    return {record.uuid for record in found.conversation.records if record.boundary}


@check("T9", "recovery")
def made_up_results_are_errors(view: RecoveryView) -> Iterator[Violation]:
    """A result that recovery adds and the run never had is marked as an error, and its text claims no success."""
    real = {
        _key("user", block)
        for told in view.expectation.told
        for record in told.conversation.records
        for block in record.blocks
        if block.get("type") == "tool_result"
    }
    there = {
        name
        for _, old in _transcripts(view, view.before)
        for record in old.conversation.records
        for name in results_in(record)
    }
    for path, new in _transcripts(view, view.after):
        for index, record in enumerate(new.conversation.records):
            for block in record.blocks if record.main else ():
                name = str(block.get("tool_use_id"))
                if block.get("type") != "tool_result" or name in there or _key("user", block) in real:
                    continue
                wrong = _pretence(block)
                if wrong:
                    yield Violation(
                        invariant="T9",
                        path=path,
                        damage="silent",
                        message=f"the result that recovery made up at offset {new.offsets[index]} {wrong}",
                        offset=new.offsets[index],
                        ids=(name,),
                    )


def _pretence(block: Block) -> str:
    """Return how a made-up result passes for a real one, or an empty string."""
    if block.get("is_error") is not True:
        return "is not marked as an error"
    content = block.get("content")
    texts = (
        [content] if isinstance(content, str) else [b.get("text") for b in content or () if isinstance(b, dict)]
    )
    if any(isinstance(text, str) and _SUCCESS.match(text) for text in texts):
        return "claims success"
    return ""
