"""Documents that collect what is acknowledged: where the collection stands is found, or there is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.collecting import WHOLE, collected, collection_key

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=6)


def test_what_is_collected_where() -> None:
    document = b'{"a": {"b": {"x": 1, "y": [2]}, "list": ["p", {"id": "q"}, 7]}}'
    assert collected(document, "a.b") == {"x": b"1", "y": b"[2]"}
    assert collected(document, "a.list") == {"p": b"", "q": b"", "7": b""}
    assert (collected(document, WHOLE) or {}).keys() == {"a"}
    assert collected(document, "a.none") is None
    assert collected(b"{torn", WHOLE) is None


@given(
    path=st.lists(NAMES, max_size=2),
    ids=st.lists(NAMES, min_size=1, max_size=5, unique=True),
    as_list=st.booleans(),
)
def test_the_place_is_found_wherever_it_stands(path: list[str], ids: list[str], as_list: bool) -> None:
    def at(names: list[str]) -> bytes:
        value: object = list(names) if as_list else dict.fromkeys(names, 0)
        for name in reversed(path):
            value = {name: value, "other": {}}
        return json.dumps(value).encode()

    at_ack = [(name, at(ids[: number + 1])) for number, name in enumerate(ids)]
    key = collection_key(at(ids), at_ack)
    assert set(ids) <= (collected(at(ids), key) or {}).keys()
    assert len(key.split(".")) <= max(1, len(path))


@pytest.mark.parametrize(
    ("last", "at_ack"),
    [
        (b'{"notes": {"b": 0}}', [("a", b'{"notes": {"a": 0}}'), ("b", b'{"notes": {"b": 0}}')]),  # takes ids out
        (b'{"number": 2}', [("1", b'{"number": 1}'), ("2", b'{"number": 2}')]),
        (b'{"notes": {"a": 0}}', []),
        (b"not JSON", [("a", b'{"a": 0}')]),
        (b'{"a": 0, "b": 0}', [("a", b"{}"), ("b", b'{"a": 0, "b": 0}')]),  # acknowledged before it is there
    ],
)
def test_what_is_no_collection(last: bytes, at_ack: list[tuple[str, bytes]]) -> None:
    assert collection_key(last, at_ack) == ""
