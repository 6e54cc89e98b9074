"""The findings of a campaign: one per cause, the same whatever order its trials end in.

Counts add up. The crash point and the evidence of a finding are those of the trial that comes first in the *plan*;
on disk, a finding always has those of the first trial that has a row, so an interrupted campaign goes on from there.
Findings of timed kills wait apart until it is known whether an exact finding is the same
(:func:`harness.campaign.aggregate.join_timed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from harness.campaign.observe import UNATTRIBUTED, Observation, finding_from
from harness.campaign.store import RunStore
from harness.core.json_record import decode_record, encode_document, encode_record
from harness.core.outline import TreeOutline, outline_of
from harness.core.verdict import Confirmation, Damage, Finding, TrialRow

if TYPE_CHECKING:
    from harness.campaign.context import Case

Order: TypeAlias = tuple[int, int, int]
"""Phase, trial within the phase's plan, violation within the trial."""


class Ledger:
    """Findings by key. ``content``: their evidence may quote bytes of files."""

    def __init__(self, store: RunStore, content: bool = False) -> None:
        self.content = content
        self._store = store
        self._findings: dict[str, Finding] = {}
        self._orders: dict[str, Order] = {}
        self._changed: dict[str, None] = {}
        self._left: dict[str, TreeOutline] = {}
        self._phase = 0
        # Read before anything is written: the proofs of an interrupted run outlive its findings being rebuilt.
        self._kept = store.findings()
        self.damages: dict[str, set[Damage]] = {}
        """Every kind of damage seen of a finding, by key."""

    def begin_phase(self) -> None:
        """Begin another phase: what it sees comes after everything that was seen before."""
        self._phase += 1

    def observe(
        self, case: Case, observations: Iterable[Observation], trial_id: str, index: int
    ) -> tuple[str, ...]:
        """Fold what one trial saw into the findings and return their keys, each once: a trial counts once for each.

        ``index`` is the trial's place in the plan of its phase.
        """
        keys: dict[str, None] = {}
        for observation in observations:
            finding = finding_from(case, observation, trial_id, self.content)
            if finding.key not in keys:
                if self._fold(finding, (self._phase, index, len(keys))) and observation.tree is not None:
                    self._left[finding.key] = outline_of(observation.tree, observation.violation.path)
                keys[finding.key] = None
        return tuple(keys)

    def _fold(self, finding: Finding, order: Order) -> bool:
        """Count a finding in; return whether its evidence is now that of its key."""
        known = self._findings.get(finding.key)
        self.damages.setdefault(finding.key, set()).add(finding.damage)
        if known is not None:
            base = finding if order < self._orders[finding.key] else known
            states = self._states(known, finding.states, order[0])
            finding = msgspec.structs.replace(
                base,
                states=states,
                runs=known.runs + finding.runs,
                profiles=tuple(dict.fromkeys(known.profiles + finding.profiles)),
                expected=known.expected and finding.expected if finding.profiles else base.expected,
            )
            order = min(order, self._orders[finding.key])
        fresh = known is None or order != self._orders[finding.key]
        if fresh:
            self._changed[finding.key] = None
        self._findings[finding.key] = finding
        self._orders[finding.key] = order
        return fresh

    def _states(self, known: Finding, more: int, phase: int) -> int:
        """Return the count with ``more`` states; a later phase looks again at states that are counted already."""
        again = self._orders[known.key][0] != phase and known.states
        return known.states if again else known.states + more

    def restore(self, row: TrialRow, index: int) -> None:
        """Count a trial of an interrupted run again. Raises :class:`StoreError` where its finding is not on disk."""
        for position, key in enumerate(row.findings):
            order = (self._phase, index, position)
            if key not in self._findings:
                self._findings[key] = msgspec.structs.replace(
                    self._read(key), states=0, runs=0, confirmation=Confirmation(), token=""
                )
                self._orders[key] = order
            known = self._findings[key]
            self._findings[key] = msgspec.structs.replace(
                known,
                states=self._states(known, row.states, self._phase),
                runs=known.runs + (not row.states),
            )

    def kept(self, key: str) -> Finding | None:
        """Return the finding as an interrupted run left it on disk."""
        return self._kept.get(key)

    def _read(self, key: str) -> Finding:
        raw = self._store.read_artifact(_waiting(key))
        if raw is not None:
            return decode_record(raw, Finding)
        return self._kept[key] if key in self._kept else self._store.read_finding(key)

    def save(self, keys: Iterable[str]) -> None:
        """Write the findings of ``keys`` whose evidence is new; before the row that names them."""
        for key in keys:
            if key not in self._changed:
                continue
            finding = self._findings[key]
            if finding.operation == UNATTRIBUTED:
                self._store.write_artifact(
                    _waiting(key), encode_document(msgspec.to_builtins(finding)).encode("ascii")
                )
            else:
                self._write(key)
            del self._changed[key]

    def settle(self, joined: dict[str, str]) -> None:
        """Count each finding in ``joined`` with the one it is the same as, and write those that stay alone."""
        for key, home in joined.items():
            runs = self._findings.pop(key).runs
            self._changed.pop(key, None)
            known = self._findings[home]
            self._findings[home] = msgspec.structs.replace(known, runs=known.runs + runs)
        for key, finding in self._findings.items():
            if finding.operation == UNATTRIBUTED:
                self._write(key)

    def _write(self, key: str) -> None:
        """Write a finding, and the outline of the state that is its evidence: once, it does not change by itself."""
        self._store.write_finding(key, self._findings[key])
        left = self._left.pop(key, None)
        if left is not None:
            self._store.write_artifact(f"findings/{key}/state.json", encode_record(left).encode("ascii") + b"\n")

    def replace(self, finding: Finding) -> None:
        """Put a finding with more known about it (its token, its confirmation) in place of the old one."""
        if finding.key not in self._findings:
            raise KeyError(finding.key)
        self._findings[finding.key] = finding

    def write(self, key: str) -> None:
        """Write a finding as it is now."""
        self._store.write_finding(key, self._findings[key])
        self._changed.pop(key, None)

    def __getitem__(self, key: str) -> Finding:
        return self._findings[key]

    def __iter__(self) -> Iterator[Finding]:
        """Yield the findings in the order of the plan."""
        return iter([self._findings[key] for key in sorted(self._findings, key=self._orders.__getitem__)])

    def by_key(self) -> dict[str, Finding]:
        """Return the findings by key, in the order of the plan."""
        return {finding.key: finding for finding in self}


def _waiting(key: str) -> str:
    return f"waiting/{key}.json"
