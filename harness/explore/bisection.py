"""Which version to try next, to find the one where an answer turns: the decisions of a bisection, nothing else.

Versions are indices, 0 the oldest. An answer is *shows*, *lacks* or *unknown* (it could not be run); the same answers
always lead to the same next try, so a search is a loop around :func:`next_try`. The newest version is tried first,
then the one that the finding is of (``own``), or the oldest where the newest still shows it; then the halves. Where
answers turn once and all versions answer, the turn is found in at most :func:`most_tries` tries, and one more where
the finding's own version does not show it any more.

A version without an answer is left for a neighbour, and the further away the more of them have none: whole stretches
of a package's history may not run at all (no such module yet, a dependency that is gone).

Non-goals: more than one turn (one of them is found); running anything; time and place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from harness.core.bisected import Standing

Answers = Mapping[int, Standing]


def most_tries(count: int) -> int:
    """Return how many tries find the turn among ``count`` versions that all answer: ⌈log2 count⌉ + 2."""
    return max(count - 1, 0).bit_length() + 2


def turn_of(answers: Answers, own: int | None = None) -> tuple[int, int] | None:
    """Return the nearest versions between which the answer turns, older first; ``None`` where it does not (yet).

    Of several turns the one after ``own`` comes first: whether a finding is fixed is what most people ask.
    """
    known = _known(answers)
    turns = [pair for pair in pairwise(known) if answers[pair[0]] != answers[pair[1]]]
    return next((pair for pair in turns if own is not None and pair[0] >= own), turns[0] if turns else None)


def next_try(count: int, answers: Answers, own: int | None = None) -> int | None:
    """Return the version to try next, or ``None``: the turn is found, or there is none to be found."""
    turn = turn_of(answers, own)
    if turn is not None:
        return _halving(*turn, answers)
    known = _known(answers)
    waiting = own if own is not None and own not in answers else None
    oldest, newest = (known[0], known[-1]) if known else (count, -1)
    mirrored = {count - 1 - index: answer for index, answer in answers.items()}
    if not known or answers[newest] == "shows":
        limit = count - 1 - max(newest, -1 if waiting is None else waiting)
        top = _inwards(mirrored, limit, None if own is None else count - 1 - own)
        if top is not None:
            return count - 1 - top
    if waiting is not None and (not known or answers[oldest] == "lacks"):
        return waiting
    if not known:
        return None  # nothing runs
    bottom = _inwards(answers, oldest if waiting is None else min(oldest, waiting), own)
    return waiting if bottom is None and len(known) < 2 else bottom


def _known(answers: Answers) -> list[int]:
    return sorted(index for index, answer in answers.items() if answer != "unknown")


def _halving(low: int, high: int, answers: Answers) -> int | None:
    """Return a version between two that answer differently: the middle, or beside it where that has no answer."""
    middle = (low + high) // 2
    untried = [index for index in range(low + 1, high) if index not in answers]
    if not untried or middle in untried:
        return middle if untried else None
    quarter = (high - low) // 4
    silent = sum(
        index in answers for index in range(max(low + 1, middle - quarter), min(high, middle + quarter + 1))
    )
    return _nearest(untried, middle)[min((1 << silent) - 2, len(untried) - 1)]


def _nearest(indices: Iterable[int], to: int) -> list[int]:
    return sorted(indices, key=lambda index: (abs(index - to), index))


def _inwards(answers: Answers, end: int, own: int | None) -> int | None:
    """Return the next version on the way from 0 to ``end`` (exclusive) until one answers, in growing steps.

    What lies between those that gave no answer is taken to give none either; ``own`` is none of them, it was tried
    for another reason.
    """
    silent = max((i for i, answer in answers.items() if i < end and i != own and answer == "unknown"), default=-1)
    index = min(2 * silent + 1, (silent + end) // 2) if silent >= 0 else 0
    if index in answers:
        index += 1
    return index if silent < index < end and index not in answers else None
