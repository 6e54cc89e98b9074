"""What was not measured is never "held": why an invariant says nothing about a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.checks.conversation_invariants import is_side_chain
from harness.checks.expectation import Expectation, ExpectedRecords
from harness.checks.invariant import Invariant, Scope
from harness.checks.measure_sessions import why_no_session_document
from harness.checks.versions import History
from harness.core.fault import FaultClass

_TREE_SCOPES: tuple[Scope, ...] = ("file", "names", "tree")
FURTHER_SCOPES: tuple[Scope, ...] = ("trace", "outcome", "recovery", "listing", "reads")
"""What can be judged besides trees."""

_NEEDS: Mapping[Scope, str] = {
    "trace": "the operations of a run",
    "outcome": "runs with a refused operation, whose outcome two undisturbed runs agree on",
    "recovery": "the target's own recovery, run on a damaged state",
    "listing": "the target's own listing of a damaged state",
    "reads": "a tool of the scenario that reads while the target writes",
}
_TOOL_ROWS = frozenset({"T1", "T2", "T3", "T4", "T5", "T9"})
_TOOL_BLOCKS = frozenset({"tool_use", "tool_result"})
_RECORDS = frozenset({"B1", "B2", "B4", "B5", "B6", "B7", "B8", "W9"})


def why_not_measured(
    row: Invariant, fault_class: FaultClass, expectation: Expectation, also: Iterable[Scope] = ()
) -> str:
    """Return the reason, or an empty string where the invariant is measured.

    Trees are taken as judged; ``also`` names the further scopes that were.
    """
    if not row.judges(fault_class):
        return f"{row.id} is not defined under {fault_class}"
    if not row.checks:
        return f"no check of {row.id} exists"
    if not set(row.checks) & {*_TREE_SCOPES, *also}:
        return f"{row.id} needs {_NEEDS[next(iter(row.checks))]}"
    links = sum(all(h.is_one_link for h in d.histories) for d in expectation.documents.values())
    records = [r for r in expectation.records.values() if _is_seen(r.histories, expectation)]
    documents = [d for d in expectation.documents.values() if _is_seen(d.histories, expectation)]
    if len(records) + len(documents) + links < len(expectation.records) + len(expectation.documents):
        note = "; stores through a shared mapping are not seen"
    else:
        note = _opaque(expectation)
    if row.id in _RECORDS:
        return _records(row.id, records, expectation.ack_ids, note)
    if row.id == "B9" and not any(r.binding.format == "transcript" for r in records):
        return "no file of format transcript was seen"
    if row.id in ("M1", "M2") and not documents:
        return f"no document was seen{note}"
    if row.id in ("B3", "M8") and not documents and not records:
        return f"no file with a known format was seen{note}"
    if row.id == "W6" and not any(r.binding.json for r in records):
        return f"no file of JSON records was seen{note}"
    if row.id[0] in "GT":
        return _conversations(row.id, expectation)
    if row.id in ("W2", "M4") and not any(h.binding.names_session for h in expectation.histories.values()):
        return "no file names a session"
    return why_no_session_document(row.id, expectation)


def _is_seen(histories: Iterable[History], expectation: Expectation) -> bool:
    return not all(history.path in expectation.unseen or history.is_one_link for history in histories)


def _opaque(expectation: Expectation) -> str:
    count = sum(
        1
        for path in expectation.names.published
        if (binding := expectation.bindings.of(path)) is not None and binding.format == "opaque"
    )
    return f"; {count} opaque, for the target's own check to judge" if count else ""


def _records(invariant: str, records: Sequence[ExpectedRecords], ack_ids: Sequence[str], note: str) -> str:
    if not records:
        return f"no file of records was seen{note}"
    if invariant in ("B5", "W9") and not ack_ids:
        return "no acknowledgement was seen"
    if all(r.undecided for r in records):
        return records[0].undecided
    if invariant in ("B2", "B4", "B8") and not any(r.binding.json for r in records):
        return "no record file holds JSON"
    return ""


def _conversations(invariant: str, expectation: Expectation) -> str:
    told = [each.conversation for each in expectation.told if each.conversation.messages]
    if not told:
        return "no transcript with messages was seen"
    records = [record for each in told for record in each.records]
    if invariant == "G5":
        named = any(
            r.binding.format == "transcript" and r.binding.id_key == "uuid" for r in expectation.records.values()
        )
        if expectation.masked or not named or not expectation.ack_ids:
            return "no acknowledgement names a record of a transcript by its uuid"
    if invariant == "G6" and not any(record.snapshot_of for record in records):
        return "no file-history-snapshot was seen"
    if invariant == "G7" and not any(is_side_chain(history.path) for history in expectation.transcripts()):
        return "no transcript of a sub-agent was seen"
    if invariant == "T7" and not any(record.boundary for record in records):
        return "no compaction was seen"
    if invariant == "T6" and not any(
        times > 1 for times in Counter(r.message_id for r in records if r.message_id).values()
    ):
        return "no message of several lines was seen"
    if invariant in _TOOL_ROWS and not any(
        block.get("type") in _TOOL_BLOCKS for r in records for block in r.blocks
    ):
        return "no tool call was seen"
    return ""
