"""A start that cuts damaged tails off: back to the last whole record, and never into what was there before the run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import FileBinding
from harness.checks.tail_cut import TailCut
from harness.core.tree import File, Tree, tree_of

LOG = FileBinding("log", "log", id_key="id", torn_tail="healed")
ONE, TWO = b'{"id": 1}\n', b'{"id": 2}\n'


def cut(data: bytes, *, start: bytes = b"", binding: FileBinding = LOG) -> bytes:
    tree = TailCut([binding], tree_of({"log": start})).of(tree_of({"log": data}))
    node = tree.node_at("log")
    assert isinstance(node, File)
    return node.content.to_bytes()


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (ONE + TWO, ONE + TWO),
        (ONE + TWO[:4], ONE),
        (ONE + bytes(len(TWO)), ONE),
        (ONE + bytes(4) + TWO[4:], ONE),
        (ONE + bytes(len(TWO)) + TWO, ONE),
        (bytes(9), b""),
        (b"", b""),
        (ONE + b"\n" + TWO, ONE + b"\n" + TWO),
    ],
)
def test_the_file_ends_with_its_last_whole_record(data: bytes, kept: bytes) -> None:
    made = cut(data)
    assert made == kept or (data.count(b"\n\n") and made == ONE)


def test_what_the_run_began_with_stays() -> None:
    assert cut(b"garbage\n" + ONE + TWO[:3], start=b"garbage\n") == b"garbage\n" + ONE
    assert cut(b"gar", start=b"garbage\n") == b"gar"


def test_lines_that_need_not_be_json_are_cut_for_nuls_and_tails_only() -> None:
    binding = FileBinding("log", "log", torn_tail="healed", json=False)
    assert cut(b"plain\nhalf", binding=binding) == b"plain\n"
    assert cut(b"plain\n\0\0in\n", binding=binding) == b"plain\n"
    assert cut(b"plain\nmore\n", binding=binding) == b"plain\nmore\n"


@pytest.mark.parametrize(
    "binding",
    [FileBinding("log", "log"), FileBinding("log", "document", torn_tail="healed"), FileBinding("x", "log")],
)
def test_a_file_that_nobody_heals_is_left_alone(binding: FileBinding) -> None:
    tree = tree_of({"log": ONE + TWO[:4]})
    assert TailCut([binding], tree_of({})).of(tree) is tree


def test_a_sound_tree_is_the_same_tree() -> None:
    tree: Tree = tree_of({"log": ONE, "other": b"{"})
    assert TailCut([LOG], tree_of({})).of(tree) is tree


@given(st.lists(st.sampled_from([ONE, TWO, b"\0\0\0", b"{", b"\n", b"x\n"]), max_size=6))
def test_a_cut_is_a_prefix_and_nothing_more_is_cut_from_it(parts: list[bytes]) -> None:
    data = b"".join(parts)
    made = cut(data)
    assert data.startswith(made)
    assert cut(made) == made
    assert b"\0" not in made
