"""The phase of power loss: what each case's recording can leave on each file system, judged in memory.

Each profile of a case is one call to a worker. The first is explored whatever the budget, the others as far as it
lasts; what is not explored is *inconclusive*, never *held*. One finding per cause, whatever the number of profiles
that show it: its state is the smallest of them, and it says under which profiles it was found and under which the same
writer holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from harness.campaign.context import Context, Measured, case_id
from harness.campaign.executor import Call
from harness.campaign.observe import observed_loss
from harness.campaign.power_states import MOST_SECONDS, PowerRequest, PowerStates, coverage_of, explore_losses
from harness.campaign.record import judges_states
from harness.campaign.strips import keep_strip
from harness.campaign.trials import harness_failure
from harness.core.profile import Profile
from harness.core.verdict import TrialRow, Verdict
from harness.explore.power.exploration import PowerExploration, PowerGroup

SAMPLES = 60
"""States of one profile that come back for programs to look at."""
LEAST_SECONDS = 5.0
"""Processor time that a profile gets although the budget is nearly used up."""
NOT_EXPLORED = "not explored: the budget is used up (--budget)"

Explored = Mapping[str, Mapping[str, PowerStates]]
"""By case id and profile: what exploring found."""


class _Shown(NamedTuple):
    """A violation under one profile."""

    profile: str
    group: PowerGroup

    @property
    def size(self) -> tuple[bool, int, int]:
        """How much is lost in its state: the least is shown."""
        fault = self.group.fault
        return fault.stale, len(fault.losses), sum(each.end - each.start for each in fault.losses)


def power_phase(ctx: Context, cases: Iterable[Measured]) -> Explored:
    """Explore each case under each of its profiles and keep a row for each; return what was explored."""
    cases = [item for item in ctx.split.of(cases, "power") if "power" in item.case.faults]
    for item in cases:
        ctx.phase("power", item.case, len(item.case.profiles))
    answers: dict[str, dict[str, PowerStates | str]] = {item.case.id: {} for item in cases}
    for outcome in ctx.executor.run(_calls(ctx, cases)):
        name, profile = outcome.key
        answers[name][profile] = harness_failure(outcome) or outcome.value
    for item in cases:  # in the order in which they were asked for, whatever the order of completion
        mine = answers[item.case.id]
        answers[item.case.id] = {each.name: mine[each.name] for each in item.case.profiles if each.name in mine}
    ctx.ledger.begin_phase()
    index = 0
    for item in cases:
        index = _keep(ctx, item, answers[item.case.id], index)
        _tell(ctx, item, answers[item.case.id])
        keep_strip(ctx, item, _explored(answers[item.case.id]))
    return {name: _explored(each) for name, each in answers.items()}


def _explored(answers: Mapping[str, PowerStates | str]) -> dict[str, PowerStates]:
    return {profile: value for profile, value in answers.items() if isinstance(value, PowerStates)}


def _calls(ctx: Context, cases: list[Measured]) -> Iterator[Call]:
    """Yield the calls so that the cases take turns: the first profile of each, then the second."""
    most = max((len(item.case.profiles) for item in cases), default=0)
    for index in range(most):
        for item in cases:
            case = item.case
            if index < len(case.profiles) and (not index or case.control or not ctx.expired()):
                left = MOST_SECONDS if case.control else ctx.deadline - time.monotonic()
                request = msgspec.structs.replace(
                    power_request(item, case.profiles[index], ctx.seed),
                    seconds=max(LEAST_SECONDS, min(MOST_SECONDS, left)),
                )
                key = (case.id, case.profiles[index].name)
                yield Call(explore_losses, (request,), key, needs_workspace=False)


def power_request(item: Measured, profile: Profile, seed: int) -> PowerRequest:
    """Return how a case's recording is explored under one profile."""
    subject = item.case.subject
    shown = subject.check or subject.recover or subject.list_command or subject.resume
    return PowerRequest(
        recording=item.explored.recording,
        judged=item.explored.judged,
        profile=profile,
        seed=seed,
        samples=max(SAMPLES, item.case.sample_max) if shown and not item.case.control else 0,
    )


def _keep(ctx: Context, item: Measured, answers: Mapping[str, PowerStates | str], index: int) -> int:
    """Keep the findings of a case and a row per profile; return the next free place in the plan."""
    case = item.case
    judged = judges_states(case, item.explored, "power")
    shown: list[_Shown] = []
    for profile, states in answers.items():
        if judged and isinstance(states, PowerStates):
            groups = (group for group in states.exploration.groups if group.severity == "violation")
            shown += [_Shown(profile, group) for group in groups]
    shown.sort(key=lambda each: each.size)
    found: dict[str, dict[str, None]] = {}
    for each in shown:
        group = each.group
        seen = observed_loss(group.violation, group.fault, tree=group.tree, seq=group.seq, states=group.states)
        (name,) = ctx.ledger.observe(case, [seen], _trial_id(item, each.profile), index)
        found.setdefault(each.profile, {})[name] = None
        index += 1
    ctx.ledger.save({name: None for names in found.values() for name in names})
    for asked in case.profiles:
        row = _row(item, asked, answers.get(asked.name, NOT_EXPLORED), tuple(found.get(asked.name, ())))
        if judged or row.verdict in ("inconclusive", "broken"):
            ctx.record(row)
        answer = answers.get(asked.name)
        if answer is None or (isinstance(answer, PowerStates) and answer.exploration.stopped_at >= 0):
            ctx.leave_out(case, "power", profile=asked.name)
    return index


def _trial_id(item: Measured, profile: str) -> str:
    return f"{item.case.id}/state/power/{profile}"


def _row(item: Measured, profile: Profile, states: PowerStates | str, names: tuple[str, ...]) -> TrialRow:
    trial_id = _trial_id(item, profile.name)
    if isinstance(states, str):
        failed = states != NOT_EXPLORED
        row = item.case.row("state", trial_id, "broken" if failed else "inconclusive", "power", profile.name)
        return msgspec.structs.replace(row, note=f"the harness failed: {states}" if failed else states)
    exploration = states.exploration
    return msgspec.structs.replace(
        item.case.row("state", trial_id, _verdict(exploration, names), "power", profile.name),
        states=exploration.enumerated,
        distinct=exploration.distinct,
        bad_states=exploration.violated,
        findings=names,
        engine=item.explored.recording.engine,
        cpu_ms=states.cpu_ms,
        note=coverage_of(exploration),
    )


def _verdict(exploration: PowerExploration, names: tuple[str, ...]) -> Verdict:
    """Return the verdict of one profile: what was not explored to its end is not held."""
    if names:
        return "violated"
    return "held" if exploration.stopped_at < 0 else "inconclusive"


def _tell(ctx: Context, item: Measured, answers: Mapping[str, PowerStates | str]) -> None:
    """Say under which profiles not every state was explored, and which were not explored at all."""
    if item.case.control:
        return
    explored = {name: each.exploration for name, each in answers.items() if isinstance(each, PowerStates)}
    sampled = [name for name, each in explored.items() if coverage_of(each)]
    if sampled:
        whole = len(sampled) == len(item.case.profiles) > 1
        under = f"all {len(sampled)} profiles" if whole else ", ".join(sampled)
        ctx.notice(f"power loss: sampled, not exhausted, under {under}", item.case)
    left = [profile.name for profile in item.case.profiles if profile.name not in answers]
    if left:
        ctx.notice(f"power loss under {', '.join(left)}: {NOT_EXPLORED}", item.case)


def checked_of(explored: Explored, name: str, profile: str, seen: int) -> str:
    """Return how many of the states that a power loss leaves a check has seen; empty where it saw all."""
    states = explored.get(name, {}).get(profile)
    if states is None or seen >= states.exploration.distinct:
        return ""
    return f"its check saw {seen:,} of {states.exploration.distinct:,} distinct states"


def settle_profiles(ctx: Context, cases: Iterable[Measured]) -> None:
    """Say of each finding under which profiles its writer holds: when all that looked at power losses have."""
    by_id = {item.case.id: item for item in cases}
    violated: dict[str, set[str]] = {}
    held: dict[str, set[str]] = {}
    for row in ctx.done.values():
        if row.fault_class == "power" and row.profile:
            name = row.trial_id.partition("/state/power/")[0]
            if row.verdict == "held" and name in by_id:
                held.setdefault(name, set()).add(row.profile)
    for finding in ctx.ledger:
        if finding.fault_class == "power":
            violated.setdefault(case_id(finding), set()).update(finding.profiles)
    for finding in ctx.ledger:
        item = by_id.get(case_id(finding))
        if finding.fault_class != "power" or item is None:
            continue
        name, asked = item.case.id, [profile.name for profile in item.case.profiles]
        kept = held.get(name, set()) - violated.get(name, set())
        ctx.ledger.replace(
            msgspec.structs.replace(
                finding,
                profiles=tuple(each for each in asked if each in finding.profiles),
                held_under=tuple(each for each in asked if each in kept),
            )
        )
        ctx.ledger.write(finding.key)
