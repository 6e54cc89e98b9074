"""Whether a version violates an invariant at any *other* point than the one a token names.

Kill and short: all crash states of a fresh recording, judged in memory, or, for what only the target's own programs
or a check can tell, by running those on each. Errno: real runs of all error plans. Both are bounded; beyond the
bound the answer is not complete, and says so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.campaign.context import Measured
from harness.campaign.errors import plans_for
from harness.campaign.examine import CHECK_INVARIANT, check_violations, commands_for, outcome_violations
from harness.campaign.executor import Call, Executor
from harness.campaign.programs import CheckRequest, CommandRequest, inspect, run_and_examine, run_check
from harness.campaign.proof import confirms, match, needed_programs, programs_for
from harness.campaign.trials import point_of
from harness.campaign.work import sample_states
from harness.checks import INVARIANTS
from harness.core.role import path_role
from harness.core.verdict import Finding, Violation
from harness.explore import CrashState, crash_states, explore
from harness.explore.states import StateClass

ALL_CUTS = 1 << 30
"""Every cut of every write, up to the bound that an exploration has for a whole run."""
STATES_SHOWN = 200
"""The most states that real programs are shown for one replay."""
PLANS_RUN = 400
"""The most error plans that are run for one replay whose own point is gone."""
PLANS_BESIDE = 60
"""The most error plans that are run beside the token's own, when that was reached."""


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """What was found away from the token's own point.

    ``violated_at`` names a place where the same invariant breaks; ``complete`` says that everything was judged,
    ``looked_at`` what that is, and ``reason`` why not.
    """

    violated_at: str = ""
    complete: bool = False
    looked_at: str = ""
    reason: str = ""


def look_elsewhere(
    executor: Executor, measured: Measured, finding: Finding, engine: str, reached: bool
) -> Elsewhere:
    """Look for the finding's invariant and path role at every point of its fault class.

    ``reached``: the token's own point was, so that error plans are only looked at for what is most telling.
    """
    row = INVARIANTS.get(finding.invariant)
    needs_runs = row is not None and set(row.checks) == {"outcome"}
    if finding.fault_class in ("kill", "short") and not needs_runs:
        if needed_programs(finding) or finding.invariant == CHECK_INVARIANT:
            return _by_programs(executor, measured, finding, finding.fault_class)
        return _by_exploration(measured, finding, reached)
    if finding.fault_class in ("errno", "short"):
        return _by_errors(executor, measured, finding, engine, PLANS_BESIDE if reached else PLANS_RUN)
    return Elsewhere(reason=f"no points are known under {finding.fault_class}")


def _by_exploration(measured: Measured, finding: Finding, reached: bool) -> Elsewhere:
    reason = not_comparable(measured, finding)
    for name, sampled in measured.explored.explorations.items():
        if name != finding.fault_class:
            continue
        exploration = explore(measured.trace, name, measured.judge.judge, ALL_CUTS) if sampled.sampled else sampled
        for group in exploration.groups:
            # Where the point itself is gone, its file may have another name: then any path counts.
            same = match(finding, [group.violation]) if reached else group.invariant == finding.invariant
            if group.severity == "violation" and same:
                return Elsewhere(violated_at=str(group.point or "the end of the run"))
        if exploration.sampled:
            taken, possible = (sum(item[field] for item in exploration.sampled) for field in (1, 2))
            reason = reason or f"{taken:,} of {possible:,} cuts of long writes were explored"
        looked_at = f"{exploration.distinct:,} states explored"
        return Elsewhere(complete=not reason, looked_at=looked_at, reason=reason)
    return Elsewhere(reason="nothing was explored")


def not_measured_here(measured: Measured, finding: Finding) -> str:
    """Return why nothing judges the finding's invariant in this version of the target, or an empty string."""
    reason = measured.explored.not_measured.get(finding.fault_class, {}).get(finding.invariant, "")
    return f"{finding.invariant} is not measured here: {reason}" if reason else ""


def not_comparable(measured: Measured, finding: Finding) -> str:
    """Return why the absence of violations would say nothing about this finding, or an empty string."""
    reason = not_measured_here(measured, finding)
    if reason:
        return reason
    if finding.role and finding.role not in {path_role(path) for path in measured.explored.recording.final.names}:
        return f"this version leaves no file like {finding.role}"
    return ""


def _by_programs(executor: Executor, measured: Measured, finding: Finding, fault_class: StateClass) -> Elsewhere:
    states = list(sample_states(crash_states(measured.trace, fault_class), STATES_SHOWN + 1))
    complete = len(states) <= STATES_SHOWN
    found: dict[int, CrashState] = {}
    for outcome in executor.run([_look(measured, finding, state, index) for index, state in enumerate(states)]):
        state = states[outcome.key]
        if match(finding, _said(measured, finding, state, outcome.result())):
            found[outcome.key] = state
    if found:
        place = measured.place_of(found[min(found)])
        return Elsewhere(violated_at=str(place or "the end of the run"))
    return Elsewhere(
        complete=complete,
        looked_at=f"{len(states)} states explored",
        reason="" if complete else f"more than {STATES_SHOWN} states for the target's own programs",
    )


def _look(measured: Measured, finding: Finding, state: CrashState, index: int) -> Call:
    subject = measured.case.subject
    if finding.invariant == CHECK_INVARIANT:
        acks = measured.explored.recording.acks[: state.acked]
        check = CheckRequest(spec=subject.spec, argv=subject.check, states=((state.tree, acks),))
        return Call(run_check, (check,), index)
    request = CommandRequest(spec=subject.spec, state=state.tree, commands=commands_for(measured, state.tree))
    return Call(inspect, (request,), index)


def _said(measured: Measured, finding: Finding, state: CrashState, value: tuple[Any, ...]) -> list[Violation]:
    if finding.invariant == CHECK_INVARIANT:
        return [violation for item in value for violation in check_violations(item)]
    return list(outcome_violations(measured, state.tree, state.acked, value, state.fault_class))


def _by_errors(executor: Executor, measured: Measured, finding: Finding, engine: str, limit: int) -> Elsewhere:
    case = msgspec.structs.replace(measured.case, errno_max=limit)
    plans, possible = plans_for(case, measured.trace)
    programs = programs_for(measured, [finding], proof=False)
    calls = [
        Call(run_and_examine, (engine, case.subject.spec, plan, programs), index)
        for index, plan in enumerate(plans)
    ]
    for outcome in executor.run(calls):
        plan = plans[outcome.key]
        if confirms(measured, outcome.result(), plan, finding) is not None:
            return Elsewhere(violated_at=str(point_of(plan)))
    complete = len(plans) == possible
    return Elsewhere(
        complete=complete,
        looked_at=f"{len(plans)} error plans run",
        reason="" if complete else f"{len(plans)} of {possible} error plans run",
    )
