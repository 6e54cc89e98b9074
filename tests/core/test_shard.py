"""n shards together are the whole, each piece once, and no shard has much more than another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.shard import Shard, ShardError, deal, parse_shard


@given(st.integers(1, 40), st.integers(0, 300))
def test_numbered_trials_are_dealt_once_and_evenly(of: int, count: int) -> None:
    shares = [[i for i in range(count) if Shard(number + 1, of).takes(i)] for number in range(of)]
    assert sorted(i for share in shares for i in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("kinds", [2, 3])
@given(of=st.integers(2, 12))
def test_kinds_that_take_turns_are_in_every_shard(kinds: int, of: int) -> None:
    """Error plans take turns by class, signals by name: no shard has only one of them."""
    for number in range(1, of + 1):
        mine = {i % kinds for i in range(of * of * kinds) if Shard(number, of).takes(i)}
        assert mine == set(range(kinds))


@given(st.lists(st.integers(1, 500), max_size=30), st.integers(1, 9))
def test_pieces_are_dealt_evenly(weights: list[int], of: int) -> None:
    homes = deal(list(enumerate(weights)), of)
    assert sorted(homes) == list(range(len(weights)))
    assert set(homes.values()) <= set(range(1, of + 1))
    loads = [sum(weights[key] for key, home in homes.items() if home == number) for number in range(1, of + 1)]
    assert max(loads) - min(loads) <= max(weights, default=0)
    assert homes == deal(list(enumerate(weights)), of)


def test_spelling() -> None:
    assert parse_shard(" 2/3 ") == Shard(2, 3)
    assert str(Shard(2, 3)) == "2/3"
    assert Shard().whole
    assert not Shard(1, 2).whole


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "1.0/2", "a/b", "1/1001", "１/２"]
)
def test_no_shards(text: str) -> None:
    with pytest.raises(ShardError):
        parse_shard(text)
