"""The phase of a user's or target's own check: a program judges copies of crash states by its exit code.

The check is tested first. It must accept something and reject some damage; one that does not can prove nothing, and
what only it could judge is *inconclusive*. If it rejects the state of the undisturbed run, and accepts one on the way
there, that is a finding: no fault needed. One that neither accepts nor rejects the
state of the undisturbed run (another exit code, a signal, ten seconds) is *broken*.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from harness.campaign.context import Context, Measured
from harness.campaign.examine import check_violations, spread, state_result
from harness.campaign.executor import Call
from harness.campaign.observe import Observation
from harness.campaign.programs import CheckRequest, run_check
from harness.campaign.trials import Result, Trial, harness_failure, run_trials
from harness.campaign.work import describe, last_words
from harness.catalog import ManifestError
from harness.core.damage import damaged
from harness.core.fault import NO_FAULTS, FaultClass
from harness.core.tree import EMPTY_TREE, Tree
from harness.core.verdict import Verdict
from harness.explore import CrashState
from harness.sandbox.command import CommandResult

SHORT_STATES = 60
"""How many states of cut writes a check is shown: enough to find a cut that matters, few enough for a budget."""
ACKED = "{acked}"
REJECTS_ALL = "your check rejects the state of an undisturbed run, and all on the way there"
NO_FAULT_NEEDED = "your check rejects the state of an undisturbed run: it takes no fault to break this program"
ACCEPTS_DAMAGE = "your check accepts an empty directory, files cut in half and files full of NULs"

_STATES_TRIED = 12
"""States on the way there that a check which rejects the end is tried on, before it is held to reject anything."""

State = tuple[Tree, tuple[str, ...]]
"""A tree, and the acknowledgements before it."""

_VERDICTS: dict[int | None, Verdict] = {0: "held", 1: "violated"}


def damaged_trees(tree: Tree) -> tuple[Tree, ...]:
    """Return ``tree`` emptied, with every file cut in half, and NUL-filled: no check may accept all three."""
    cut = nul = tree
    for path, _ in tree.files():
        cut, nul = damaged(cut, path, "torn"), damaged(nul, path, "nul")
    return EMPTY_TREE, cut, nul


def require_one_actor(measured: Measured) -> None:
    """Raise :class:`ManifestError` where ``{acked}`` could be the last acknowledgement of either of two actors."""
    case, trace = measured.case, measured.trace
    actors = dict.fromkeys(op.actor for op in trace.acks)
    if len(actors) > 1 and any(ACKED in word for word in case.subject.check):
        names = ", ".join(trace.actors[number].label for number in actors)
        raise ManifestError(
            f"--check: {ACKED} is ambiguous, {len(actors)} actors acknowledge ({names}); use {{acks}}, "
            "a file of all ids in order"
        )


def _ask(ctx: Context, measured: Measured, states: Iterable[State]) -> tuple[CommandResult, ...] | str:
    """Return what the check says of each tree with its acknowledgements; or why it could not be asked."""
    subject = measured.case.subject
    request = CheckRequest(spec=subject.spec, argv=subject.check, states=tuple(states))
    (outcome,) = ctx.executor.run([Call(run_check, (request,))])
    answers: tuple[CommandResult, ...] = outcome.value
    return harness_failure(outcome) or answers


def described(ctx: Context, result: CommandResult) -> str:
    """Say how a check ended, and what it complained of: it may quote the state, so only where content may be shown."""
    words = last_words(result.stderr)
    if words and not ctx.ledger.content:
        return f"{describe(result)} (--show-content says what it printed)"
    return describe(result) + (f"; it said: {words}" if words else "")


def _canary(ctx: Context, measured: Measured) -> tuple[Verdict, str]:
    """Return what the check can be trusted with, and why that is not everything: *held* is a check that works."""
    recording = measured.explored.recording
    answers = _ask(ctx, measured, [(recording.final, recording.acks)])
    if isinstance(answers, str):
        return "broken", f"your check could not be tested: {answers}"
    (whole,) = answers
    if whole.exit_code == 1:
        states = [(state.tree, recording.acks[: state.acked]) for state in spread(measured.killed)[:_STATES_TRIED]]
        answers = _ask(ctx, measured, states)
        if not isinstance(answers, str) and any(result.exit_code == 0 for result in answers):
            return "violated", NO_FAULT_NEEDED
        return "inconclusive", f"{REJECTS_ALL}: {described(ctx, whole)}"
    if whole.exit_code != 0:
        return "broken", f"your check cannot judge the state of an undisturbed run: {described(ctx, whole)}"
    answers = _ask(ctx, measured, [(tree, recording.acks) for tree in damaged_trees(recording.final)])
    if isinstance(answers, str):
        return "broken", f"your check could not be tested: {answers}"
    accepts = all(result.exit_code == 0 for result in answers)
    return ("inconclusive", ACCEPTS_DAMAGE) if accepts else ("held", "")


def _trials(measured: Measured) -> list[Trial]:
    """Return what the check is shown: the states of a kill, and of cut writes an even sample."""
    case, acks = measured.case, measured.explored.recording.acks
    shown: list[tuple[str, CrashState]] = []
    if "kill" in case.faults:
        shown += [(str(n), state) for n, state in enumerate(spread(measured.killed)[: case.check_max])]
    if "short" in case.faults:
        shown += [(f"short/{n}", state) for n, state in enumerate(spread(measured.cut)[:SHORT_STATES])]
    trials = []
    for name, state in shown:
        request = CheckRequest(
            spec=case.subject.spec, argv=case.subject.check, states=((state.tree, acks[: state.acked]),)
        )
        trials.append(Trial(f"{case.id}/check/{name}", measured, "state", run_check, (request,), state=state))
    return trials


def judge_check(trial: Trial, results: tuple[CommandResult, ...]) -> Result:
    """Return what a check's exit code says of a state."""
    (result,) = results
    verdict: Verdict = _VERDICTS.get(result.exit_code, "broken")
    note = f"check: {describe(result)}" if verdict == "broken" else ""
    return state_result(trial, verdict, check_violations(result), note)


def without_check(measured: Measured) -> Measured:
    """Return the case without its check: one that cannot be trusted judges nothing."""
    subject = msgspec.structs.replace(measured.case.subject, check=())
    return Measured(msgspec.structs.replace(measured.case, subject=subject), measured.explored)


class Unchecked(NamedTuple):
    """What the checks leave open, by case id: why a check proves nothing at all, and which states it did not see."""

    untrusted: dict[str, str]
    unseen: dict[str, str]


def check_phase(ctx: Context, cases: Iterable[Measured]) -> Unchecked:
    """Let each case's own check judge its crash states.

    A check that accepts damage, or rejects all it is shown, is not trusted. Raises :class:`ManifestError` for a check
    that asks for what is ambiguous.
    """
    cases = [measured for measured in cases if measured.case.subject.check]
    for measured in cases:
        require_one_actor(measured)
    untrusted: dict[str, str] = {}
    unseen: dict[str, str] = {}
    for measured in cases:
        case = measured.case
        verdict, problem = _canary(ctx, measured)
        if problem:
            ctx.notice(problem, case)
            if ctx.split.has(case, "states"):
                _keep_canary(ctx, measured, verdict, problem)
        if problem and verdict != "violated":
            untrusted[case.id] = problem
        elif reason := _check_states(ctx, measured):
            unseen[case.id] = reason
    return Unchecked(untrusted, unseen)


def _keep_canary(ctx: Context, measured: Measured, verdict: Verdict, problem: str) -> None:
    """Keep the row of a check that failed its test; a state it rejects without a fault is a finding of its own."""
    case, trial_id = measured.case, f"{measured.case.id}/canary/check"
    fault_class: FaultClass = "none" if verdict == "violated" else next(iter(case.faults), "none")
    names: tuple[str, ...] = ()
    if verdict == "violated":
        (violation,) = check_violations(CommandResult(exit_code=1))
        final = measured.explored.recording.final
        seen = Observation(violation=violation, fault_class="none", plan=NO_FAULTS, runs=1, tree=final)
        ctx.ledger.begin_phase()
        names = ctx.ledger.observe(case, [seen], trial_id, 0)
        ctx.ledger.save(names)
    row = case.row("canary", trial_id, verdict, fault_class)
    ctx.record(msgspec.structs.replace(row, note=problem, findings=names))


def _check_states(ctx: Context, measured: Measured) -> str:
    """Let the check judge states, evenly spread; return which of a kill it did not see, or an empty string."""
    case, everything = measured.case, _trials(measured)
    if not everything:
        return ""
    ctx.phase("check", case, len(everything))
    kept_back = run_trials(ctx, everything, judge_check, lambda _: not ctx.expired())
    if "short" in case.faults:
        cuts = sum(trial.fault_class == "short" for trial in everything)
        cuts -= sum(trial.fault_class == "short" for trial in kept_back)
        ctx.notice(f"{cuts:,} of {len(measured.cut):,} cuts of its writes were shown to its check", case)
    trials = [trial for trial in everything if trial.fault_class == "kill"]
    left = [trial for trial in kept_back if trial.fault_class == "kill"]
    possible = len(measured.killed) if "kill" in case.faults else 0
    if not left and len(trials) == possible:
        return ""
    why = "the budget is used up (--budget)" if left else f"at most {case.check_max:,} are shown to a check"
    reason = f"{len(trials) - len(left):,} of {possible:,} states were checked: {why}"
    ctx.notice(reason, case)
    return reason
