"""G1 to G3, G5 to G7 and T1 to T8: what holds for the conversations of transcripts, in any tree.

What the run started with is not its damage: a fault of the start, by invariant and id, is left out, in copies too.
The rows that speak of resuming are in :mod:`harness.checks.resume_invariants`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.checks.conversation_faults import ConversationFault
from harness.checks.conversation_fold import Judged
from harness.checks.invariant import check
from harness.checks.messages_api import THOUGHTS, thinking_error
from harness.checks.view import FileView, TreeView
from harness.core.verdict import Violation

_IDS_SHOWN = 8
_TRANSCRIPTS = frozenset({"transcript"})


def judged(file: FileView) -> Judged:
    """Return the conversation of a transcript."""
    return file.expectation.conversations.of(file.content)


def is_side_chain(path: str) -> bool:
    """Whether a transcript is a sub-agent's by its name."""
    return path.rsplit("/", 1)[-1].startswith("agent-") or "/subagents/" in path


def _new_faults(file: FileView, invariant: str) -> list[ConversationFault]:
    """Return the faults of one row that the run did not start with."""
    faults = judged(file).faults
    if not faults:
        return []
    known = file.expectation.start_faults
    return [
        fault
        for fault in faults
        if fault.invariant == invariant and not (known and all(key in known for key in fault.known_as()))
    ]


def violation_of(path: str, found: Judged, faults: Sequence[ConversationFault]) -> Violation:
    """Return what is told of the faults of one row in one file: the first with its place, the ids of all."""
    first = faults[0]
    offset = found.offsets[first.record] if first.record >= 0 else -1
    place = f"the record at offset {offset}"
    what = f"{place}: {first.what}" if first.what.startswith(("messages", "each ")) else f"{place} {first.what}"
    if len(faults) > 1:
        what += f" (and {len(faults) - 1} more)"
    return Violation(
        invariant=first.invariant,
        path=path,
        damage=first.damage,
        message=what,
        offset=offset,
        ids=tuple(dict.fromkeys(name for fault in faults for name in fault.ids))[:_IDS_SHOWN],
    )


def _broken(file: FileView, invariant: str) -> Sequence[Violation]:
    faults = _new_faults(file, invariant)
    return (violation_of(file.path, judged(file), faults),) if faults else ()


@check("G1", "file", _TRANSCRIPTS)
def uuids_are_unique(file: FileView) -> Sequence[Violation]:
    """No two chain records share a uuid, the kinds that may reuse one aside."""
    return _broken(file, "G1")


@check("G2", "file", _TRANSCRIPTS)
def parents_are_there(file: FileView) -> Sequence[Violation]:
    """Every parentUuid is the uuid of a record of the file; a snapshot's messageId does not count."""
    return _broken(file, "G2")


@check("G3", "file", _TRANSCRIPTS)
def parents_lead_up(file: FileView) -> Sequence[Violation]:
    """No record is its own ancestor."""
    return _broken(file, "G3")


@check("G5", "tree")
def newest_acknowledged_is_reached(view: TreeView) -> Iterator[Violation]:
    """The selected leaf is the newest acknowledged user or assistant record, or comes after it.

    Of the records that are still there: a lost one is B5's.
    """
    if view.expectation.masked:
        return
    for path, file in view.files.items():
        if file.binding.format != "transcript" or file.binding.id_key != "uuid" or file.records is None:
            continue
        acked = file.records.newest_first(view.acked) if view.acked_ids is None else reversed(view.acked_ids)
        found = judged(file)
        if found.in_order:
            continue
        told = found.conversation
        index = next((i for name in acked if (i := told.where.get(name, -1)) >= 0 and told.records[i].main), -1)
        if index < 0 or index in told.reached:
            continue
        leaf = f"the one at offset {found.offsets[told.leaf]}" if told.leaf >= 0 else "none"
        yield Violation(
            invariant="G5",
            path=path,
            damage="unlinked",
            message=f"the newest acknowledged record, at offset {found.offsets[index]}, is not reached from the "
            f"record that a resume selects: {leaf}",
            offset=found.offsets[index],
            ids=(told.records[index].uuid,),
        )


@check("G6", "file", _TRANSCRIPTS)
def snapshots_are_no_parents(file: FileView) -> Sequence[Violation]:
    """A parent that only a snapshot's messageId matches was never a record of this run: the writer took it for one."""
    faults = _new_faults(file, "G6")
    if not faults:
        return ()
    once = {uuid for told in file.expectation.told for uuid in told.conversation.where}
    never = [fault for fault in faults if not once.issuperset(fault.ids)]
    return (violation_of(file.path, judged(file), never),) if never else ()


@check("G7", "tree")
def parents_are_no_side_chains(view: TreeView) -> Iterator[Violation]:
    """No parent that the main transcript lacks is a record of a sub-agent's transcript."""
    transcripts = {path: file for path, file in view.files.items() if file.binding.format == "transcript"}
    for path, file in transcripts.items():
        lacking = [] if is_side_chain(path) else _new_faults(file, "G2")
        for fault in lacking:
            others = (other for name, other in transcripts.items() if is_side_chain(name))
            if any(fault.ids[0] in judged(other).conversation.where for other in others):
                what = "names a parent that is in a side chain's file"
                yield violation_of(path, judged(file), [fault._replace(invariant="G7", damage="other", what=what)])
                break


@check("T1", "file", _TRANSCRIPTS)
def calls_are_answered(file: FileView) -> Sequence[Violation]:
    """Every tool_use is answered in the next user message; the last turn may be open where resuming closes it."""
    faults = _new_faults(file, "T1")
    if file.binding.open_turn == "closed":
        faults = [fault for fault in faults if not fault.open]
    return (violation_of(file.path, judged(file), faults),) if faults else ()


@check("T2", "file", _TRANSCRIPTS)
def results_were_asked_for(file: FileView) -> Sequence[Violation]:
    """Every tool_result names a tool_use of the assistant message before it."""
    return _broken(file, "T2")


@check("T3", "file", _TRANSCRIPTS)
def results_are_single(file: FileView) -> Sequence[Violation]:
    """No tool_use has two results, in one message or anywhere in the file."""
    return _broken(file, "T3")


@check("T4", "file", _TRANSCRIPTS)
def calls_are_unique(file: FileView) -> Sequence[Violation]:
    """No tool_use id occurs twice in the conversation."""
    return _broken(file, "T4")


@check("T5", "file", _TRANSCRIPTS)
def results_come_first(file: FileView) -> Sequence[Violation]:
    """Results come first in a user message, and no text follows a tool_use in an assistant message."""
    return _broken(file, "T5")


@check("T6", "file", _TRANSCRIPTS)
def lines_of_a_message_are_contiguous(file: FileView) -> Sequence[Violation]:
    """Between the lines of one message.id stands no other user or assistant record of the main conversation."""
    return _broken(file, "T6")


@check("T7", "file", _TRANSCRIPTS)
def compaction_keeps_pairs(file: FileView) -> Sequence[Violation]:
    """A call and its result are on the same side of a compaction."""
    return _broken(file, "T7")


@check("T8", "file", _TRANSCRIPTS)
def messages_have_content(file: FileView) -> Sequence[Violation]:
    """No empty message or text block; thinking comes first, and in the latest message as the run had it."""
    found = _broken(file, "T8")
    return found or _changed_thinking(file)


def _changed_thinking(file: FileView) -> Sequence[Violation]:
    found = judged(file)
    if not found.thinks:
        return ()
    turns, sources = found.conversation.rebuilt
    latest = next((n for n in range(len(turns) - 1, -1, -1) if turns[n]["role"] == "assistant"), -1)
    if latest < 0:
        return ()
    for index, block in enumerate(turns[latest]["content"]):
        if block.get("type") not in THOUGHTS:
            continue
        record = found.conversation.records[sources[latest][index]]
        known = file.expectation.thoughts.get(record.message_id)
        if known and block not in known:
            fault = ConversationFault(
                "T8", "rejected", thinking_error(latest, index).message, (record.uuid,), sources[latest][index]
            )
            return (violation_of(file.path, found, [fault]),)
    return ()
