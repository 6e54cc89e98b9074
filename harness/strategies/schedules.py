"""Schedules: who goes next, decision by decision, and searches for one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from hypothesis import strategies as st

from harness.core.schedule import Policy, Schedule, Search, schedule_of


@st.composite
def schedules(draw: st.DrawFn, actors: Mapping[str, int] | Sequence[str], *, decisions: int = 20) -> Schedule:
    """Draw a schedule over ``actors``, given by their labels.

    A mapping says how many operations each makes: the schedule is then complete, every one of them in it. A sequence:
    each makes any number, all together at most ``decisions``. The simplest has the fewest turns, in the order given.
    """
    if not isinstance(actors, Mapping):
        counts: dict[str, int] = {}
        left = decisions
        for label in actors:
            counts[label] = draw(st.integers(0, left))
            left -= counts[label]
        actors = counts
    return schedule_of(_turns(draw, {label: count for label, count in actors.items() if count}))


def _turns(draw: st.DrawFn, left: dict[str, int]) -> Iterator[str]:
    last = ""
    while left:
        others = [label for label in left if label != last] or list(left)
        last = draw(st.sampled_from(others))
        kept = draw(st.integers(0, left[last] - 1)) if len(left) > 1 else 0
        yield from [last] * (left[last] - kept)
        left[last] = kept
        if not kept:
            del left[last]


def searches(
    policies: Collection[Policy] = ("pct", "random"), *, depth: int = 4, steps: int = 200
) -> st.SearchStrategy[Search]:
    """Return searches for a schedule: any seed, up to ``depth`` and over up to ``steps`` moments."""
    return st.builds(
        Search,
        policy=st.sampled_from(tuple(policies)),
        seed=st.integers(0, (1 << 32) - 1),
        depth=st.integers(1, depth),
        steps=st.integers(1, steps),
    )
