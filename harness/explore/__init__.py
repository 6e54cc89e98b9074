"""From a trace to what could have gone wrong: crash states, and the errno plans worth a real run.

Pure: the predicate that judges a state is an argument, so this layer knows no format and no invariant.
"""

from __future__ import annotations

from harness.explore.exploration import Exploration, Group, explore
from harness.explore.plans import errno_plans
from harness.explore.states import CUTS_PER_WRITE, CrashState, Sampled, crash_states

__all__ = [
    "CUTS_PER_WRITE",
    "CrashState",
    "Exploration",
    "Group",
    "Sampled",
    "crash_states",
    "errno_plans",
    "explore",
]
