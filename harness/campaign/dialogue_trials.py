"""One dialogue as a trial: the order that is drawn for it, the call that holds it, what it says, what is kept of it.

What the phases of dialogues (:mod:`harness.campaign.dialogues`), of cut lives (:mod:`harness.campaign.cutting`) and
replays have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from harness.campaign.context import Case, Context
from harness.campaign.dialoguing import DialogueOrder, carry_out, time_limit_s
from harness.campaign.executor import Call, Executor
from harness.campaign.observe import Observation
from harness.campaign.streams import stream
from harness.campaign.token import ReplayRecord, TokenError, encode
from harness.checks.dialogue import DIALOGUE_ROWS, judge_dialogue, unanswered_life
from harness.checks.dialogue_disk import transcript_of, wrong_on_disk
from harness.checks.dialogue_index import ROW as INDEX_ROW
from harness.checks.dialogue_index import wrong_in_index
from harness.core.api_script import shuffled
from harness.core.dialogue import DialogueSeen, quiet, undisturbed
from harness.core.fault import FaultClass, FaultPlan
from harness.core.verdict import Finding, TrialRow, Verdict, Violation

SPARE_S = 30.0
"""How much longer than its lives a call may take before it is ended: a cell and an API start and end with it."""


def order_of(seed: int, case: Case, index: int) -> DialogueOrder:
    """Return the ``index``-th dialogue of a case; 0 is the undisturbed one."""
    assert case.dialogue is not None
    # Not by version: what happens at one moment is compared between versions, and replayed on another.
    draw = stream(seed, "dialogues", f"{case.subject.target}/{case.subject.variant}", index)
    drawn = draw.getrandbits(48)
    lives, script = case.dialogue.lives, msgspec.structs.replace(shuffled(case.dialogue.script, draw), seed=drawn)
    if not index:
        lives, script = undisturbed(lives), quiet(script)
    return msgspec.structs.replace(case.dialogue, lives=lives, script=script, seed=drawn)


def holding(order: DialogueOrder, executor: Executor, key: Any) -> Call:
    """Return the call that holds a dialogue."""
    return Call(carry_out, (order, executor.canonical_base), key, time_limit_s(order) + SPARE_S)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What one dialogue says: its verdict, why it has none, what it violates."""

    verdict: Verdict
    note: str = ""
    violations: tuple[Violation, ...] = ()
    not_measured: Mapping[str, str] = {}


def judge(case_rows: frozenset[str], order: DialogueOrder, seen: DialogueSeen) -> Said:
    """Return what a dialogue says of the rows of its case. One that was not carried out whole says nothing."""
    why = unanswered_life(seen)
    if why:
        return Said(verdict="inconclusive", note=why)
    rows = [name for name in DIALOGUE_ROWS if name in case_rows]
    judged = judge_dialogue(seen, order.script, rows)
    not_measured = dict(judged.not_measured)
    violations = judged.violations + wrong_on_disk(seen.lives, case_rows)
    if not transcript_of(seen.lives[-1]):
        not_measured |= dict.fromkeys(case_rows - DIALOGUE_ROWS.keys() - {INDEX_ROW}, "it left no transcript")
    if INDEX_ROW in case_rows:
        in_index, why = wrong_in_index(seen)
        violations += in_index
        not_measured |= {INDEX_ROW: why} if why else {}
    if not_measured.keys() == case_rows:
        return Said(verdict="inconclusive", note=next(iter(not_measured.values())), not_measured=not_measured)
    return Said(verdict="violated" if violations else "held", violations=violations, not_measured=not_measured)


def restored(ctx: Context, trial_id: str, place: int) -> bool:
    """Return whether an interrupted run kept the row of a trial; then it is counted again. ``place``: in its phase."""
    row = ctx.done.get(trial_id)
    if row is None:
        return False
    ctx.ledger.restore(row, place)
    ctx.record(row)
    return True


def keep_broken(ctx: Context, case: Case, trial_id: str, fault_class: FaultClass, failure: str) -> None:
    """Keep the row of a trial at which the harness failed."""
    row = case.row("dialogue", trial_id, "broken", fault_class)
    ctx.record(msgspec.structs.replace(row, note=f"the harness failed: {failure}"))


def keep_said(
    ctx: Context, case: Case, row: TrialRow, seen: DialogueSeen, said: Said, place: int, **observed: Any
) -> None:
    """Keep what a dialogue says: its findings, then its ``row``. ``observed``: of each, how often and where."""
    observations = [
        Observation(
            violation=each, fault_class=row.fault_class, tree=seen.lives[-1].tree, dialogue=True, **observed
        )
        for each in said.violations
    ]
    names = ctx.ledger.observe(case, observations, row.trial_id, place)
    ctx.ledger.save(names)
    ctx.record(
        msgspec.structs.replace(row, findings=names, engine="dialogue", wall_ms=seen.wall_ms, cpu_ms=seen.cpu_ms)
    )


def token_of(ctx: Context, case: Case, finding: Finding, plan: FaultPlan | None = None) -> str:
    """Return what replays a finding: the scenario, and which of its dialogues showed it, or where it is struck."""
    number = "1" if plan is not None else str(finding.evidence.get("trial", "")).rpartition("/")[2]
    record = ReplayRecord(
        target=case.subject.target,
        variant=case.subject.variant,
        version=case.subject.version,
        kind="dialogue",
        scenario=case.part,
        workload={"dialogue": int(number) if number.isdecimal() else 0},
        seed=ctx.seed,
        plan=plan or FaultPlan(),
        fault_class=finding.fault_class,
        fingerprint=finding.fingerprint,
        invariant=finding.invariant,
        role=finding.role,
        damage=finding.damage,
    )
    try:
        return encode(record)
    except TokenError as error:
        ctx.notice(f"no token for finding {finding.fingerprint}: {error}", case)
        return ""
