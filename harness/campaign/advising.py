"""Advice and audit for one recorded case: what a campaign, or ``tornwrite trace``, asks a worker for.

Builds the predicates from how the case is judged, and ends the search when its time is up: what was found by then is
the answer, marked *unfinished*.

Non-goals: which cases are worth it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from harness.campaign.work import Judged, judge_for
from harness.checks import Bindings, Expectation, FileBinding
from harness.checks.tail_cut import TailCut
from harness.core.advice import Advice, Audit, Heal
from harness.core.apply import replay
from harness.core.fault import FaultClass
from harness.core.profile import Profile
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.explore.power.advice import advise
from harness.explore.power.audit import audit, barriers
from harness.explore.power.measure import LIMIT, LimitReachedError, Predicate

SECONDS = 60.0
"""CPU time one search may take, unless the caller says otherwise."""
NOTHING_JUDGED = "no file of this run is judged"
_SHOWN = 4
OPERATIONS = 120
"""Operations of a run that are looked at, up to an acknowledgement: a writer repeats itself, its states multiply."""


def advice_for(
    trace: Trace,
    judged: Judged,
    profiles: Sequence[Profile],
    seed: int = 0,
    limit: int = LIMIT,
    seconds: float = SECONDS,
) -> Advice:
    """Return what would repair the writer of ``trace`` under ``profiles``: at most ``limit`` states, ``seconds`` CPU.

    States are judged as a campaign judges them. Where nothing else is enough, healing the record files that the next
    start does not heal yet becomes part of the advice. Of a run none of whose files is judged the answer is
    *unfinished*, never "nothing to advise".
    """
    if not _owes(trace, judged):
        names = tuple(profile.name for profile in profiles)
        return Advice(outcome="unfinished", profiles=names, note=_noted(NOTHING_JUDGED, trace, judged))
    healed, heals = _healed(trace, judged)
    late = _until(seconds)
    found = advise(
        beginning(trace),
        profiles,
        _timely(_predicate(trace, judged), late),
        healing=_timely(_after_tail_cuts(trace, healed), late),
        heals=heals,
        seed=seed,
        limit=limit,
    )
    return msgspec.structs.replace(found, note=_noted(found.note, trace, judged))


def audit_for(
    trace: Trace,
    judged: Judged,
    profiles: Sequence[Profile],
    seed: int = 0,
    limit: int = LIMIT,
    seconds: float = SECONDS,
) -> Audit:
    """Return under which of ``profiles`` each barrier of ``trace`` is load-bearing; bounded as :func:`advice_for`."""
    if not _owes(trace, judged):
        names = tuple(profile.name for profile in profiles)
        return Audit(profiles=names, barriers=barriers(trace), note=_noted(NOTHING_JUDGED, trace, judged))
    predicate = _timely(_predicate(trace, judged), _until(seconds))
    found = audit(beginning(trace), profiles, predicate, seed=seed, limit=limit)
    return msgspec.structs.replace(found, note=_noted(found.note, trace, judged))


def beginning(trace: Trace, most: int = OPERATIONS) -> Trace:
    """Return the run up to its last acknowledgement among the first ``most`` operations; up to them if it has none.

    Its crash states are some of those of the whole run, so what the whole run owes is what they are judged by.
    """
    if len(trace.operations) <= most:
        return trace
    acks = [op.seq for op in trace.acks if op.seq < most]
    return msgspec.structs.replace(trace, operations=trace.operations[: acks[-1] + 1 if acks else most])


def _noted(note: str, trace: Trace, judged: Judged) -> str:
    """Return a note, and what was not looked at, or not judged."""
    notes = [note] if note else []
    shown = len(beginning(trace).operations)
    if shown < len(trace.operations):
        notes.append(f"looked at the first {shown:,} of {len(trace.operations):,} operations")
    unknown = _of_no_known_form(trace, judged)
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        notes.append(f"not judged, because nobody said what form it has: {', '.join(unknown[:_SHOWN])}{more}")
    partly = [item.undecided for item in _expectation(trace, judged).records.values() if item.undecided]
    notes += [f"not judged in full: {line}" for line in partly[:_SHOWN]]
    return "; ".join(notes)


def _of_no_known_form(trace: Trace, judged: Judged) -> list[str]:
    """Return the roles of the files that the run leaves and that nothing judges."""
    bindings, found = Bindings(judged.bindings), dict[str, None]()
    for path, file in replay(trace.start, trace.operations).files():
        binding = bindings.of(path)
        if trace.start.node_at(path) != file and (
            binding is None or not (binding.litter or binding.holds_records or binding.holds_document)
        ):
            found[path_role(path)] = None
    return sorted(found)


def _owes(trace: Trace, judged: Judged) -> bool:
    """Whether the run promises anything about any file."""
    expectation = _expectation(trace, judged)
    return bool(expectation.records or expectation.documents)


def _expectation(trace: Trace, judged: Judged) -> Expectation:
    return Expectation.from_trace(trace, judged.bindings, masked=judged.masked)


def _predicate(trace: Trace, judged: Judged) -> Predicate:
    """Return the judge of the case's states."""
    return judge_for(_expectation(trace, judged), judged).judge


def _after_tail_cuts(trace: Trace, judged: Judged) -> Predicate:
    """Return the judge of what a start that heals has made of the case's states."""
    judge, tails = _predicate(trace, judged), TailCut(judged.bindings, trace.start)

    def judges(tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        return judge(tails.of(tree), acked, fault_class)

    return judges


def _healed(trace: Trace, judged: Judged) -> tuple[Judged, tuple[Heal, ...]]:
    """Return the case as if every record file were healed, and which files that adds."""
    bindings: list[FileBinding] = []
    for binding in judged.bindings:
        changed = binding
        if binding.holds_records:
            turn = "closed" if binding.format == "transcript" else binding.open_turn
            changed = msgspec.structs.replace(binding, torn_tail="healed", open_turn=turn)
        bindings.append(changed)
    added = {before.glob for before, after in zip(judged.bindings, bindings, strict=True) if before != after}
    heals: dict[str, Heal] = {}
    for path, records in _expectation(trace, judged).records.items():
        if records.binding.glob in added:
            role = path_role(path)
            heals[role] = Heal(role=role, closes_turns=records.binding.format == "transcript")
    return msgspec.structs.replace(judged, bindings=tuple(bindings)), tuple(heals.values())


def _until(seconds: float) -> Callable[[], bool]:
    ends = time.process_time() + seconds
    return lambda: time.process_time() > ends


def _timely(predicate: Predicate, late: Callable[[], bool]) -> Predicate:
    def judges(tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        if late():
            raise LimitReachedError("the search ended when its time was up")
        return predicate(tree, acked, fault_class)

    return judges
