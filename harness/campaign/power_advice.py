"""The phase of repair advice: what to change in each writer that a power loss violates.

One call to a worker per case, on the recording that was explored; bounded in states and processor time, and left out
where the budget of the campaign is used up. Controls get none: what is wrong with them is known.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.campaign.advising import advice_for
from harness.campaign.context import Context, Measured
from harness.campaign.executor import Call
from harness.campaign.power import Explored
from harness.campaign.trials import harness_failure
from harness.core.advice import Advice

SECONDS = 8.0
"""Processor time of one case's search."""
STATES = 60_000
"""States that one search may judge."""


def advice_phase(ctx: Context, cases: Iterable[Measured], explored: Explored) -> dict[str, Advice]:
    """Return, by case id, what would repair it; of cases that a power loss does not violate nothing."""
    asked = [item for item in cases if not item.case.control and _is_violated(item, explored)]
    calls = []
    for item in asked:
        if not ctx.expired():
            ctx.phase("advice", item.case)
            arguments = (item.trace, item.explored.judged, item.case.profiles, ctx.seed, STATES, SECONDS)
            calls.append(Call(advice_for, arguments, item.case.id, needs_workspace=False))
    found: dict[str, Advice] = {}
    for outcome in ctx.executor.run(calls):
        failure = harness_failure(outcome)
        if failure:
            ctx.notice(f"{outcome.key}: no repair advice: {failure}")
        else:
            found[outcome.key] = outcome.value
    return found


def _is_violated(item: Measured, explored: Explored) -> bool:
    states = explored.get(item.case.id, {})
    return any(group.severity == "violation" for each in states.values() for group in each.exploration.groups)
