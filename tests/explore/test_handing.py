"""A run as its handovers: they make it again, and with fewer of them it gets simpler."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.schedule import Handover, Handovers, Search
from harness.explore.schedule import fewer, handovers, order_measure, pool_label, preemptions, scheduler_for
from harness.explore.shrinking import shrink
from tests.explore.simulated_actors import Memory, Program, put, rung, simulate

Run = tuple[list[str], list[tuple[str, ...]]]

ACTORS = st.dictionaries(
    st.sampled_from(["p0", "p0.t1", "p1", pool_label(0, "r", 1, "a b.jsonl", "read"), "p0.t2"]),
    st.integers(1, 5),
    min_size=1,
)


@given(ACTORS, st.integers(0, 1 << 32))
def test_handovers_make_a_run_again(sizes: dict[str, int], seed: int) -> None:
    programs: dict[str, Program] = {name: [put("x", 1)] * size for name, size in sizes.items()}
    run = simulate(programs, scheduler_for(Search(policy="random", seed=seed)), {})
    assert simulate(programs, scheduler_for(handovers(*run)), {}) == run


def test_left_to_itself_nobody_is_interrupted() -> None:
    programs, _ = rung(4)
    decisions, offered = simulate(programs, scheduler_for(Handovers()), {})
    assert order_measure(decisions, offered) == (0, len(programs) - 1, 0)


def test_a_turn_is_handed_over_where_it_says_and_passed_over_where_nobody_takes_it() -> None:
    programs: dict[str, Program] = {name: [put("x", 1)] * 2 for name in ("a", "b")}
    order = Handovers(turns=(Handover(after="a", made=1, to="b"), Handover(after="b", made=1, to="c")))
    decisions, offered = simulate(programs, scheduler_for(order), {})
    assert decisions == ["a", "b", "b", "a"]
    assert order_measure(decisions, offered) == (1, 2, 1)


@given(st.lists(st.integers(0, 50), max_size=20, unique=True))
def test_fewer_handovers_come_with_the_fewest_first(places: list[int]) -> None:
    turns = tuple(Handover(after="a", made=place, to="b") for place in places)
    parts = [order.turns for order in fewer(Handovers(turns=turns))]
    assert all(len(part) < len(turns) for part in parts)
    assert all(len(before) <= len(after) for before, after in pairwise(parts))
    assert len(set(parts)) == len(parts)
    assert bool(parts) == bool(turns)
    if turns:
        assert parts[0] == ()
        assert {len(part) for part in parts} >= {len(turns) - 1}


def test_two_handovers_become_one_that_leaves_out_who_went_between() -> None:
    a_to_b, b_to_c = Handover(after="a", made=1, to="b"), Handover(after="b", made=2, to="c")
    parts = list(fewer(Handovers(turns=(a_to_b, b_to_c))))
    assert Handovers(turns=(Handover(after="a", made=1, to="c"),)) in parts


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_random_walk_shrinks_to_what_a_bug_of_this_depth_needs(depth: int) -> None:
    programs, met = rung(depth)

    def tried(order: Handovers | Search) -> Run | None:
        memory: Memory = {}
        run = simulate(programs, scheduler_for(order), memory)
        return run if met(memory) else None

    walks = [run for seed in range(150) if (run := tried(Search(policy="random", seed=seed))) is not None]
    assert len(walks) >= 5
    for walk in walks:
        left = shrink(
            walk, lambda run: fewer(handovers(*run)), tried, lambda run: order_measure(*run), 200
        ).smallest
        assert tried(handovers(*left)) == left
        assert preemptions(*left) < depth
        assert order_measure(*left) <= order_measure(*walk)
