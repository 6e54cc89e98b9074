"""Counts as rates: intervals, what zero failures exclude, and how both are written. Never a bare percentage.

Wilson's score interval (Wilson 1927; recommended over the normal one by Brown, Cai and DasGupta 2001) for k of n;
the exact binomial bound (Clopper and Pearson 1934) where k is 0. All at 95 %.
"""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson(k: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of ``k`` successes in ``n`` trials; (0, 1) for no trials.

    Raises :class:`ValueError` unless 0 <= k <= n.
    """
    if not 0 <= k <= n:
        raise ValueError(f"k must be between 0 and n, found k={k}, n={n}")
    if n == 0:
        return 0.0, 1.0
    rate, square = k / n, z * z
    centre = rate + square / (2 * n)
    margin = z * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    low = 0.0 if k == 0 else (centre - margin) / (1 + square / n)
    high = 1.0 if k == n else (centre + margin) / (1 + square / n)
    return max(0.0, low), min(1.0, high)


def excluded_rate(n: int, confidence: float = 0.95) -> float:
    """Return the smallest rate that 0 failures in ``n`` trials exclude (exact, one-sided); 1 for no trials.

    The "rule of three" (3/n) is its approximation for large n.
    """
    if n < 0:
        raise ValueError(f"n must not be negative, found {n}")
    return 1.0 if n == 0 else -math.expm1(math.log(1 - confidence) / n)


def percent(rate: float) -> str:
    """Return a rate as percent with one decimal, more where one would show a positive rate as zero."""
    value = 100 * rate
    if 0 < value < 0.1:
        return f"{value:.1g}"
    return f"{value:.1f}"


def spell_rate(k: int, n: int) -> str:
    """Return ``17/120 = 14.2 % [9.0, 21.5]``; for 0 of n the rate it excludes; ``not measured`` for n = 0."""
    if n == 0:
        return "not measured"
    if k == 0:
        return f"0/{n} excludes rates above {percent(excluded_rate(n))} %"
    low, high = wilson(k, n)
    return f"{k}/{n} = {percent(k / n)} % [{percent(low)}, {percent(high)}]"


def wild_rate(rate: float, window_ms: float, run_ms: float) -> float:
    """Return the rate under a kill at a random moment of the whole run: ``rate`` × window / run time, at most 1.

    ``rate`` is that of kills inside the window. Raises :class:`ValueError` for a run without length.
    """
    if run_ms <= 0 or window_ms < 0 or not 0 <= rate <= 1:
        raise ValueError(f"no rate of {rate} in a window of {window_ms} ms of a run of {run_ms} ms")
    return rate * min(1.0, window_ms / run_ms)


def spell_wild_rate(k: int, n: int, window_ms: float, run_ms: float) -> str:
    """Return ``p 14.2 % × window 12.0 ms / run 310.0 ms = 0.5 % of kills at a random moment``."""
    if n == 0 or run_ms <= 0:
        return "not measured"
    rate = k / n
    shown, word = (percent(rate), "p") if k else (percent(excluded_rate(n)), "p below")
    wild = wild_rate(rate if k else excluded_rate(n), window_ms, run_ms)
    return (
        f"{word} {shown} % × window {window_ms:.1f} ms / run {run_ms:.1f} ms = "
        f"{'' if k else 'below '}{percent(wild)} % of kills at a random moment"
    )
