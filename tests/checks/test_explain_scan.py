"""How far bytes are JSON, against the standard library's parser and against what the bytes were made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.explain.scan import scan
from harness.checks.summary import is_json

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
STYLES = st.fixed_dictionaries(
    {"ensure_ascii": st.booleans(), "indent": st.sampled_from([None, 2])},
)


def encoded(value: Any, style: dict[str, Any]) -> bytes:
    return json.dumps(value, **style).encode("utf-8", "surrogatepass")


@given(VALUES, STYLES)
def test_whole_documents_are_whole(value: Any, style: dict[str, Any]) -> None:
    data = encoded(value, style)
    found = scan(data)
    assert (found.state, found.end, found.depth) == ("whole", len(data), 0)
    assert scan(b" \n" + data + b"\r\n\t ").state == "whole"


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES), STYLES, st.data())
def test_a_cut_document_is_cut_there(value: Any, style: dict[str, Any], draw: st.DataObject) -> None:
    data = encoded(value, style)
    size = draw.draw(st.integers(1, len(data) - 1))
    found = scan(data[:size])
    assert (found.state, found.end) == ("cut", size)
    assert found.depth > 0


@given(VALUES, VALUES, STYLES)
def test_what_follows_a_document_is_found(first: Any, second: Any, style: dict[str, Any]) -> None:
    data = encoded({"first": first}, style)
    found = scan(data + encoded({"second": second}, style))
    assert (found.state, found.end) == ("followed", len(data))


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\ u0e1-+.tfn', max_size=40).map(str.encode))
def test_it_agrees_with_the_parser(data: bytes) -> None:
    found = scan(data)
    assert (found.state == "whole") == is_json(data)
    assert 0 <= found.start <= len(data)
    assert 0 <= found.end <= len(data)
    if found.state == "blank":
        assert not data.strip()


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b'{"a":1,,}', 7),
        (b'{"a" 1}', 5),
        (b"[1 2]", 3),
        (b"]", 0),
        (b'{"a":tru3}', 5),
        (b'{"a":01}', 5),
        (b'["a\nb"]', 3),
        (b'["\\q"]', 2),
        (b"[1}", 2),
        (b'{"a":1]', 6),
        (b'["a\xffb"]', 3),
        (b"[\xc3\xa9]", 1),
    ],
)
def test_where_it_breaks(data: bytes, end: int) -> None:
    found = scan(data)
    assert (found.state, found.end) == ("broken", end)


@pytest.mark.parametrize(
    ("data", "inside", "character"),
    [
        (b'{"a":"x', True, False),
        (b'{"a":"x"', False, False),
        (b'{"a":-', True, False),
        (b'{"a":1.', True, False),
        (b'{"a":1e', True, False),
        (b'{"a":nul', True, False),
        (b'{"a":"\\', True, False),
        (b'{"a":"\\u00', True, False),
        (b'{"a":"\xc3', True, True),
        (b'{"a":"\xf0\x9f\x98', True, True),
        (b"{", False, False),
    ],
)
def test_where_it_is_cut(data: bytes, inside: bool, character: bool) -> None:
    found = scan(data)
    assert (found.state, found.end, found.inside, found.character) == ("cut", len(data), inside, character)


def test_nesting_costs_no_recursion() -> None:
    deep = 200_000
    assert scan(b"[" * deep) == scan(b"[" * deep)._replace(state="cut", depth=deep, end=deep)
    assert scan(b"[" * deep + b"]" * deep).state == "whole"
