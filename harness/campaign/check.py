"""The phase of a user's or target's own check: a program judges copies of crash states by its exit code.

The check is tested first. It must accept the state of the undisturbed run and reject some damage; one that does
not can prove nothing, and what only it could judge is *inconclusive*. One that neither accepts nor rejects the
state of the undisturbed run (another exit code, a signal, ten seconds) is *broken*.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from harness.campaign.context import Context, Measured
from harness.campaign.examine import check_violations, spread, state_result
from harness.campaign.executor import Call
from harness.campaign.programs import CheckRequest, run_check
from harness.campaign.trials import Result, Trial, harness_failure, run_trials
from harness.campaign.work import describe
from harness.catalog import ManifestError
from harness.core.damage import damaged
from harness.core.tree import EMPTY_TREE, Tree
from harness.core.verdict import Verdict
from harness.explore import CrashState
from harness.sandbox.command import CommandResult

SHORT_STATES = 60
"""How many states of cut writes a check is shown: enough to find a cut that matters, few enough for a budget."""
ACKED = "{acked}"
ACCEPTS_DAMAGE = "your check accepts an empty directory, files cut in half and files full of NULs"

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


def _ask(ctx: Context, measured: Measured, trees: tuple[Tree, ...]) -> tuple[CommandResult, ...] | str:
    """Return what the check says of each tree, all acknowledgements given; or why it could not be asked."""
    acks = measured.explored.recording.acks
    request = CheckRequest(
        spec=measured.case.subject.spec,
        argv=measured.case.subject.check,
        states=tuple((tree, acks) for tree in trees),
    )
    (outcome,) = ctx.executor.run([Call(run_check, (request,))])
    answers: tuple[CommandResult, ...] = outcome.value
    return harness_failure(outcome) or answers


def _canary(ctx: Context, measured: Measured) -> tuple[Verdict, str]:
    """Return what the check can be trusted with, and why that is not everything: *held* is a check that works."""
    final = measured.explored.recording.final
    answers = _ask(ctx, measured, (final,))
    if isinstance(answers, str):
        return "broken", f"your check could not be tested: {answers}"
    (whole,) = answers
    if whole.exit_code != 0:
        verdict: Verdict = "inconclusive" if whole.exit_code == 1 else "broken"
        return verdict, f"your check does not accept the state of an undisturbed run: {describe(whole)}"
    answers = _ask(ctx, measured, damaged_trees(final))
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


def _judge_check(trial: Trial, results: tuple[CommandResult, ...]) -> Result:
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

    A check that accepts damage, or rejects the undisturbed run, is not trusted. Raises :class:`ManifestError` for a
    check that asks for what is ambiguous.
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
            untrusted[case.id] = problem
            ctx.notice(problem, case)
            row = case.row("canary", f"{case.id}/canary/check", verdict, case.faults[0] if case.faults else "none")
            ctx.record(msgspec.structs.replace(row, note=problem))
        elif reason := _check_states(ctx, measured):
            unseen[case.id] = reason
    return Unchecked(untrusted, unseen)


def _check_states(ctx: Context, measured: Measured) -> str:
    """Let the check judge states, evenly spread; return which of a kill it did not see, or an empty string."""
    case, everything = measured.case, _trials(measured)
    if not everything:
        return ""
    ctx.phase("check", case, len(everything))
    kept_back = run_trials(ctx, everything, _judge_check, lambda _: not ctx.expired())
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
