"""The statistics of a campaign: rates with intervals, from :mod:`harness.core.proportion`, and spreads of times.

The arithmetic of proportions stands in core because reports need it too and import only core.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.core.proportion import excluded_rate, percent, spell_rate, spell_wild_rate, wild_rate, wilson


def quantile(values: Sequence[float], q: float) -> float:
    """Return the ``q``-quantile (0 to 1) by linear interpolation; ``nan`` for no values."""
    if not 0 <= q <= 1:
        raise ValueError(f"q must be between 0 and 1, found {q}")
    if not values:
        return math.nan
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """Return the median; ``nan`` for no values."""
    return quantile(values, 0.5)


__all__ = [
    "excluded_rate",
    "median",
    "percent",
    "quantile",
    "spell_rate",
    "spell_wild_rate",
    "wild_rate",
    "wilson",
]
