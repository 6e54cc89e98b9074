"""The power model against its own definition, and against plain rules that every file system keeps."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from harness.catalog.profiles import list_profiles, load_profile
from harness.core.apply import replay
from harness.core.content import EMPTY
from harness.core.operation import Sync
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.core.tree import File, Tree, tree_of
from harness.core.verdict import Violation
from harness.explore.power.disk import Disk
from harness.explore.power.effects import Names, effects_of
from harness.explore.power.exploration import explore_power
from harness.explore.power.membership import SETS_MAX, Membership
from harness.explore.power.order import Order, bits, order_of
from harness.explore.power.states import Explorer
from harness.explore.script import Script
from tests.explore.power_traces import calls, defined, lost_sets, shown, trace_of

PROFILES = st.sampled_from([load_profile(name) for name in list_profiles()])
FEW = 12
DECIDED = SETS_MAX.bit_length() - 1
"""So many effects a membership decides whatever their order is: all their subsets are few enough."""
"""Effects of a trace whose sets are tried one by one."""


def order(trace: Trace, profile: Profile) -> Order:
    return order_of(effects_of(trace, profile), profile)


def explored(trace: Trace, profile: Profile, exhaustive: int = 1 << FEW) -> set[tuple[int, int]]:
    states = Explorer(order(trace, profile), exhaustive=exhaustive).states()
    return {(state.tree.key, state.acked) for state in states if not state.stale}


@given(calls, PROFILES)
@settings(max_examples=120, deadline=None)
def test_exhaustive_exploration_yields_exactly_what_the_order_defines(steps: list, profile: Profile) -> None:
    trace = trace_of(steps)
    made = order(trace, profile)
    assume(len(made.effects.items) <= FEW)
    assert explored(trace, profile) == defined(made)


@given(calls, PROFILES)
@settings(max_examples=120, deadline=None)
def test_sampled_states_are_states_of_the_definition(steps: list, profile: Profile) -> None:
    trace = trace_of(steps)
    made = order(trace, profile)
    assume(len(made.effects.items) <= FEW)
    assert explored(trace, profile, exhaustive=1) <= defined(made)


@given(calls, PROFILES)
@example(
    [("append", 2, 0, 1), ("rename", 2, 0, 1)], load_profile("btrfs")
)  # only a file's own blocks come back there
@settings(max_examples=150, deadline=None)
def test_membership_finds_every_state_that_is_explored(steps: list, profile: Profile) -> None:
    trace = trace_of(steps)
    made = order(trace, profile)
    assume(len(made.effects.items) <= DECIDED)
    membership = Membership(made)
    for state in Explorer(made, exhaustive=64).states():
        done = state.seq + 1
        assert membership.find(state.tree, max(0, done - 1), done) is not None, shown(state.tree)


@given(calls, PROFILES, st.integers(0, 4), st.binary(min_size=1, max_size=3))
@example([("put", 0, 0, 1), ("cut", 0, 0, 1), ("link", 2, 1, 1)], load_profile("apfs"), 0, b"\0")
@settings(max_examples=150, deadline=None)
def test_membership_refuses_what_the_definition_does_not_have(
    steps: list, profile: Profile, where: int, bytes_: bytes
) -> None:
    trace = trace_of(steps)
    made = order(trace, profile)
    assume(len(made.effects.items) <= FEW and profile.unwritten_reads == "zeros")
    end = len(trace.operations)
    last = replay(trace.start, trace.operations)
    strange = tree_of({**shown(last), f"x{where}": bytes_})
    assert Membership(made).find(strange, 0, end) is None
    known = {key for key, _ in defined(made)}
    for path, file in last.files():  # in the tree itself: two names of one file stay two names of it
        data = file.content.to_bytes()
        damaged = last.with_node(last.names[path], File(EMPTY.append(data[: len(data) // 2] + bytes_)))
        assert (Membership(made).find(damaged, 0, end) is not None) == (damaged.key in known)


@given(calls, PROFILES)
@settings(max_examples=100, deadline=None)
def test_trees_are_what_the_kept_effects_make_one_after_the_other(steps: list, profile: Profile) -> None:
    """Asked for in any order: what is remembered of one set never shows in another."""
    trace = trace_of(steps)
    made = order(trace, profile)
    assume(len(made.effects.items) <= FEW)
    end = len(trace.operations)
    once, sets = Disk(made.effects), list(lost_sets(made, end))
    for lost in reversed(sets):
        assert Disk(made.effects).tree(end - 1, lost).key == once.tree(end - 1, lost).key


@given(calls, PROFILES)
@settings(max_examples=100, deadline=None)
def test_without_a_loss_the_tree_is_that_of_the_run(steps: list, profile: Profile) -> None:
    trace = trace_of(steps)
    made = order(trace, profile)
    assume(len(made.effects.items) <= DECIDED)
    disk = Disk(made.effects)
    for index, tree in enumerate(made.effects.trees):
        assert disk.tree(index, 0) == tree
        assert Membership(made).find(tree, index + 1, index + 1) is not None


@given(calls, PROFILES)
@settings(max_examples=100, deadline=None)
def test_what_is_durable_stays_so_and_is_closed(steps: list, profile: Profile) -> None:
    made = order(trace_of(steps), profile)
    before = 0
    logs_names = profile.dir_ops_ordered == "none" and profile.fsync_file_persists_its_name
    for durable in made.durable:
        gone = before & ~durable
        assert not gone or (logs_names and all(isinstance(made.effects.items[each], Names) for each in bits(gone)))
        for number in bits(durable):
            assert made.needs[number] & durable == made.needs[number]
        before = durable


@given(calls, PROFILES)
@settings(max_examples=100, deadline=None)
def test_a_sync_of_everything_at_the_end_leaves_one_state(steps: list, profile: Profile) -> None:
    assume(profile.sync_waits)
    trace = trace_of(steps)
    operations = (*trace.operations, Sync(seq=len(trace.operations), ino=-1, scope="all"))
    made = order(Trace(root="/", engine="test", start=trace.start, operations=operations), profile)
    assert list(lost_sets(made, len(operations))) == [0]


@pytest.mark.parametrize("name", list_profiles())
def test_the_weakest_profile_allows_what_any_other_does(name: str) -> None:
    """Of a writer whose blocks are whole: posix cuts blocks finer, so its set holds the others'."""
    script = Script(tree_of({"f": b"o" * 4096}))
    script.replace("f", b"n" * 4096)
    script.put("g", b"g" * 4096)
    script.rename("g", "f")
    profile = load_profile(name)
    weakest = Membership(order(script.trace(), load_profile("posix")))
    for state in Explorer(order(script.trace(), profile)).states():
        if not state.stale:
            assert weakest.find(state.tree, max(0, state.seq), state.seq + 1) is not None


def _empty(tree: Tree, acked: int, fault_class: str) -> list[Violation]:
    node = tree.node_at("f")
    empty = isinstance(node, File) and not node.content.size
    return [Violation(invariant="M1", path="f", damage="empty", message="empty")] if empty else []


def test_a_violation_is_made_as_small_as_it_can_be() -> None:
    script = Script(tree_of({"f": b"o" * 9000}))
    for number in range(3):
        script.put(f"other{number}", b"x" * 9000)
    script.put("f.tmp", b"n" * 9000)
    script.rename("f.tmp", "f")
    (group,) = explore_power(script.trace(), load_profile("ext4-noauto_da_alloc"), _empty).groups
    assert (group.operation, group.role) == ("write", "f.tmp")
    assert {loss.part for loss in group.fault.losses} == {"size", "data"}
    assert isinstance(other := group.tree.node_at("other0"), File)
    assert other.content.size == 9000
    assert not explore_power(script.trace(), load_profile("ext4"), _empty).groups


def test_where_nothing_needs_to_be_lost_the_place_is_that_of_a_kill() -> None:
    script = Script(tree_of({"f": b"o" * 9000}))
    script.put("f", b"n" * 9000)
    (group,) = explore_power(script.trace(), load_profile("xfs"), _empty).groups
    assert (group.operation, group.role, group.lost) == ("open", "f", 0)
