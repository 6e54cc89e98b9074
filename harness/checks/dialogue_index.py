"""M6 for a client that held a dialogue: what its sessions index says after its last life, beside its transcripts.

An entry is to count all messages that stand in its transcript and to be as young as they are; none goes back and none
is lost from one life to the next. A client without an index owes nothing, and that is said.

Pure. Non-goals: how far a target's own manifest lets an index be behind (:mod:`harness.checks.index_invariants`).
"""

from __future__ import annotations

from itertools import pairwise

from harness.checks.binding import Bindings, FileBinding
from harness.checks.index_figures import entries_in
from harness.core.dialogue import DialogueSeen
from harness.core.drift import EntryFigures
from harness.core.verdict import Damage, Violation

ROW = "M6"
NO_INDEX = "writes no index"
_BINDINGS = (
    FileBinding(glob="**/sessions-index.json", format="index"),
    FileBinding(glob="**/projects/**/*.jsonl", format="transcript"),
)


def wrong_in_index(seen: DialogueSeen) -> tuple[tuple[Violation, ...], str]:
    """Return what the last life left wrong in its index, and why nothing can be said: it wrote none."""
    bindings = Bindings(_BINDINGS)
    entries = [entries_in(life.tree, bindings) for life in seen.lives]
    if not any(entries):
        return (), NO_INDEX
    number, last = len(entries), entries[-1]
    found = []
    if stale := [each for each in last.values() if each.found and not each.is_current]:
        found.append(_violation("stale", number, stale, _worst(stale)))
    if missing := [each for each in last.values() if not each.found]:
        found.append(_violation("missing", number, missing, "no entry for a transcript"))
    if back := [
        each for earlier, later in pairwise(entries) for each in later.values() if _went_back(earlier, each)
    ]:
        found.append(_violation("lost", number, back, "an entry went back, or is gone"))
    return tuple(found), ""


def _worst(stale: list[EntryFigures]) -> str:
    worst = max(stale, key=lambda each: (each.messages - each.count, each.behind_ms))
    return (
        f"an entry counts {worst.count} of {worst.messages} messages, {worst.behind_ms:,} ms behind its transcript"
    )


def _went_back(earlier: dict[str, EntryFigures], entry: EntryFigures) -> bool:
    before = earlier.get(entry.session)
    return before is not None and before.found and entry.modified_ms < before.modified_ms


def _violation(damage: Damage, life: int, entries: list[EntryFigures], said: str) -> Violation:
    return Violation(
        invariant=ROW,
        path=entries[0].index,
        damage=damage,
        message=f"after life {life}: {said}",
        ids=tuple(sorted(each.session for each in entries))[:6],
    )
