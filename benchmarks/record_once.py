"""Record once, cut, resume beside kill and resume, side by side: judged crash points per CPU minute, same client.

    python -m benchmarks.record_once [VERSION ...]      default: 2.1.91 2.1.329; skipped where not installed

One side kills the client at a counted moment and resumes it, so each pair of runs judges one crash point. The other
records one life, resumes it from different states that a crash leaves (every byte of its transcripts counts), and each
resume judges all moments that leave this state. CPU is that of everything: cells, API, tracer, client, judging. Both
are given: by moments, and by different states alone. The bar is for moments.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import NamedTuple

import msgspec

from harness.campaign.context import Case
from harness.campaign.cutting import bad_moments, chosen, judged, recording_order, resumed, resuming
from harness.campaign.dialogue_case import dialogue_case
from harness.campaign.dialogue_trials import judge, order_of
from harness.campaign.dialoguing import carry_out, record_life, resume_each
from harness.catalog import NotAvailableError, compile_subject, load_scenario, load_target
from harness.catalog.published import at_version, named_variant
from harness.checks.dialogue_disk import what_matters
from harness.core.dialogue import DialogueLife
from harness.explore.cutting import cuts_of
from harness.sandbox.workspace import Workspace

VERSIONS = ("2.1.91", "2.1.329")
BAR = 3.0
CUTS, KILLS, BATCH = 16, 6, 4
SCENARIO = "claude_code_cuts"


class Side(NamedTuple):
    """What one way judged at what cost; ``bad``: of the moments, those that violate."""

    moments: int
    states: int
    bad: int
    cpu_s: float

    def per_minute(self, count: int) -> float:
        """Return the rate of so many per CPU minute."""
        return count * 60 / self.cpu_s


def cpu_s() -> float:
    """Return the CPU seconds of this process and of all that it has reaped."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def by_cutting(case: Case, base: str) -> Side:
    """Record once and resume from :data:`CUTS` states."""
    begun = cpu_s()
    order = order_of(1, case, 1)
    recorded = record_life(recording_order(order), base)
    if recorded.problem:
        sys.exit(f"the recording says nothing: {recorded.problem}")
    cuts = [cut for cut in cuts_of(recorded.trace, what_matters) if cut.fault_class == "kill"]
    cuts = list(chosen(cuts, CUTS))
    again = resuming(order, recorded)
    moments = states = bad = 0
    for begin in range(0, len(cuts), BATCH):
        batch = cuts[begin : begin + BATCH]
        seen = resume_each(again, tuple(resumed(again, cut) for cut in batch), base)
        for cut, each in zip(batch, seen, strict=True):
            said = judged(case.invariants, order, recorded, cut, each)
            if said.verdict != "inconclusive":
                moments, states = moments + len(cut.states), states + 1
                bad += bad_moments(case.invariants, order, recorded, cut, each) if said.violations else 0
    return Side(moments, states, bad, cpu_s() - begun)


def by_killing(case: Case, base: str) -> Side:
    """Kill and resume :data:`KILLS` times, each at another moment of the same life."""
    begun = cpu_s()
    order = order_of(1, case, 1)
    judged_points = bad = 0
    for number in range(1, KILLS + 1):
        first = DialogueLife(
            prompt=order.lives[0].prompt, exit="sigkill", when=f"effect {number}", after_ms=(0, 120)
        )
        seen = carry_out(msgspec.structs.replace(order, lives=(first, order.lives[1]), seed=number), base)
        said = judge(case.invariants, order, seen)
        judged_points += said.verdict != "inconclusive"
        bad += said.verdict == "violated"
    return Side(judged_points, judged_points, bad, cpu_s() - begun)


def case_at(version: str, workspace: Workspace) -> Case | str:
    """Return the case of a version, or why there is none here."""
    target, part = load_target("claude_code"), load_scenario(SCENARIO)
    try:
        variant = at_version(target, named_variant(target, "cli", version), version)
        subject = compile_subject(target, variant, workspace)
    except NotAvailableError as error:
        return str(error)
    if subject.not_available:
        return subject.not_available
    return dialogue_case(part, subject, (), frozenset(part.invariants))


def main(versions: tuple[str, ...]) -> int:
    """Measure each version; 1 if one that is here misses the bar."""
    failed = False
    for version in versions:
        with tempfile.TemporaryDirectory() as base:
            base = os.path.realpath(base)  # noqa: PLW2901
            case = case_at(version, Workspace(base))
            if isinstance(case, str):
                print(f"record once, claude_code@{version}: skipped: {case}")
                continue
            begun = time.monotonic()
            killed, cut = by_killing(case, base), by_cutting(case, base)
            moments = cut.per_minute(cut.moments) / killed.per_minute(killed.moments)
            states = cut.per_minute(cut.states) / killed.per_minute(killed.states)
            print(
                f"record once, claude_code@{version}: {time.monotonic() - begun:.0f} s, load {os.getloadavg()[0]:.1f}"
            )
            for name, side in (("kill and resume", killed), ("record, cut, resume", cut)):
                print(
                    f"  {name:<20} {side.moments:4} crash points ({side.bad} violate), {side.states:3} states in "
                    f"{side.cpu_s:5.1f} CPU s: {side.per_minute(side.moments):6.1f} points, "
                    f"{side.per_minute(side.states):5.1f} states per CPU minute"
                )
            print(f"  crash points: {moments:.1f} x (bar {BAR:g} x); states alone: {states:.1f} x")
            failed |= moments < BAR
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or VERSIONS))
