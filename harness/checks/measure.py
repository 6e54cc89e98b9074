"""What was not measured is never "held": why an invariant says nothing about a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.checks.expectation import Expectation, ExpectedRecords
from harness.checks.invariant import Invariant, Scope
from harness.checks.versions import History
from harness.core.fault import FaultClass

_TREE_SCOPES: tuple[Scope, ...] = ("file", "names", "tree")
FURTHER_SCOPES: tuple[Scope, ...] = ("trace", "outcome", "recovery", "listing")
"""What can be judged besides trees."""

_NEEDS: Mapping[Scope, str] = {
    "trace": "the operations of a run",
    "outcome": "runs with a refused operation, whose outcome two undisturbed runs agree on",
    "recovery": "the target's own recovery, run on a damaged state",
    "listing": "the target's own listing of a damaged state",
}
_RECORDS = frozenset({"B1", "B2", "B4", "B5", "B6", "B7", "B8"})


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
    if row.id == "M1" and not documents:
        return f"no document was seen{note}"
    if row.id in ("B3", "M8") and not documents and not records:
        return f"no file with a known format was seen{note}"
    if row.id == "W6" and not any(r.binding.json for r in records):
        return f"no file of JSON records was seen{note}"
    if row.id in ("W2", "M4") and not any(h.binding.names_session for h in expectation.histories.values()):
        return "no file names a session"
    return ""


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
    if invariant == "B5" and not ack_ids:
        return "no acknowledgement was seen"
    if all(r.undecided for r in records):
        return records[0].undecided
    if invariant in ("B2", "B4", "B8") and not any(r.binding.json for r in records):
        return "no record file holds JSON"
    return ""
