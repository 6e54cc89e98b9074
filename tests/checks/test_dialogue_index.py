"""M6 over lives of a client: an index that says what its transcript holds, one that does not, and none."""

from __future__ import annotations

import json

import pytest

from harness.checks.dialogue_index import NO_INDEX, wrong_in_index
from harness.core.content import content_of
from harness.core.dialogue import ClientSeen, DialogueLife, DialogueSeen, LifeSeen
from harness.core.tree import EMPTY_TREE, File, Tree

PLACE = ".claude/projects/-p"
NAME = "11111111-2222-4333-8444-555555555555"


def time_of(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000Z"


def tree(messages: int, entry: tuple[int, int] | None, *, index: bool = True) -> Tree:
    """A transcript of so many messages, one per second, and an index whose entry is (count, second)."""
    lines = [
        {
            "type": "user" if number % 2 else "assistant",
            "uuid": str(number),
            "parentUuid": str(number - 1) if number > 1 else None,
            "timestamp": time_of(number),
            "message": {"role": "user" if number % 2 else "assistant", "content": "x"},
        }
        for number in range(1, messages + 1)
    ]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    out = EMPTY_TREE.with_node(1, File(content_of(data))).with_name(f"{PLACE}/{NAME}.jsonl", 1)
    if not index:
        return out
    entries = [{"sessionId": NAME, "messageCount": entry[0], "modified": time_of(entry[1])}] if entry else []
    said = json.dumps({"version": 1, "entries": entries}).encode()
    return out.with_node(2, File(content_of(said))).with_name(f"{PLACE}/sessions-index.json", 2)


def seen(*trees: Tree) -> DialogueSeen:
    life, client = DialogueLife(prompt=("go",)), ClientSeen(prompt="go")
    return DialogueSeen(lives=tuple(LifeSeen(order=life, clients=(client,), tree=each) for each in trees))


@pytest.mark.parametrize(
    ("trees", "damages"),
    [
        ((tree(4, (4, 4)),), []),
        ((tree(2, None, index=False), tree(4, (4, 4))), []),
        ((tree(4, (2, 2)),), ["stale"]),
        ((tree(4, (3, 4)),), ["stale"]),
        ((tree(4, None),), ["missing"]),
        ((tree(4, (4, 4)), tree(4, (4, 4)), tree(6, (2, 2))), ["stale", "lost"]),
        ((tree(4, (4, 4)), tree(4, None)), ["missing", "lost"]),
        ((tree(4, (2, 2)), tree(4, (4, 4))), []),
    ],
)
def test_an_index_is_judged_by_what_stands_beside_it(trees: tuple[Tree, ...], damages: list[str]) -> None:
    found, why = wrong_in_index(seen(*trees))
    assert ([each.damage for each in found], why) == (damages, "")
    assert all(each.invariant == "M6" and each.path.endswith("sessions-index.json") for each in found)
    assert all(each.ids == (NAME,) for each in found)


def test_the_worst_entry_is_told_with_its_figures() -> None:
    (found,), _ = wrong_in_index(seen(tree(6, (4, 4))))
    assert found.message == "after life 1: an entry counts 4 of 6 messages, 2,000 ms behind its transcript"


def test_a_client_without_an_index_owes_nothing_and_that_is_said() -> None:
    assert wrong_in_index(seen(tree(4, None, index=False))) == ((), NO_INDEX)
