"""Real programs look at states that a power loss leaves: a check, the target's own recovery and lister.

They see a sample of the distinct states of each profile, evenly spread over the run and of every condition, as they do
of the states of kills; what they say is judged in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.campaign.check import judge_check
from harness.campaign.context import Case, Context, Measured
from harness.campaign.examine import commands_for, judge_inspection, judging_commands, telling, within_patience
from harness.campaign.power import Explored
from harness.campaign.programs import CheckRequest, CommandRequest, inspect, run_check
from harness.campaign.trials import Trial, run_trials
from harness.core.fault import PowerLoss
from harness.explore import CrashState

SHOWN_LEAST = 3
"""States of one profile that recovery and lister are shown at least."""
RULE = "power: a set of effects that the profile allows"


def shown_per_profile(case: Case) -> int:
    """Return how many states of each profile recovery and lister see: of all together as many as of kills."""
    if not case.sample_max or not case.profiles:
        return 0
    return max(SHOWN_LEAST, case.sample_max // len(case.profiles))


def checked_per_profile(case: Case) -> int:
    """Return how many states of each profile a check sees."""
    return min(case.check_max, max(case.checked, case.sample_max)) if case.subject.check else 0


def power_shown_phase(ctx: Context, cases: Iterable[Measured], explored: Explored) -> dict[str, str]:
    """Show samples of what a power loss leaves to real programs.

    Return, by case id, why a check did not see all that it was to see.
    """
    trials: list[Trial] = []
    for item in cases:
        mine = [*_checked(item, explored), *_shown(item, explored)]
        if mine:
            ctx.phase("power programs", item.case, len(mine))
        trials += mine
    checks = [trial for trial in trials if trial.function is run_check]
    others = [trial for trial in trials if trial.function is not run_check]
    left = run_trials(ctx, checks, judge_check, lambda trial: trial.state is None or not ctx.expired())
    unseen: dict[str, str] = {}
    for case in {trial.case.id: trial.case for trial in left}.values():
        planned, missed = (sum(trial.case.id == case.id for trial in each) for each in (checks, left))
        unseen[case.id] = (
            f"{planned - missed:,} of {planned:,} sampled states were checked: the budget is used up (--budget)"
        )
        ctx.notice(f"power loss: {unseen[case.id]}", case)
    run_trials(ctx, others, judge_inspection, within_patience(ctx))
    return unseen


def _states(item: Measured, explored: Explored) -> Iterator[tuple[str, dict[int, PowerLoss], list[CrashState]]]:
    """Yield, per profile, its sampled states in an order of which any beginning is a sample, and what they lose."""
    for profile, states in explored.get(item.case.id, {}).items():
        samples = states.exploration.samples
        made = [
            CrashState(each.tree, each.seq, "after", 0, each.acked, "power", RULE)
            for each in samples
            if each.seq >= 0
        ]
        losses = [each.fault for each in samples if each.seq >= 0]
        by_state = {id(state): loss for state, loss in zip(made, losses, strict=True)}
        yield profile, by_state, telling(item, made)


def _checked(item: Measured, explored: Explored) -> Iterator[Trial]:
    case, acks = item.case, item.explored.recording.acks
    if not case.subject.check or case.control:
        return
    for profile, losses, states in _states(item, explored):
        for number, state in enumerate(states[: checked_per_profile(case)]):
            request = CheckRequest(
                spec=case.subject.spec, argv=case.subject.check, states=((state.tree, acks[: state.acked]),)
            )
            name = f"{case.id}/check/power/{profile}/{number}"
            yield Trial(name, item, "state", run_check, (request,), state=state, loss=losses[id(state)])


def _shown(item: Measured, explored: Explored) -> Iterator[Trial]:
    case = item.case
    if case.control or not (judging_commands(case.subject) or case.subject.resume):
        return
    for profile, losses, states in _states(item, explored):
        for number, state in enumerate(states[: shown_per_profile(case)]):
            commands = commands_for(item, state.tree)
            request = CommandRequest(spec=case.subject.spec, state=state.tree, commands=commands)
            name = f"{case.id}/recover/power/{profile}/{number}"
            yield Trial(name, item, "state", inspect, (request,), state=state, loss=losses[id(state)])
