"""The lines of a ``list`` command."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import found_session, parse_listing, parse_losses


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


def test_what_recovery_reports_as_lost() -> None:
    lines = b'ACK r1\n{"lost": "pin", "id": "local_a"}\n{"lost": 3, "id": "x"}\n{"lost": "title"}\n[]\n\xff\n'
    assert parse_losses(lines) == (("pin", "local_a"),)


def test_a_session_is_found_where_messages_are_printed_and_no_error() -> None:
    assert found_session(b'note\n{"messages": []}\n')
    assert not found_session(b"")
    assert not found_session(b'{"messages": 3}\n')
    assert not found_session(b'{"messages": []}\n{"error": "torn"}\n')


@given(st.binary())
def test_neither_is_put_off_by_any_output(stdout: bytes) -> None:
    assert isinstance(parse_losses(stdout), tuple)
    assert found_session(stdout) in (True, False)
