"""What real programs say of a tree: the target's own recovery and lister, a user's or target's own check.

And the phase that shows a sample of crash states to recovery and lister. Each program runs on its own copy of a
state, at the recording's own absolute path, for at most ten seconds; a slow target is shown fewer states, spread
evenly, which is said.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from harness.campaign.context import Context, Measured
from harness.campaign.observe import Observation, observed_loss
from harness.campaign.programs import RESUME, CommandOutcome, CommandRequest, Commands, inspect, resume_commands
from harness.campaign.trials import Result, Trial, run_trials, serious
from harness.campaign.work import describe
from harness.catalog import Subject, found_session, parse_listing, parse_losses
from harness.checks import LossReport, judge_listing, judge_recovery
from harness.checks.condition import Conditions, by_condition
from harness.core.fault import FaultClass
from harness.core.json_record import RecordError, encode_record, parse_json
from harness.core.tree import Tree
from harness.core.verdict import TrialRow, Verdict, Violation
from harness.explore import CrashState
from harness.sandbox.command import CommandResult

CHECK_INVARIANT = "check"
"""The name findings of a user's or target's own check carry in place of an invariant's id."""

RECOVERY_SECONDS = 10.0
"""Wall time after which a case is shown no further states, once :data:`RECOVERY_LEAST` were."""
RECOVERY_LEAST = 4

_SAID_MAX = 2_000
"""Longest line of a check that is kept, in characters."""

T = TypeVar("T")


def outcome_violations(
    measured: Measured,
    tree: Tree,
    acked: int,
    outcomes: Iterable[CommandOutcome],
    fault_class: FaultClass = "kill",
) -> tuple[Violation, ...]:
    """Return what the target's own programs did wrong on ``tree``; failing or hanging is *unreadable*."""
    found: list[Violation] = []
    listed: CommandResult | None = None
    resumed: dict[str, bool] = {}
    for outcome in outcomes:
        result = outcome.result
        if outcome.name.startswith(RESUME):
            if not result.not_started:
                found_it = result.exit_code == 0 and found_session(result.stdout)
                resumed[outcome.name.removeprefix(RESUME)] = found_it
        elif result.exit_code != 0:
            found.append(unreadable("B7" if outcome.name == "recover" else "M4", outcome.name, result))
        elif outcome.name == "recover":
            found += _recovery_violations(measured, tree, acked, outcome, fault_class)
        else:
            listed = result
    invariants = measured.case.invariants or None
    found = [item for item in found if invariants is None or item.invariant in invariants]
    if listed is not None or resumed:
        listing = parse_listing(listed.stdout) if listed is not None else None
        found += judge_listing(
            tree,
            measured.explored.judged.bindings,
            listing.ids if listing is not None else None,
            listing.warned if listing is not None else (),
            resumed=resumed,
            acked=acked,
            expectation=measured.expectation,
            fault_class=fault_class,
            invariants=invariants,
        )
    return tuple(found)


def _recovery_violations(
    measured: Measured, tree: Tree, acked: int, outcome: CommandOutcome, fault_class: FaultClass
) -> Iterator[Violation]:
    stdout, second = outcome.result.stdout, outcome.second
    repeated = second is not None and second.exit_code == 0
    if second is not None and not repeated:
        yield unreadable("W10", "second recover", second)
    yield from judge_recovery(
        tree,
        outcome.after,
        measured.expectation,
        acked,
        fault_class,
        appended_id=_acknowledged(measured.case.subject, stdout),
        again=outcome.again if repeated else None,
        lost=[LossReport(field, name) for field, name in parse_losses(stdout)],
        invariants=measured.case.invariants or None,
    )


def _acknowledged(subject: Subject, stdout: bytes) -> str:
    """Return the id that ``recover`` acknowledged last, or an empty string."""
    pattern = re.compile(subject.spec.ack)
    found = [
        match["id"] for line in stdout.decode("utf-8", "replace").splitlines() if (match := pattern.match(line))
    ]
    return found[-1] if found else ""


def unreadable(invariant: str, command: str, result: CommandResult) -> Violation:
    """Return the violation that a failing or hanging program of the target itself is."""
    return Violation(
        invariant=invariant,
        path="",
        damage="unreadable",
        message=f"the target's own {command} fails on this state: {describe(result)}",
    )


def check_violations(result: CommandResult | None) -> tuple[Violation, ...]:
    """Return the violation that a check's exit code 1 is; nothing for another code, or where no check ran."""
    if result is None or result.exit_code != 1:
        return ()
    return (
        Violation(
            invariant=CHECK_INVARIANT,
            path="",
            damage="other",
            message="the check rejects this state (exit code 1)",
            said=_said(result.stdout),
        ),
    )


def _said(stdout: bytes) -> str:
    """Return the last line of a check's output if it is a JSON object with a ``verdict``: that is kept as evidence."""
    lines = stdout.decode("utf-8", "surrogateescape").splitlines()
    try:
        value = parse_json(lines[-1]) if lines else None
    except RecordError:
        return ""
    if not isinstance(value, dict) or "verdict" not in value:
        return ""
    text = encode_record(value)
    return text if len(text) <= _SAID_MAX else ""


def judging_commands(subject: Subject) -> Commands:
    """Return the target's own programs that judge a state, by name."""
    commands = (("recover", subject.recover), ("list", subject.list_command))
    return tuple((name, argv) for name, argv in commands if argv)


def commands_for(measured: Measured, tree: Tree) -> Commands:
    """Return the programs that judge one state: the target's own, and its resume of the sessions that it must find."""
    subject = measured.case.subject
    bindings = measured.explored.judged.bindings
    return (*judging_commands(subject), *resume_commands(subject.resume, tree, bindings, subject.spec.start))


def spread(items: Sequence[T]) -> list[T]:
    """Return the items reordered: the last, the first, the middle, the quarters, …: any beginning is an even sample."""
    order = dict.fromkeys([len(items) - 1, 0] if items else [])
    parts = 2
    while len(order) < len(items):
        order |= dict.fromkeys(round(index * (len(items) - 1) / parts) for index in range(1, parts))
        parts *= 2
    return [items[index] for index in order]


def state_result(trial: Trial, verdict: Verdict, violations: Iterable[Violation], note: str = "") -> Result:
    """Return the row and the observations of one crash state that real programs looked at."""
    measured, state = trial.measured, trial.state
    assert state is not None
    row: TrialRow = msgspec.structs.replace(
        trial.case.row(trial.kind, trial.id, verdict, trial.fault_class, trial.profile),
        states=1,
        engine=measured.explored.recording.engine,
        note=note,
    )
    if trial.loss is not None:
        lost = (observed_loss(item, trial.loss, tree=state.tree, seq=state.seq) for item in violations)
        return Result(row, tuple(lost))
    point = measured.place_of(state)
    seen = tuple(
        Observation(violation=item, fault_class=trial.fault_class, point=point, states=1, tree=state.tree)
        for item in violations
    )
    return Result(row, seen)


def judge_inspection(trial: Trial, outcomes: tuple[CommandOutcome, ...]) -> Result:
    """Return what recovery and lister made of a state."""
    state = trial.state
    assert state is not None
    found = serious(outcome_violations(trial.measured, state.tree, state.acked, outcomes, trial.fault_class))
    return state_result(trial, "violated" if found else "held", found)


def within_patience(ctx: Context) -> Callable[[Trial], bool]:
    """Return what says whether a trial may start: a slow target is shown fewer states, not none."""
    first_start: dict[str, float] = {}
    shown: dict[str, int] = {}

    def may_start(trial: Trial) -> bool:
        name = trial.case.id
        begun = first_start.setdefault(name, time.monotonic())
        late = ctx.expired() or time.monotonic() - begun > RECOVERY_SECONDS
        if late and shown.get(name, 0) >= RECOVERY_LEAST:
            return False
        shown[name] = shown.get(name, 0) + 1
        return True

    return may_start


def telling(measured: Measured, states: Sequence[CrashState]) -> list[CrashState]:
    """Return the states so that any beginning is a sample: one of each condition, evenly spread over the run."""
    spread_out = spread(states)
    conditions = Conditions(measured.expectation.bindings)
    return by_condition(spread_out, (conditions.of(state.tree) for state in spread_out))


def _shown(measured: Measured) -> Iterator[tuple[str, CrashState]]:
    """Yield what recovery and lister are shown, each with the end of its id: states of kills, and of cut writes."""
    limit = measured.case.sample_max
    for name, states in (("kill", measured.killed), ("short", measured.cut)):
        if name in measured.case.faults:
            for index, state in enumerate(telling(measured, states)[:limit]):
                yield (str(index) if name == "kill" else f"{name}/{index}"), state


def recovery_phase(ctx: Context, cases: Iterable[Measured]) -> None:
    """Run each case's ``recover`` and ``list`` on a sample of its crash states and judge what they leave and say."""
    trials: list[Trial] = []
    for measured in ctx.split.of(cases, "states"):
        case = measured.case
        if not (judging_commands(case.subject) or case.subject.resume):
            continue
        samples = list(_shown(measured)) if case.sample_max else []
        if not samples:
            continue
        ctx.phase("recover", case, len(samples))
        for name, state in samples:
            commands = commands_for(measured, state.tree)
            request = CommandRequest(spec=case.subject.spec, state=state.tree, commands=commands)
            trials.append(Trial(f"{case.id}/recover/{name}", measured, "state", inspect, (request,), state=state))
    for name, number in _by_case(run_trials(ctx, trials, judge_inspection, within_patience(ctx))).items():
        planned = sum(trial.case.id == name for trial in trials)
        case = next(trial.case for trial in trials if trial.case.id == name)
        ctx.notice(f"recover and list looked at {planned - number} of {planned} states: time used up", case)


def _by_case(trials: Iterable[Trial]) -> dict[str, int]:
    out: dict[str, int] = {}
    for trial in trials:
        out[trial.case.id] = out.get(trial.case.id, 0) + 1
    return out
