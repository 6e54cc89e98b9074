"""A rate that was worked out, not measured: how often a kill at a random moment does damage."""

from __future__ import annotations

import msgspec

from harness.core.proportion import percent


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """``rate`` is the share of kills inside the window that do damage, over ``runs`` plain runs; -1 where none is told.

    ``low`` and ``high`` are the least and the greatest share of one run. ``reason`` says why
    there is no rate.
    """

    rate: float = -1.0
    low: float = 0.0
    high: float = 1.0
    runs: int = 0
    reason: str = ""

    @property
    def is_told(self) -> bool:
        """Whether there is a rate."""
        return self.rate >= 0


def spell_prediction(told: Prediction) -> str:
    """Return ``p predicted about 7.0 % (5.8 to 8.9 % in 5 plain runs)``, or ``not predicted: reason``."""
    if not told.is_told:
        return f"not predicted: {told.reason}"
    if not told.runs:
        return "p predicted 0: nothing that a kill can leave is violated"
    spread = f"{percent(told.low)} to {percent(told.high)} % in {told.runs} plain runs"
    return f"p predicted about {percent(told.rate)} % ({spread})"
