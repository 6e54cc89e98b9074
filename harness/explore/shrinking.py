"""Smaller cases of what fails: which to try, in shortlex order, and a driver that takes the first that still fails.

A case is measured by numbers, the most significant first (tools, turns, …, bytes): a case is smaller than another where
the first number in which they differ is. Candidates for one number go from the least value up towards the one that is
known to fail, first with all less significant numbers at their least, then with these as they are. Where the driver is
not stopped, no number of what it returns can be lowered alone. Pure: what a candidate does is the caller's to find out.

Non-goals: the smallest of all cases (a bug that needs two numbers changed together is not followed), and time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

Measure: TypeAlias = tuple[int, ...]
"""Compared as tuples are: the first number that differs decides."""
State = TypeVar("State")
Candidate = TypeVar("Candidate", bound=Hashable)


class Parameter(NamedTuple):
    """One number of a case. ``grain``: a step down by less is not worth a run."""

    value: int
    least: int = 0
    grain: int = 1


def lower(parameter: Parameter) -> Iterator[int]:
    """Yield smaller values, ascending: the least, then half way up, three quarters, … up to one grain below."""
    gap = parameter.value - parameter.least
    if gap <= 0:
        return
    yield parameter.least
    step = gap // 2
    while step >= parameter.grain:
        yield parameter.value - step
        step //= 2


def smaller(parameters: Sequence[Parameter]) -> Iterator[Measure]:
    """Yield the measures to try below that of ``parameters``, in ascending order, each once."""
    values = tuple(each.value for each in parameters)
    for index, parameter in enumerate(parameters):
        rest = parameters[index + 1 :]
        least = tuple(min(each.value, each.least) for each in rest)
        for value in lower(parameter):
            yield (*values[:index], value, *least)
            if least != values[index + 1 :]:
                yield (*values[:index], value, *values[index + 1 :])


class Shrunk(NamedTuple, Generic[State]):
    """What is left: the smallest case found, after so many attempts; ``done``: no candidate of it was left untried."""

    smallest: State
    attempts: int
    done: bool


def shrink(
    start: State,
    candidates: Callable[[State], Iterable[Candidate]],
    attempt: Callable[[Candidate], State | None],
    measure: Callable[[State], Measure],
    most: int,
    accepted: Callable[[State, State], object] = lambda before, after: None,
) -> Shrunk[State]:
    """Take the first candidate that fails and is smaller, and go on from there, until none is or ``most`` were tried.

    ``attempt`` returns what a candidate became when it was tried and failed, ``None`` where it did not fail. What it
    became need not be what was asked for; it is taken only where its measure is below that of the case so far. No
    candidate is tried twice. ``accepted`` is told of each step, from which case to which.
    """
    current = start
    tried: set[Any] = set()
    while True:
        for candidate in candidates(current):
            if candidate in tried:
                continue
            if len(tried) >= most:
                return Shrunk(current, len(tried), False)
            tried.add(candidate)
            found = attempt(candidate)
            if found is not None and measure(found) < measure(current):
                accepted(current, found)
                current = found
                break
        else:
            return Shrunk(current, len(tried), True)
