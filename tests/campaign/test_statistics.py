"""Rates, intervals and their wording; scipy is the oracle."""

from __future__ import annotations

import math
import statistics as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign.statistics import (
    excluded_rate,
    median,
    percent,
    quantile,
    spell_rate,
    spell_wild_rate,
    wild_rate,
    wilson,
)

_K_N = st.integers(0, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(_K_N)
def test_wilson_equals_scipy(k_n: tuple[int, int]) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the oracle of this test")
    k, n = k_n
    if n == 0:
        assert wilson(k, n) == (0.0, 1.0)
        return
    expected = stats.binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 100_000))
def test_excluded_rate_equals_scipy_and_the_rule_of_three(n: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the oracle of this test")
    expected = stats.binomtest(0, n, alternative="less").proportion_ci(confidence_level=0.95, method="exact").high
    assert excluded_rate(n) == pytest.approx(expected, rel=1e-6)
    if n >= 30:
        assert excluded_rate(n) == pytest.approx(3 / n, rel=0.06)


@given(_K_N)
def test_the_interval_holds_the_rate_and_mirrors(k_n: tuple[int, int]) -> None:
    k, n = k_n
    low, high = wilson(k, n)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= k / n <= high
        mirrored = wilson(n - k, n)
        assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "text"),
    [
        (17, 120, "17/120 = 14.2 % [9.0, 21.5]"),
        (120, 120, "120/120 = 100.0 % [96.9, 100.0]"),
        (1, 300, "1/300 = 0.3 % [0.06, 1.9]"),
        (1, 100_000, "1/100000 = 0.001 % [0.0002, 0.006]"),
        (0, 300, "0/300 excludes rates above 1.0 %"),
        (0, 1, "0/1 excludes rates above 95.0 %"),
        (0, 100_000, "0/100000 excludes rates above 0.003 %"),
        (0, 0, "not measured"),
    ],
)
def test_how_rates_are_written(k: int, n: int, text: str) -> None:
    assert spell_rate(k, n) == text


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (1, 0), (0, -1)])
def test_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="k must be between"):
        wilson(k, n)


def test_wild_rate() -> None:
    assert wild_rate(0.5, 10, 100) == pytest.approx(0.05)
    assert wild_rate(0.5, 300, 100) == 0.5
    assert spell_wild_rate(17, 120, 12, 310) == (
        "p 14.2 % × window 12.0 ms / run 310.0 ms = 0.5 % of kills at a random moment"
    )
    assert spell_wild_rate(0, 300, 12, 120) == (
        "p below 1.0 % × window 12.0 ms / run 120.0 ms = below 0.1 % of kills at a random moment"
    )
    assert spell_wild_rate(0, 0, 12, 310) == spell_wild_rate(1, 2, 3, 0) == "not measured"
    for arguments in ((0.5, 1, 0), (1.5, 1, 1), (0.5, -1, 1)):
        with pytest.raises(ValueError, match="no rate of"):
            wild_rate(*arguments)


def test_percent_never_shows_a_positive_rate_as_zero() -> None:
    assert [percent(rate) for rate in (0.0, 1e-9, 0.0004, 0.001, 0.5, 1.0)] == [
        "0.0",
        "1e-07",
        "0.04",
        "0.1",
        "50.0",
        "100.0",
    ]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_quantiles(values: list[float]) -> None:
    assert median(values) == pytest.approx(standard.median(values), abs=1e-6)
    assert quantile(values, 0) == min(values)
    assert quantile(values, 1) == max(values)
    assert math.isnan(median([]))
