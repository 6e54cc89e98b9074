"""Schedulers over simulated actors: the published bound, all interleavings with few preemptions, replay."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.json_record import decode_record, encode_record
from harness.core.schedule import Prefix, Schedule, Search, schedule_of
from harness.explore.schedule import (
    Systematic,
    contended,
    pct_bound,
    pool_label,
    preemptions,
    scheduler_for,
    strand_of,
    strands,
    thread_label,
)
from harness.explore.schedule.schedulers import Replay
from tests.explore.simulated_actors import Memory, Program, put, rung, simulate

LABELS = st.lists(
    st.sampled_from(["p0", "p0.t1", "p1", "p0*r1:a b.jsonl read", "p0*w1:a b.jsonl write"]), max_size=40
)


def least(runs: int, chance: float) -> int:
    """Return the 1 % quantile of Binomial(runs, chance)."""
    below, term = 0.0, (1 - chance) ** runs
    for count in range(runs + 1):
        below += term
        if below >= 0.01:
            return count
        term *= (runs - count) / (count + 1) * chance / (1 - chance)
    return runs


def test_the_quantile_is_that_of_the_binomial() -> None:
    for runs, chance in ((10, 0.5), (1000, 0.1), (400, 0.03)):
        found = least(runs, chance)
        odds = [math.comb(runs, k) * chance**k * (1 - chance) ** (runs - k) for k in range(found + 1)]
        assert sum(odds[:-1]) < 0.01 <= sum(odds)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_pct_meets_each_rung_as_often_as_published(depth: int) -> None:
    programs, met = rung(depth)
    actors, steps = len(programs), sum(len(program) for program in programs.values())
    bound = pct_bound(actors, steps, depth)
    runs = math.ceil(10 / bound)
    found = 0
    for seed in range(runs):
        memory: Memory = {}
        simulate(programs, scheduler_for(Search(policy="pct", seed=seed, depth=depth, steps=steps)), memory)
        found += met(memory)
    assert found >= least(runs, bound), f"depth {depth}: {found}/{runs}, bound {bound:.5f}"


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_too_few_change_points_meet_nothing_that_needs_them(depth: int) -> None:
    """Without it the ladder would prove nothing: a rung is as deep as it says."""
    programs, met = rung(depth)
    for seed in range(300):
        memory: Memory = {}
        simulate(programs, scheduler_for(Search(policy="pct", seed=seed, depth=depth - 1, steps=8)), memory)
        assert not met(memory)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_systematic_meets_each_rung_within_its_preemptions(depth: int) -> None:
    programs, met = rung(depth)
    assert not explored(programs, depth - 2)[1](met)
    assert explored(programs, depth - 1)[1](met)


def explored(programs: dict[str, Program], limit: int):  # type: ignore[no-untyped-def]
    """Return all interleavings tried, and what says whether one of them met something."""
    systematic = Systematic(limit)
    seen: list[tuple[str, ...]] = []
    memories: list[Memory] = []
    while (prefix := systematic.next()) is not None:
        memory: Memory = {}
        decisions, offered = simulate(programs, scheduler_for(Prefix(begin=schedule_of(prefix))), memory)
        assert tuple(decisions[: len(prefix)]) == prefix
        assert preemptions(decisions, offered) <= limit
        systematic.ran(decisions, offered)
        seen.append(tuple(decisions))
        memories.append(memory)
    return seen, lambda met: any(met(memory) for memory in memories)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 2), (1, 1, 1), (2, 2, 1), (4,)])
def test_without_a_limit_each_interleaving_is_tried_once(sizes: tuple[int, ...]) -> None:
    programs: dict[str, Program] = {
        thread_label(0, index): [put("x", step) for step in range(size)] for index, size in enumerate(sizes)
    }
    seen, _ = explored(programs, sum(sizes))
    assert len(set(seen)) == len(seen)
    assert len(seen) == math.factorial(sum(sizes)) // math.prod(math.factorial(size) for size in sizes)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_two_actors_with_few_preemptions_are_counted_by_a_formula(steps: int) -> None:
    """With c preemptions the turns are c + 2 blocks, taken in turn; each actor's are a composition of its steps."""
    programs: dict[str, Program] = {name: [put("x", step) for step in range(steps)] for name in ("p0", "p1")}
    expected = 0
    for spent in range(4):
        begins, answers = (spent + 3) // 2, (spent + 2) // 2
        expected += 2 * math.comb(steps - 1, begins - 1) * math.comb(steps - 1, answers - 1)
        assert len(explored(programs, spent)[0]) == expected


def test_a_run_that_meets_others_than_an_earlier_one_is_followed_and_said() -> None:
    systematic = Systematic(0)
    assert systematic.next() == ()
    systematic.ran(["p1", "p2"], [["p1"], ["p2"]])  # p2 was not there yet
    assert systematic.next() is None and not systematic.unsteady
    systematic.ran(["p1", "p2"], [["p1", "p2"], ["p2"]])
    assert systematic.unsteady
    assert systematic.next() == ("p2",)
    assert systematic.next() is None


@given(LABELS)
def test_a_schedule_is_its_decisions(labels: list[str]) -> None:
    schedule = schedule_of(labels)
    assert schedule.decisions == tuple(labels)
    assert schedule.switches == sum(a != b for a, b in pairwise(map(strand_of, labels)))
    assert decode_record(encode_record(schedule).encode(), Schedule) == schedule


@pytest.mark.parametrize("turns", [(0,), (0, 0), (1, 1), (-1, 1)])
def test_turns_that_make_no_sense_are_refused(turns: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="turn"):
        scheduler_for(Schedule(actors=("p0",), turns=turns))


def test_a_replay_waits_for_its_actor_and_knows_its_end() -> None:
    replay = scheduler_for(schedule_of(["p0", "p0.t1"]))
    assert isinstance(replay, Replay)
    assert replay.choose(["p0.t1"]) == ""
    assert replay.choose(["p0.t1", "p0"]) == "p0"
    assert (replay.due(), replay.left) == ("p0.t1", 1)
    assert replay.choose(["p0.t1"]) == "p0.t1"
    assert replay.over()
    assert replay.choose(["p0"]) == ""


@given(st.integers(0, 1 << 32))
def test_the_same_seed_decides_the_same(seed: int) -> None:
    programs, _ = rung(4)
    for policy in ("random", "pct"):
        order = Search(policy=policy, seed=seed)  # type: ignore[arg-type]
        assert simulate(programs, scheduler_for(order), {}) == simulate(programs, scheduler_for(order), {})


def test_random_takes_each_as_often() -> None:
    taken = Counter(
        scheduler_for(Search(policy="random", seed=seed)).choose(["a", "b", "c"]) for seed in range(3000)
    )
    assert all(900 < count < 1100 for count in taken.values()), taken


def test_of_a_pool_the_work_on_one_open_file_is_a_strand() -> None:
    first, other = pool_label(0, "r", 1, "a b.jsonl", "read"), pool_label(0, "r", 1, "a b.jsonl", "open")
    assert strand_of(first) == strand_of(other) != strand_of(pool_label(0, "w", 1, "a b.jsonl", "open"))
    assert strand_of("p0.t1") == "p0.t1"
    assert strands([("p0", first), ("p0", other)]) == 2
    assert contended([("p0",), (first, other), ("p0", first)]) == 1
