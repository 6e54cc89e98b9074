"""Tightness: what no power loss leaves on a file system is not in its profile's set."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.catalog.profiles import load_profile
from harness.core.trace import Trace
from harness.core.tree import Tree, tree_of
from harness.explore.power.effects import effects_of
from harness.explore.power.exploration import explore_power
from harness.explore.power.membership import Membership
from harness.explore.power.order import order_of
from harness.explore.script import Script
from tests.calibration.forbidden import FORBIDDEN, LINUX, NEW, OLD, Forbidden

AT_LEAST = 8


@pytest.mark.parametrize("row", FORBIDDEN, ids=lambda row: row.name)
def test_the_state_is_not_in_the_set(row: Forbidden) -> None:
    trace = row.trace_script().trace()
    for name in row.profiles:
        profile = load_profile(name)
        membership = Membership(order_of(effects_of(trace, profile), profile))
        end = len(trace.operations)
        assert membership.find(row.forbidden_tree(), min(row.after, end), end) is None, name


@pytest.mark.parametrize("row", FORBIDDEN, ids=lambda row: row.name)
def test_the_state_is_not_explored_either(row: Forbidden) -> None:
    trace = row.trace_script().trace()
    key, acks = row.forbidden_tree().key, len(trace.acks)
    for name in row.profiles:
        assert key not in _explored(trace, name, acks if row.after else 0), name


def _explored(trace: Trace, profile: str, acks: int) -> set[int]:
    """Return the trees that exploring yields once ``acks`` acknowledgements were out."""
    seen: set[int] = set()

    def note(tree: Tree, acked: int, fault_class: str) -> tuple[()]:
        if acked >= acks:
            seen.add(tree.key)
        return ()

    explore_power(trace, load_profile(profile), note)
    return seen


def test_every_profile_has_enough_of_them() -> None:
    count = Counter(name for row in FORBIDDEN for name in row.profiles)
    assert all(count[name] >= AT_LEAST for name in LINUX), count


def test_the_question_is_no_empty_one() -> None:
    """The same membership accepts what a power loss does leave: old and new, and EMPTY in place."""
    for name in LINUX:
        script = Script(tree_of({"f": OLD}))
        script.put("f", NEW)
        trace, profile = script.trace(), load_profile(name)
        membership = Membership(order_of(effects_of(trace, profile), profile))
        for content in (OLD, NEW, b""):
            assert membership.find(tree_of({"f": content}), 0, len(trace.operations)) is not None, (
                name,
                len(content),
            )
