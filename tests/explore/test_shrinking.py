"""Shrinking over pure predicates: shortlex order, the minimum of monotone ones, never larger, never past the cap."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.explore.shrinking import Measure, Parameter, Shrunk, lower, shrink, smaller

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=4).map(tuple)


def shrunk(start: Measure, fails: Callable[[Measure], bool], most: int = 10_000) -> Shrunk[Measure]:
    return shrink(
        start,
        lambda sizes: smaller([Parameter(size) for size in sizes]),
        lambda sizes: sizes if fails(sizes) else None,
        lambda sizes: sizes,
        most,
    )


@given(st.integers(0, 10_000), st.integers(0, 100), st.integers(1, 600))
def test_lower_values_go_up_from_the_least(value: int, least: int, grain: int) -> None:
    values = list(lower(Parameter(value, least, grain)))
    assert values == sorted(set(values))
    assert all(least <= each < value for each in values)
    assert len(values) <= value.bit_length() + 1
    if value > least:
        assert values[0] == least
        assert value - values[-1] < 2 * grain or values == [least]


@given(SIZES)
def test_candidates_come_in_shortlex_order_and_are_all_smaller(sizes: Measure) -> None:
    candidates = list(smaller([Parameter(size) for size in sizes]))
    assert all(before < after for before, after in pairwise([*candidates, sizes]))
    assert all(len(each) == len(sizes) for each in candidates)


@given(SIZES.flatmap(lambda least: st.tuples(st.just(least), st.tuples(*(st.integers(0, 60) for _ in least)))))
def test_what_fails_from_some_size_on_is_shrunk_to_that_size(given_: tuple[Measure, Measure]) -> None:
    least, more = given_
    start = tuple(a + b for a, b in zip(least, more, strict=True))
    result = shrunk(start, lambda sizes: all(a >= b for a, b in zip(sizes, least, strict=True)))
    assert (result.smallest, result.done) == (least, True)


@given(SIZES, st.lists(st.lists(st.integers(0, 40), min_size=4, max_size=4), max_size=3))
def test_of_a_monotone_predicate_no_number_can_be_lowered_alone(start: Measure, corners: list[list[int]]) -> None:
    def fails(sizes: Measure) -> bool:
        return sizes == start or any(all(a >= b for a, b in zip(sizes, each, strict=False)) for each in corners)

    result = shrunk(start, fails)
    assert result.done
    for index, size in enumerate(result.smallest):
        assert not size or not fails((*result.smallest[:index], size - 1, *result.smallest[index + 1 :]))


@given(SIZES, st.integers(0, 1 << 30), st.integers(0, 60))
def test_whatever_fails_the_result_fails_is_not_larger_and_keeps_the_cap(
    start: Measure, salt: int, most: int
) -> None:
    asked: list[Measure] = []

    def fails(sizes: Measure) -> bool:
        return hashlib.blake2b(f"{salt} {sizes}".encode()).digest()[0] < 100

    def counted(sizes: Measure) -> bool:
        asked.append(sizes)
        return fails(sizes)

    result = shrunk(start, counted, most)
    assert result.smallest == start or fails(result.smallest)
    assert result.smallest <= start
    assert result.attempts == len(asked) == len(set(asked)) <= most
    assert result == shrunk(start, fails, most)
    if result.done:
        assert not any(fails(each) for each in smaller([Parameter(size) for size in result.smallest]))


@given(SIZES, st.integers(0, 1 << 30))
def test_what_a_candidate_becomes_is_taken_only_where_it_is_smaller(start: Measure, salt: int) -> None:
    """A run need not do what it was asked for: it may even become larger than what there was."""

    def became(sizes: Measure) -> Measure:
        return tuple(hashlib.blake2b(f"{salt} {sizes}".encode(), digest_size=len(sizes)).digest())

    steps: list[Measure] = [start]
    result = shrink(
        start,
        lambda sizes: smaller([Parameter(size) for size in sizes]),
        became,
        lambda sizes: sizes,
        200,
        lambda before, after: steps.append(after),
    )
    assert all(after < before for before, after in pairwise(steps))
    assert steps[-1] == result.smallest
