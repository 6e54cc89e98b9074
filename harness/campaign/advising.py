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
from harness.checks import Expectation, FileBinding
from harness.checks.tail_cut import TailCut
from harness.core.advice import Advice, Audit, Heal
from harness.core.fault import FaultClass
from harness.core.profile import Profile
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.explore.power.advice import advise
from harness.explore.power.audit import audit
from harness.explore.power.measure import LIMIT, LimitReachedError, Predicate

SECONDS = 60.0
"""CPU time one search may take, unless the caller says otherwise."""


def advice_for(
    trace: Trace,
    judged: Judged,
    profiles: Sequence[Profile],
    seed: int = 0,
    limit: int = LIMIT,
    seconds: float = SECONDS,
) -> Advice:
    """Return what would repair the writer of ``trace`` under ``profiles``: at most ``limit`` states, ``seconds`` CPU.

    Record files whose binding says that the next start heals them are judged as healed; for the others, healing is
    part of the advice where nothing else is enough.
    """
    healed, heals = _healed(trace, judged)
    late = _until(seconds)
    return advise(
        trace,
        profiles,
        _timely(_predicate(trace, judged), late),
        healing=_timely(_predicate(trace, healed), late),
        heals=heals,
        seed=seed,
        limit=limit,
    )


def audit_for(
    trace: Trace,
    judged: Judged,
    profiles: Sequence[Profile],
    seed: int = 0,
    limit: int = LIMIT,
    seconds: float = SECONDS,
) -> Audit:
    """Return under which of ``profiles`` each barrier of ``trace`` is load-bearing; bounded as :func:`advice_for`."""
    return audit(trace, profiles, _timely(_predicate(trace, judged), _until(seconds)), seed=seed, limit=limit)


def _predicate(trace: Trace, judged: Judged) -> Predicate:
    """Return the judge of the case's states, after what the bindings say that the next start heals."""
    expectation = Expectation.from_trace(trace, judged.bindings, masked=judged.masked)
    judge, tails = judge_for(expectation, judged), TailCut(judged.bindings, trace.start)

    def judges(tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        return judge.judge(tails.of(tree), acked, fault_class)

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
    expectation = Expectation.from_trace(trace, judged.bindings, masked=judged.masked)
    for path, records in expectation.records.items():
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
