"""The phase of damage: what a target's own programs make of a document that something else has damaged.

A writer that replaces its documents never tears one, so no crash of its own shows what its start, its lister and its
resume do with one that a power loss, an older version or another program has left torn, empty or full of NULs. Each
document of the undisturbed run's tree is damaged in each way, a few of each role, and the programs are started on it.

Repairing is writing, too: one recovery per role is recorded on a torn document, and killed everywhere. What that
leaves is shown to the programs again.

Non-goals: whether the writer can bring the damage about; records, whose torn tails crash states have already.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import NamedTuple, get_args

import msgspec

from harness.campaign.context import Context, Measured
from harness.campaign.examine import commands_for, judging_commands, outcome_violations, spread
from harness.campaign.executor import Call
from harness.campaign.observe import Observation
from harness.campaign.programs import CommandOutcome, CommandRequest, inspect, run_repair
from harness.campaign.trials import (
    Result,
    Trial,
    cut_repair,
    harness_failure,
    point_of,
    run_trials,
    serious,
    within_budget,
)
from harness.core.damage import damaged
from harness.core.fault import NO_FAULTS, Damaged, FaultPlan, FileDamage, Kill
from harness.core.role import path_role
from harness.core.run import Recording
from harness.core.tree import Tree
from harness.core.verdict import TrialRow, Violation

FILES_PER_ROLE = 4
PHASE_SECONDS = 300.0
"""Wall time after which no further start is made, and what held is not measured."""
STARTS = 24
"""How many damaged trees the programs of one case are started on, and as many that a kill of its recovery left."""
_TRIALS = "/recover/damage/"


class Start(NamedTuple):
    """A damage to try, and the tree that it leaves."""

    damage: Damaged
    tree: Tree

    @property
    def role(self) -> str:
        """The role of the damaged file's path."""
        return path_role(self.damage.path)


Documents = dict[str, list[tuple[str, str]]]
"""The documents that a run leaves, by path role: path and format of each."""


def documents_of(measured: Measured) -> Documents:
    """Return the documents that can be damaged."""
    found: Documents = {}
    for path, file in sorted(measured.explored.recording.final.files()):
        binding = measured.expectation.bindings.of(path)
        if binding is not None and binding.holds_document and file.content.size > 1:
            found.setdefault(path_role(path), []).append((path, binding.format))
    return found


def _few(documents: Documents) -> Iterator[tuple[str, str]]:
    """Yield some of each role, the first and the last among them: names are often in the order of age."""
    for same in documents.values():
        yield from same if len(same) <= FILES_PER_ROLE else [*same[: FILES_PER_ROLE - 1], same[-1]]


def starts_of(measured: Measured, documents: Documents) -> list[Start]:
    """Return the damage to try, a few files of each role, all in the first way, then all in the next.

    Old is no damage where nothing could tell: only an index says again what transcripts say.
    """
    recording = measured.explored.recording
    few, out = list(_few(documents)), list[Start]()
    for damage in get_args(FileDamage):
        for path, kind in few:
            tree = damaged(recording.final, path, damage, recording.spec.start)
            if (damage != "stale" or kind == "index") and tree.key != recording.final.key:
                out.append(Start(Damaged(path=path, damage=damage), tree))
    return out


def damage_phase(ctx: Context, cases: Iterable[Measured]) -> dict[str, str]:
    """Start each case's programs on damaged documents, and kill its recovery of them; judge what they leave and say.

    Return, by case id, what was left out, and why: a case that held so far is not measured then.
    """
    cases = [
        item for item in ctx.split.of(cases, "damage") if "damage" in item.case.faults and item.case.sample_max
    ]
    cases = [item for item in cases if judging_commands(item.case.subject) or item.case.subject.resume]
    cut: dict[str, str] = {}
    starts: list[Trial] = []
    repaired: list[tuple[Measured, list[Start]]] = []
    for item in cases:
        documents = documents_of(item)
        planned_starts = starts_of(item, documents)
        _say_what_is_left_out(ctx, item, documents, planned_starts)
        starts += [
            _trial(item, str(index), start.tree, FaultPlan(faults=(start.damage,)))
            for index, start in enumerate(planned_starts[:STARTS])
        ]
        if item.case.subject.recover:
            repaired.append((item, planned_starts))
    kills = _killed_repairs(ctx, repaired, cut)
    trials = [trial for pair in zip_longest(starts, kills) for trial in pair if trial is not None]
    left = run_trials(ctx, trials, _judge, _within(ctx))
    for item in cases:
        planned, missed = (sum(trial.measured is item for trial in each) for each in (trials, left))
        if missed:
            cut[item.case.id] = f"its programs saw {planned - missed} of {planned} damaged trees: time used up"
            ctx.notice(cut[item.case.id], item.case)
    return cut


def _within(ctx: Context) -> Callable[[Trial], bool]:
    """Return what says whether a trial may start: a control always, others while there is budget and time."""
    begun, may_start = time.monotonic(), within_budget(ctx)

    def within(trial: Trial) -> bool:
        late = time.monotonic() - begun > PHASE_SECONDS and not trial.case.control
        return may_start(trial) and not late

    return within


def _trial(measured: Measured, name: str, tree: Tree, plan: FaultPlan) -> Trial:
    request = CommandRequest(spec=measured.case.subject.spec, state=tree, commands=commands_for(measured, tree))
    return Trial(f"{measured.case.id}{_TRIALS}{name}", measured, "damage", inspect, (request,), plan=plan)


def _say_what_is_left_out(ctx: Context, measured: Measured, documents: Documents, starts: list[Start]) -> None:
    tried = Counter(path_role(path) for path in {start.damage.path for start in starts})
    for role, same in documents.items():
        if len(same) > tried[role]:
            ctx.notice(f"{tried[role]} of {len(same)} files like {role} are damaged", measured.case)
    if len(starts) > STARTS:
        ctx.notice(f"{STARTS} of {len(starts)} damaged trees are shown to its programs", measured.case)
    if starts:
        ctx.phase("damage", measured.case, min(STARTS, len(starts)))


def _killed_repairs(ctx: Context, cases: list[tuple[Measured, list[Start]]], cut: dict[str, str]) -> list[Trial]:
    """Record one recovery per role on a torn document and judge it; return trials of what kills of it leave."""
    calls = []
    for number, (measured, starts) in enumerate(cases):
        torn: dict[str, Start] = {}
        for start in starts:
            if start.damage.damage == "torn":
                torn.setdefault(start.role, start)
        subject = measured.case.subject
        for start in torn.values():
            arguments = (ctx.engine, subject.spec, subject.recover, start.tree, NO_FAULTS)
            calls.append(Call(run_repair, arguments, (number, start.damage)))
    ctx.ledger.begin_phase()
    trials: list[list[Trial]] = []
    # In the order of the plan, whatever the order of completion.
    for outcome in sorted(ctx.executor.run(calls), key=lambda each: (each.key[0], each.key[1].path)):
        number, damage = outcome.key
        (measured, _), failure = cases[number], harness_failure(outcome)
        problem = failure or _unseen(outcome.value)
        if problem:
            cut[measured.case.id] = f"its recovery of {path_role(damage.path)} was not killed: {problem}"
            ctx.notice(cut[measured.case.id], measured.case)
        elif outcome.value.ended_as_told:  # one that fails is a finding of the plain start
            repair = Measured(measured.case, msgspec.structs.replace(measured.explored, recording=outcome.value))
            _keep_whole(ctx, measured, damage, repair, number)
            trials.append(list(_killed(measured, damage, repair)))
    return [trial for each in zip_longest(*trials) for trial in each if trial is not None]


def _unseen(recording: Recording) -> str:
    """Return why nothing can be read from a recording of a recovery, or an empty string."""
    if recording.differences:
        return "the recording does not verify"
    if recording.trace is not None and (recording.trace.unseen or recording.trace.unseen_paths):
        return "; ".join(recording.trace.unseen) or "it writes in a way that is not seen"
    return ""


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
    trial_id = f"{measured.case.id}{_TRIALS}{path_role(damage.path)}/cut"
    names = ctx.ledger.observe(measured.case, seen, trial_id, place)
    ctx.ledger.save(names)
    row = _row(measured, trial_id, FaultPlan(faults=(damage,)), bool(seen))
    ctx.record(msgspec.structs.replace(row, findings=names))


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
    row = _row(trial.measured, trial.id, plan, bool(violations))
    return Result(row, tuple(_seen(violations, plan, request.state)))


def _row(measured: Measured, trial_id: str, plan: FaultPlan, violated: bool) -> TrialRow:
    row: TrialRow = msgspec.structs.replace(
        measured.case.row("damage", trial_id, "violated" if violated else "held", "damage"),
        crash_point=point_of(plan),
        fault=msgspec.to_builtins(plan),
        engine=measured.explored.recording.engine,
    )
    return row


def _seen(violations: Iterable[Violation], plan: FaultPlan, tree: Tree) -> Iterator[Observation]:
    for item in violations:
        yield Observation(violation=item, fault_class="damage", point=point_of(plan), plan=plan, runs=1, tree=tree)
