"""Damaging a file changes that file and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.core.damage import damaged
from harness.core.fault import FileDamage
from harness.core.tree import File, tree_of


def content(tree: object, path: str) -> bytes:
    node = tree.node_at(path)  # type: ignore[attr-defined]
    assert isinstance(node, File)
    return node.content.to_bytes()


@given(data=st.binary(min_size=2, max_size=200), other=st.binary(max_size=50), old=st.binary(max_size=50))
def test_each_way_of_damaging_a_file(data: bytes, other: bytes, old: bytes) -> None:
    tree, start = tree_of({"a": data, "b": other}), tree_of({"a": old})
    expected: dict[FileDamage, bytes] = {
        "torn": data[: len(data) // 2],
        "holed": bytes(len(data) // 2) + data[len(data) // 2 :],
        "nul": bytes(len(data)),
        "empty": b"",
        "stale": old,
    }
    for damage, left in expected.items():
        found = damaged(tree, "a", damage, start)
        assert content(found, "a") == left
        assert content(found, "b") == other


def test_what_is_not_there_is_not_damaged() -> None:
    tree = tree_of({"a": b"abc"})
    assert damaged(tree, "missing", "nul").key == tree.key
    assert damaged(tree, "a", "stale").key == tree.key  # it was not there when the run began
