"""The lines of a ``list`` command."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import parse_listing


def test_ids_warnings_and_notices_are_told_apart() -> None:
    lines = [
        b'"a"',
        b'{"id": "b"}',
        b'{"warning": "torn", "name": "c"}',
        b"hello",
        b"",
        b"[1]",
        b'{"id": 3}',
        b"\xff",
    ]
    listing = parse_listing(b"\n".join(lines))
    assert listing.ids == ("a", "b")
    assert listing.warned == ("c",)
    assert listing.stray == 4


@given(st.lists(st.text()))
def test_ids_come_back_in_order(ids: list[str]) -> None:
    assert parse_listing(b"\n".join(json.dumps(each).encode() for each in ids)).ids == tuple(ids)


@given(st.binary())
def test_no_output_is_a_traceback(stdout: bytes) -> None:
    listing = parse_listing(stdout)
    assert listing.stray <= stdout.count(b"\n") + 1
