"""Whether two counts differ by more than chance: Fisher's exact test, and Holm's correction for many such tests.

Two-sided, by the method of small probabilities (as R and scipy do): the sum of all tables with the same margins that
are no more probable than the one found. Ties are recognised within a relative 1e-7, for rounding. The test takes the
runs as independent and *unpaired*; of paired runs (the same seed) it claims less than it could, never more.

Holm (1979): the family-wise error rate stays at the level whatever the tests depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

LEVEL = 0.05
"""The level at which a difference counts, after the correction."""
_TIE = 1 + 1e-7


def _weights(column: int, row: int, total: int) -> Iterator[tuple[int, float]]:
    """Yield (cell, probability relative to the mode's) over all tables with these margins.

    Each is made of its neighbour, from the mode outwards, so nothing overflows, and what underflows is nothing.
    """
    low, high = max(0, row + column - total), min(row, column)
    mode = min(high, max(low, (row + 1) * (column + 1) // (total + 2)))
    yield mode, 1.0
    weight = 1.0
    for cell in range(mode, high):
        weight *= (row - cell) * (column - cell) / ((cell + 1) * (total - row - column + cell + 1))
        yield cell + 1, weight
    weight = 1.0
    for cell in range(mode, low, -1):
        weight *= cell * (total - row - column + cell) / ((row - cell + 1) * (column - cell + 1))
        yield cell - 1, weight


def fisher_exact(k_a: int, n_a: int, k_b: int, n_b: int) -> float:
    """Return the two-sided p-value of ``k_a`` of ``n_a`` against ``k_b`` of ``n_b``; 1 where one was not measured.

    Raises :class:`ValueError` unless 0 <= k <= n for both.
    """
    for k, n in ((k_a, n_a), (k_b, n_b)):
        if not 0 <= k <= n:
            raise ValueError(f"k must be between 0 and n, found k={k}, n={n}")
    if not n_a or not n_b:
        return 1.0
    found = dict(_weights(k_a + k_b, n_a, n_a + n_b))
    limit = found[k_a] * _TIE
    extreme = math.fsum(weight for weight in found.values() if weight <= limit)
    return min(1.0, extreme / math.fsum(found.values()))


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values adjusted for their number (Holm's step-down), in the order given."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted = [1.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def spell_p(p: float) -> str:
    """Return ``p = 0.031``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"
