"""Streams: the same numbers everywhere and always, and independent by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign.streams import SEED_MAX, SeedError, new_seed, parse_seed, spell_seed, stream


def test_golden_numbers() -> None:
    # These must never change: they are the planned moments of every recorded campaign.
    assert [stream(1, "timed", "t/v", 0).getrandbits(32) for _ in range(2)] == [2706523668] * 2
    rng = stream(2024, "timed")
    assert [rng.randrange(1_000_000) for _ in range(4)] == [781623, 911926, 304372, 639924]
    assert stream(0).random() == 0.0519900629799146


@given(
    st.integers(0, SEED_MAX), st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4)
)
def test_streams_differ_exactly_by_seed_and_names(seed: int, left: list[str], right: list[str]) -> None:
    same = stream(seed, *left).getrandbits(64) == stream(seed, *right).getrandbits(64)
    assert same == (left == right)
    assert stream(seed, *left).getrandbits(64) != stream((seed + 1) & SEED_MAX, *left).getrandbits(64)


def test_boundaries_of_names_count() -> None:
    draws = {
        stream(1, *names).getrandbits(64)
        for names in [(), ("",), ("a", "b"), ("ab",), ("a", "b", ""), ("a\0", "b"), ("1:a",), (1, 11), (11, 1)]
    }
    assert len(draws) == 9


@given(st.integers(0, SEED_MAX))
def test_a_spelled_seed_reads_back(seed: int) -> None:
    assert parse_seed(spell_seed(seed)) == seed
    assert parse_seed(hex(seed)) == seed


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", str(SEED_MAX + 1), "0x", "0xg", "1" * 5000, "\n"])
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(SeedError, match="valid are 0 to") as caught:
        parse_seed(text)
    assert "\n" not in str(caught.value)


def test_a_new_seed_can_be_typed() -> None:
    assert 0 <= new_seed() < 1 << 32
