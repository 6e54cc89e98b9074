"""The phase of damage: what a target's own programs make of a document that something else has damaged.

A writer that replaces its documents never tears one, so no crash of its own shows what its start, its lister and its
resume do with one that a power loss, an older version or another program has left torn, empty or full of NULs. Each
document of the undisturbed run's tree is damaged in each way, a few of each role, and the programs are started on it.

Repairing is writing, too: one recovery per role is recorded on a torn document, and killed everywhere. What that
leaves is shown to the programs again.

Non-goals: whether the writer can bring the damage about; records, whose torn tails crash states have already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

import msgspec

from harness.campaign.context import Context, Measured
from harness.campaign.examine import commands_for, judging_commands, outcome_violations, spread, within_patience
from harness.campaign.executor import Call
from harness.campaign.observe import Observation
from harness.campaign.programs import CommandOutcome, CommandRequest, inspect, run_repair
from harness.campaign.trials import Result, Trial, cut_repair, harness_failure, point_of, run_trials, serious
from harness.core.damage import damaged
from harness.core.fault import NO_FAULTS, Damaged, FaultPlan, FileDamage, Kill
from harness.core.role import path_role
from harness.core.tree import Tree
from harness.core.verdict import TrialRow, Violation

FILES_PER_ROLE = 4
STARTS = 24
"""How many damaged trees the programs of one case are started on, and as many that a kill of its recovery left."""
_TRIALS = "/recover/damage/"


def damages_of(measured: Measured) -> list[Damaged]:
    """Return the damage to try, a few files of each role, all in the first way, then all in the next.

    Old is no damage where nothing could tell: only an index says again what transcripts say.
    """
    recording = measured.explored.recording
    documents: dict[str, list[tuple[str, str]]] = {}
    for path, file in sorted(recording.final.files()):
        binding = measured.expectation.bindings.of(path)
        if binding is not None and binding.holds_document and file.content.size > 1:
            documents.setdefault(path_role(path), []).append((path, binding.format))
    few = [item for same in documents.values() for item in same[:FILES_PER_ROLE]]
    return [
        Damaged(path=path, damage=damage)
        for damage in get_args(FileDamage)
        for path, kind in few
        if damage != "stale" or kind == "index"
        if _tree(measured, Damaged(path=path, damage=damage)).key != recording.final.key
    ]


def _tree(measured: Measured, damage: Damaged) -> Tree:
    recording = measured.explored.recording
    return damaged(recording.final, damage.path, damage.damage, recording.spec.start)


def damage_phase(ctx: Context, cases: Iterable[Measured]) -> None:
    """Start each case's programs on damaged documents, and kill its recovery of them; judge what they leave and say."""
    cases = [item for item in cases if "damage" in item.case.faults and item.case.sample_max]
    cases = [item for item in cases if judging_commands(item.case.subject) or item.case.subject.resume]
    trials = [trial for item in cases for trial in _starts(ctx, item)]
    trials += _killed_repairs(ctx, [item for item in cases if item.case.subject.recover])
    left = run_trials(ctx, trials, _judge, within_patience(ctx))
    for item in cases:
        planned, missed = (sum(trial.measured is item for trial in each) for each in (trials, left))
        if missed:
            ctx.notice(f"its programs saw {planned - missed} of {planned} damaged trees: time used up", item.case)


def _trial(measured: Measured, name: str, tree: Tree, plan: FaultPlan) -> Trial:
    request = CommandRequest(spec=measured.case.subject.spec, state=tree, commands=commands_for(measured, tree))
    return Trial(f"{measured.case.id}{_TRIALS}{name}", measured, "damage", inspect, (request,), plan=plan)


def _starts(ctx: Context, measured: Measured) -> Iterator[Trial]:
    damages = damages_of(measured)
    if len(damages) > STARTS:
        ctx.notice(f"{STARTS} of {len(damages)} damaged trees are shown to its programs", measured.case)
    if damages:
        ctx.phase("damage", measured.case, min(STARTS, len(damages)))
    for index, damage in enumerate(damages[:STARTS]):
        yield _trial(measured, str(index), _tree(measured, damage), FaultPlan(faults=(damage,)))


def _killed_repairs(ctx: Context, cases: list[Measured]) -> list[Trial]:
    """Record one recovery per role on a torn document and judge it; return trials of what kills of it leave."""
    calls = []
    for number, measured in enumerate(cases):
        subject, roles = measured.case.subject, set[str]()
        for damage in damages_of(measured):
            if damage.damage == "torn" and path_role(damage.path) not in roles:
                roles.add(path_role(damage.path))
                arguments = (ctx.engine, subject.spec, subject.recover, _tree(measured, damage), NO_FAULTS)
                calls.append(Call(run_repair, arguments, (number, damage)))
    ctx.ledger.begin_phase()
    trials: list[Trial] = []
    for outcome in ctx.executor.run(calls):
        number, damage = outcome.key
        measured, failure = cases[number], harness_failure(outcome)
        if failure:
            ctx.notice(f"a recovery could not be recorded: {failure}", measured.case)
        elif outcome.value.ended_as_told and not outcome.value.differences:
            repair = Measured(measured.case, msgspec.structs.replace(measured.explored, recording=outcome.value))
            _keep_whole(ctx, measured, damage, repair, number)
            trials += _killed(measured, damage, repair)
    return sorted(trials, key=lambda trial: trial.id)


def _keep_whole(ctx: Context, measured: Measured, damage: Damaged, repair: Measured, place: int) -> None:
    """Judge every state that a kill of this recovery can leave by what it has destroyed there; keep the row."""
    start = repair.explored.recording.spec.start
    seen: list[Observation] = []
    for state in repair.killed:
        point = repair.place_of(state)
        if point is not None:
            plan = FaultPlan(faults=(damage, Kill(at=point)))
            found = serious(cut_repair(measured, start, state.tree))
            seen += _seen(found, plan, state.tree)
    trial = _trial(measured, f"{path_role(damage.path)}/cut", start, FaultPlan(faults=(damage,)))
    names = ctx.ledger.observe(measured.case, seen, trial.id, place)
    ctx.ledger.save(names)
    ctx.record(msgspec.structs.replace(_row(trial, bool(seen)), findings=names))


def _killed(measured: Measured, damage: Damaged, repair: Measured) -> Iterator[Trial]:
    """Yield a trial for a sample of the states that a kill of this recovery can leave."""
    for index, state in enumerate(spread(repair.killed)[:STARTS]):
        point = repair.place_of(state)
        if point is not None:
            plan = FaultPlan(faults=(damage, Kill(at=point)))
            yield _trial(measured, f"{path_role(damage.path)}/{index}", state.tree, plan)


def _judge(trial: Trial, outcomes: tuple[CommandOutcome, ...]) -> Result:
    (request,) = trial.args
    acked = len(trial.measured.explored.recording.acks)
    found = outcome_violations(trial.measured, request.state, acked, outcomes, "damage")
    violations = serious(found)
    plan = trial.plan
    assert plan is not None
    return Result(_row(trial, bool(violations)), tuple(_seen(violations, plan, request.state)))


def _row(trial: Trial, violated: bool) -> TrialRow:
    plan = trial.plan
    assert plan is not None
    row: TrialRow = msgspec.structs.replace(
        trial.case.row(trial.kind, trial.id, "violated" if violated else "held", "damage"),
        crash_point=point_of(plan),
        fault=msgspec.to_builtins(plan),
        engine=trial.measured.explored.recording.engine,
    )
    return row


def _seen(violations: Iterable[Violation], plan: FaultPlan, tree: Tree) -> Iterator[Observation]:
    for item in violations:
        yield Observation(violation=item, fault_class="damage", point=point_of(plan), plan=plan, runs=1, tree=tree)
