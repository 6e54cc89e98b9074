"""The search for the version where an answer turns: every monotone history, with holes in it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.core.bisected import Standing
from harness.explore.bisection import most_tries, next_try, turn_of


def search(history: list[Standing], own: int | None, limit: int | None = None) -> dict[int, Standing]:
    """Return the answers of a search, in the order of its tries; ``limit``: the most of them."""
    answers: dict[int, Standing] = {}
    while (index := next_try(len(history), answers, own)) is not None and len(answers) != limit:
        assert index not in answers and 0 <= index < len(history)
        answers[index] = history[index]
    return answers


@st.composite
def monotone(draw: st.DrawFn) -> tuple[list[Standing], int]:
    """A history in which the answer turns once, and the index of the first version behind the turn."""
    count = draw(st.integers(2, 300))
    turn = draw(st.integers(1, count - 1))
    old: Standing
    new: Standing
    old, new = draw(st.sampled_from((("shows", "lacks"), ("lacks", "shows"))))
    return [old] * turn + [new] * (count - turn), turn


def owners(history: list[Standing]) -> st.SearchStrategy[int | None]:
    """The version that the finding is of: one that shows it, or none of the range."""
    return st.none() | st.sampled_from([index for index, answer in enumerate(history) if answer == "shows"])


@given(st.data(), monotone())
def test_every_turn_is_found_within_the_bound(data: st.DataObject, drawn: tuple[list[Standing], int]) -> None:
    history, turn = drawn
    own = data.draw(owners(history))
    answers = search(history, own)
    assert turn_of(answers, own) == (turn - 1, turn)
    assert len(answers) <= most_tries(len(history))


@pytest.mark.parametrize("count", range(2, 26))
def test_the_bound_holds_for_every_turn_and_every_own_version_of_short_histories(count: int) -> None:
    for turn in range(1, count):
        for old, new in (("shows", "lacks"), ("lacks", "shows")):
            history: list[Standing] = [old] * turn + [new] * (count - turn)  # type: ignore[list-item]
            for own in (None, *(index for index in range(count) if history[index] == "shows")):
                answers = search(history, own)
                assert turn_of(answers, own) == (turn - 1, turn)
                assert len(answers) <= most_tries(count)


@given(st.data(), monotone())
def test_with_holes_the_turn_lies_in_the_range_that_is_found(
    data: st.DataObject, drawn: tuple[list[Standing], int]
) -> None:
    whole, turn = drawn
    own = data.draw(owners(whole))
    holes = data.draw(st.sets(st.integers(0, len(whole) - 1), max_size=len(whole)))
    history: list[Standing] = ["unknown" if index in holes else answer for index, answer in enumerate(whole)]
    for limit in (None, most_tries(len(whole))):
        answers = search(history, own, limit)
        found = turn_of(answers, own)
        if found is not None:
            low, high = found
            assert low < turn <= high
            between = [history[index] for index in range(low + 1, high)]
            assert limit is not None or set(between) <= {"unknown"}


@given(st.data(), monotone())
def test_a_hole_costs_little(data: st.DataObject, drawn: tuple[list[Standing], int]) -> None:
    """Holes that are not next to the turn: it is found exactly, each hole that is met costing two tries at most."""
    whole, turn = drawn
    own = data.draw(owners(whole))
    candidates = [index for index in range(1, len(whole) - 1) if index not in (turn - 1, turn, own)]
    holes = data.draw(st.sets(st.sampled_from(candidates), max_size=4)) if candidates else set[int]()
    history: list[Standing] = ["unknown" if index in holes else answer for index, answer in enumerate(whole)]
    answers = search(history, own)
    met = sum(answer == "unknown" for answer in answers.values())
    assert turn_of(answers, own) == (turn - 1, turn)
    assert len(answers) <= most_tries(len(whole)) + 2 * met


@pytest.mark.parametrize("count", range(2, 40))
def test_an_own_version_that_is_gone_costs_two_tries(count: int) -> None:
    for turn in range(1, count):
        for own in range(count):
            if own in (turn - 1, turn):
                continue
            for old, new in (("shows", "lacks"), ("lacks", "shows")):
                history: list[Standing] = [old] * turn + [new] * (count - turn)  # type: ignore[list-item]
                history[own] = "unknown"
                answers = search(history, own)
                assert turn_of(answers, own) == (turn - 1, turn), (turn, own, old)
                assert len(answers) <= most_tries(count) + 2


@given(st.integers(2, 300), st.data())
@example(92, None)
def test_a_beginning_that_does_not_run_is_passed_in_growing_steps(count: int, data: st.DataObject | None) -> None:
    """The newest shows it; of the oldest none can be run, as before the module existed: the rest shows it as well."""
    silent = 12 if data is None else data.draw(st.integers(0, count - 1))
    history: list[Standing] = ["unknown"] * silent + ["shows"] * (count - silent)
    answers = search(history, count - 1)
    assert turn_of(answers, count - 1) is None
    assert len(answers) <= 2 * most_tries(count)
    oldest = min(index for index, answer in answers.items() if answer == "shows")
    assert oldest == silent


@pytest.mark.parametrize("answer", ["shows", "lacks", "unknown"])
@pytest.mark.parametrize("own", [None, 0, 5, 9])
def test_a_history_without_a_turn_ends_soon(answer: Standing, own: int | None) -> None:
    answers = search([answer] * 10, own)
    assert turn_of(answers, own) is None
    if answer == "unknown":
        assert len(answers) <= 10
    else:
        assert len(answers) == (3 if (answer, own) == ("lacks", 5) else 2)


def test_of_two_turns_the_one_behind_the_finding_is_told() -> None:
    history: list[Standing] = [*["lacks"] * 10, *["shows"] * 10, *["lacks"] * 10]  # type: ignore[list-item]
    assert turn_of(search(history, 15), 15) == (19, 20)
    assert turn_of(search(history[:20], 15), 15) == (9, 10)


def test_a_finding_that_its_own_version_does_not_show_is_looked_for_before_it() -> None:
    for count in range(2, 40):
        for turn in range(1, count):
            for own in range(turn, count):
                answers = search([*["shows"] * turn, *["lacks"] * (count - turn)], own)  # type: ignore[list-item]
                assert turn_of(answers, own) == (turn - 1, turn)
                assert len(answers) <= most_tries(count) + 1


def test_the_same_answers_lead_to_the_same_try() -> None:
    answers: Mapping[int, Standing] = {9: "lacks", 2: "shows", 5: "unknown"}
    assert next_try(10, answers, 2) == next_try(10, dict(reversed(answers.items())), 2) == 4
    assert [most_tries(count) for count in (1, 2, 3, 4, 5, 64, 65, 92)] == [2, 3, 4, 4, 5, 8, 9, 9]
