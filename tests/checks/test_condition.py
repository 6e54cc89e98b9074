"""Which states are alike to a repair, and that a sample has one of each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, HEALED, record

from harness.checks import FileBinding
from harness.checks.binding import Bindings
from harness.checks.condition import Conditions, by_condition
from harness.core.tree import Directory, tree_of

CONDITIONS = Conditions(Bindings((HEALED, DOCUMENT, FileBinding("p/*.jsonl", "transcript"))))


def alike(*files: dict[str, bytes]) -> bool:
    return len({CONDITIONS.of(tree_of(each)) for each in files}) == 1


def test_how_much_was_written_makes_no_difference() -> None:
    assert alike({"log.jsonl": record(1)}, {"log.jsonl": record(1) + record(2)})
    assert alike({"log.jsonl": record(1)[:5]}, {"log.jsonl": record(1) + record(2)[:9]})
    assert alike({"state.json": b"{}"}, {"state.json": b'{"n": 1}'})


def test_a_tail_a_document_and_a_name_make_one() -> None:
    tails = [{"log.jsonl": tail} for tail in (record(1), record(1)[:-1], record(1)[:-3], b"")]
    documents = [{"state.json": data} for data in (b"{}", b"{", b"")]
    assert len({CONDITIONS.of(tree_of(files)) for files in (*tails, *documents, {}, {"x.tmp": b"1"})}) == 9


def test_several_are_alike_and_one_is_not() -> None:
    def sessions(number: int) -> dict[str, bytes]:
        return {f"s{each}/state.json": b"{}" for each in range(number)}

    assert alike(sessions(2), sessions(3), sessions(30))
    assert not alike(sessions(1), sessions(2))


def test_a_directory_that_holds_nothing_yet_makes_one() -> None:
    whole = tree_of({"s1/state.json": b"{}"})
    begun = whole.with_node(99, Directory()).with_name("s2", 99)
    assert CONDITIONS.of(whole) != CONDITIONS.of(begun)
    kept = tree_of({"s1/state.json": b"{}", "s2/x.tmp": b"1"})
    assert CONDITIONS.of(begun) != CONDITIONS.of(kept)


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_any_beginning_has_each_condition_as_often(conditions: list[str]) -> None:
    items = list(range(len(conditions)))
    ordered = by_condition(items, conditions)
    assert sorted(ordered) == items
    kinds = set(conditions)
    assert {conditions[item] for item in ordered[: len(kinds)]} == kinds
    for kind in kinds:
        mine = [item for item in ordered if conditions[item] == kind]
        assert mine == sorted(mine)
