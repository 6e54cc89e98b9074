"""What a worker does for the phase of power loss: explores one recording under one profile.

The states are those of the recorded run itself, so what they owe is what that run promised.
"""

from __future__ import annotations

import time

import msgspec

from harness.campaign.work import Judged, expectation_for, judge_for
from harness.core.profile import Profile
from harness.core.run import Recording
from harness.explore.power.exploration import PowerExploration, explore_power
from harness.explore.power.states import Kind

_PLURALS: dict[Kind, str] = {
    "single loss": "single losses",
    "single survival": "single survivals",
    "prefix": "prefixes",
    "pair": "pairs",
}
"""The kinds of lost sets that are counted; random ones are drawn from too many to be."""


MOST_SECONDS = 60.0
"""Processor time for one profile of one recording, at most: then what it has found by then is told."""


class PowerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A recording, how its states are judged, and the file system on which the power goes.

    ``samples`` is how many of the states come back, for programs to look at; ``seconds`` of processor time are spent
    on it at most.
    """

    recording: Recording
    judged: Judged
    profile: Profile
    seed: int
    samples: int = 0
    seconds: float = MOST_SECONDS


class PowerStates(msgspec.Struct, frozen=True, kw_only=True):
    """What exploring found, and what it cost."""

    exploration: PowerExploration
    cpu_ms: float = 0.0


def explore_losses(request: PowerRequest) -> PowerStates:
    """Judge the states that a power loss can leave of a recorded run under one profile."""
    trace = request.recording.trace
    if trace is None:
        raise ValueError("a power loss is explored from a recording with a trace")
    judge = judge_for(expectation_for(request.recording, request.judged), request.judged)
    started = time.process_time()
    exploration = explore_power(
        trace,
        request.profile,
        judge.judge,
        request.seed,
        samples=request.samples,
        go_on=lambda: time.process_time() - started < request.seconds,
    )
    return PowerStates(exploration=exploration, cpu_ms=(time.process_time() - started) * 1e3)


def coverage_of(exploration: PowerExploration) -> str:
    """Return how much of what a profile allows was explored; empty where all of it was."""
    if exploration.exhaustive:
        return ""
    parts = []
    for kind, plural in _PLURALS.items():
        part = exploration.coverage.get(kind)
        if part is not None:
            parts.append(f"{part.explored:,} of {part.possible:,} {plural}")
    drawn = exploration.coverage.get("random")
    if drawn is not None:
        parts.append(f"{drawn.explored:,} random sets")
    if exploration.coarse:
        parts.append(f"{exploration.coarse} long write{'s' * (exploration.coarse > 1)} in larger blocks")
    whole = exploration.coverage.get("exhaustive")
    text = "sampled: " + ", ".join(parts) if parts else ""
    if whole:
        text += f"{'; ' if text else ''}everything at {whole.points} of {exploration.points} crash points"
    if exploration.stopped_at >= 0:
        text = (
            f"stopped at operation {exploration.stopped_at}, its time used up; up to there {text or 'everything'}"
        )
    return text
