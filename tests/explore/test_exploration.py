from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from harness.core.fault import CrashPoint
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.explore import explore
from harness.explore.script import Script

Seen = list[tuple[int, int]]


def recording(seen: Seen, wrong: Callable[[Tree], Sequence[Violation]] = lambda _: ()):
    def predicate(tree: Tree, acked: int, fault_class: str) -> Sequence[Violation]:
        seen.append((tree.key, acked))
        return wrong(tree)

    return predicate


def empty_file(tree: Tree) -> Sequence[Violation]:
    return [
        Violation(invariant="M1", path=path, damage="empty", message="empty")
        for path, file in tree.files()
        if not file.content.size
    ]


def test_the_predicate_sees_each_distinct_state_once() -> None:
    script = Script()
    for _ in range(3):
        script.put("f", b"same")
        script.unlink("f")
    seen: Seen = []
    found = explore(script.trace(), "kill", recording(seen))
    assert len(seen) == len(set(seen)) == found.distinct == 3
    assert found.enumerated == 13


def test_an_acknowledgement_makes_a_state_of_its_own() -> None:
    script = Script()
    script.put("f", b"x")
    script.ack(1)
    seen: Seen = []
    found = explore(script.trace(), "kill", recording(seen))
    assert [acked for _, acked in seen] == [0, 0, 0, 1]
    assert found.distinct == 4


def test_failures_with_one_cause_are_one_group_with_the_first_as_reproduction() -> None:
    script = Script()
    for number in range(5):
        script.put("s.json", b"%d" % number)
        script.ack(number)
    found = explore(script.trace(), "kill", recording([], empty_file))
    assert [(g.invariant, g.operation, g.role, g.phase, g.damage, g.states) for g in found.groups] == [
        ("M1", "open", "s.json", "after", "empty", 5)
    ]
    group = found.groups[0]
    assert group.first.seq == 0
    assert group.point == CrashPoint(operation="open", role="s.json", occurrence=1, phase="after")
    assert found.violated == 5


def test_a_state_after_an_acknowledgement_is_struck_before_the_next_operation() -> None:
    def lost(tree: Tree) -> Sequence[Violation]:
        return () if "f" in tree.names else [Violation(invariant="B5", path="f", damage="lost", message="gone")]

    script = Script()
    script.ack(1)
    script.put("f", b"x")
    groups = explore(script.trace(), "kill", recording([], lost)).groups
    assert [(g.operation, g.phase, g.point and g.point.phase) for g in groups] == [("open", "before", "before")]
    assert groups[0].states == 2


def test_a_state_with_nothing_strikeable_after_it_has_no_point() -> None:
    script = Script()
    script.ack(1)
    always = [Violation(invariant="B5", path="", damage="lost", message="gone")]
    groups = explore(script.trace(), "kill", recording([], lambda _: always)).groups
    assert {(g.operation, g.point) for g in groups} == {("ack", None)}


def test_a_run_without_operations_has_one_state() -> None:
    found = explore(Script().trace(), "kill", recording([], lambda _: ()))
    assert (found.enumerated, found.distinct, found.groups) == (1, 1, ())
    broken = [Violation(invariant="M1", path="", damage="empty", message="m")]
    assert explore(Script().trace(), "kill", recording([], lambda _: broken)).groups[0].point is None


def test_information_is_grouped_but_violates_nothing() -> None:
    note = [Violation(invariant="W3", path="t", damage="litter", message="left", severity="information")]
    script = Script()
    script.put("t", b"x")
    found = explore(script.trace(), "kill", recording([], lambda _: note))
    assert found.violated == 0
    assert all(g.severity == "information" for g in found.groups)


def test_two_violations_of_one_cause_in_one_state_count_it_once() -> None:
    twice = [Violation(invariant="B2", path=p, damage="torn", message="m") for p in ("a", "b")]
    script = Script()
    script.put("t", b"x")
    found = explore(script.trace(), "kill", recording([], lambda _: twice))
    assert sum(g.states for g in found.groups) == found.distinct == found.violated


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.binary(max_size=6)), max_size=6))
def test_counts_agree_with_the_states(puts: list[tuple[str, bytes]]) -> None:
    script = Script()
    for path, data in puts:
        script.put(path, data)
    for fault_class in ("kill", "short"):
        seen: Seen = []
        found = explore(script.trace(), fault_class, recording(seen, empty_file))  # type: ignore[arg-type]
        assert found.distinct == len(set(seen)) == len(seen) <= found.enumerated
        assert found.violated <= sum(g.states for g in found.groups)


def test_every_moment_has_its_verdict_also_where_its_state_was_seen_before() -> None:
    script = Script()
    for _ in range(2):
        script.put("f", b"x" * 5000)
        script.unlink("f")
    seen: Seen = []
    found = explore(script.trace(), "kill", recording(seen, empty_file))
    told = {(tally.seq, tally.phase): (tally.states, tally.violated) for tally in found.places}
    assert sum(tally.states for tally in found.places) == found.enumerated > found.distinct
    assert told[0, "before"] == (1, 0)
    assert told[0, "after"] == told[4, "after"] == (1, 1), "just made, and empty"
    assert told[1, "torn"] == told[5, "torn"] == (1, 0)
    assert found.violated == 1
