"""Fisher's exact test against scipy as the oracle, at extremes too; Holm's correction by its definition."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.core.significance import fisher_exact, holm, spell_p


def oracle(k_a: int, n_a: int, k_b: int, n_b: int) -> float:
    return float(stats.fisher_exact([[k_a, n_a - k_a], [k_b, n_b - k_b]])[1])


@st.composite
def tables(draw: st.DrawFn, most: int = 300) -> tuple[int, int, int, int]:
    n_a, n_b = draw(st.integers(1, most)), draw(st.integers(1, most))
    return draw(st.integers(0, n_a)), n_a, draw(st.integers(0, n_b)), n_b


@given(tables())
def test_against_scipy(table: tuple[int, int, int, int]) -> None:
    assert fisher_exact(*table) == pytest.approx(oracle(*table), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    "table",
    [
        (0, 1, 0, 1),
        (1, 1, 0, 1),
        (0, 10, 10, 10),
        (8, 10, 1, 6),
        (1, 10_000, 12, 10_000),
        (0, 100_000, 9, 100_000),
        (500, 1_000, 1_000, 1_000),
        (0, 400, 400, 400),
        (3, 7, 4_000, 9_000),
        (2_500, 5_000, 2_501, 5_000),
        (1, 1_000_000, 0, 3),
    ],
)
def test_extreme_tables(table: tuple[int, int, int, int]) -> None:
    assert fisher_exact(*table) == pytest.approx(oracle(*table), rel=1e-7, abs=1e-290)


def test_known_values() -> None:
    # Fisher's tea: 3 of 4 against 1 of 4.
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert fisher_exact(0, 30, 30, 30) == pytest.approx(2 / math.comb(60, 30))


@given(tables(60))
def test_symmetries(table: tuple[int, int, int, int]) -> None:
    k_a, n_a, k_b, n_b = table
    p = fisher_exact(*table)
    assert 0 < p <= 1
    assert fisher_exact(k_b, n_b, k_a, n_a) == pytest.approx(p)
    assert fisher_exact(n_a - k_a, n_a, n_b - k_b, n_b) == pytest.approx(p)
    assert fisher_exact(k_a, n_a, k_a, n_a) == 1.0


def test_what_was_not_measured_differs_from_nothing() -> None:
    assert fisher_exact(0, 0, 5, 9) == 1.0 == fisher_exact(5, 9, 0, 0)


@pytest.mark.parametrize("table", [(-1, 3, 0, 3), (4, 3, 0, 3), (0, 3, 0, -1)])
def test_impossible_counts(table: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="between 0 and n"):
        fisher_exact(*table)


def test_a_million_trials_take_no_time() -> None:
    begun = time.process_time()
    assert fisher_exact(400_000, 1_000_000, 401_000, 1_000_000) < 1
    assert time.process_time() - begun < 5


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm(values: list[float]) -> None:
    adjusted = holm(values)
    assert len(adjusted) == len(values)
    assert all(p <= q <= min(1.0, p * len(values)) or q == 1.0 for p, q in zip(values, adjusted, strict=True))
    by_p = sorted(zip(values, adjusted, strict=True))
    assert [q for _, q in by_p] == sorted(q for _, q in by_p)
    # By definition: reject while p(i) <= level / (m - i).
    level, rejected = 0.05, 0
    for rank, p in enumerate(sorted(values)):
        if p * (len(values) - rank) > level:
            break
        rejected += 1
    assert sum(q <= level for q in adjusted) == rejected


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([]) == ()


def test_spelling() -> None:
    assert [spell_p(p) for p in (1e-9, 0.0312, 0.5, 1.0)] == ["p < 0.001", "p = 0.031", "p = 0.50", "p = 1.00"]
