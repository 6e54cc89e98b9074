from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.summary import (
    DigestFold,
    LineFold,
    NulFold,
    PrefixFold,
    line_digest,
    parse_json,
)
from harness.core.content import EMPTY, Content, content_of

PIECES = st.sampled_from(
    [
        b'{"a":1}',
        b"\n",
        b'{"a":"\xe2\x80\xa8"}',
        b"\0",
        b"{",
        b"}",
        b"[1]",
        b"\xff",
        b'{"s":"\\ud83d"}',
        b'{"s":"\\ud83d\\ude00"}',
        b'{"sessionId":"x"}',
        b'{"type":"user","message":1}',
        b'{"type":"user","message":{"content":"hi"}}',
        b" ",
        b"12",
    ]
)
BYTES = st.lists(PIECES, max_size=14).map(b"".join)


def chunked(data: bytes, cuts: list[int]) -> Content:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    content = EMPTY
    for left, right in itertools.pairwise(edges):
        content = content.append(data[left:right])
    return content


@given(BYTES, st.lists(st.integers(0, 500), max_size=12), st.booleans())
def test_a_summary_does_not_depend_on_the_chunks(data: bytes, cuts: list[int], transcript: bool) -> None:
    content = chunked(data, cuts)
    assert content == content_of(data)
    whole = LineFold(parse=True, transcript=transcript).of(content_of(data))
    assert LineFold(parse=True, transcript=transcript).of(content) == whole
    assert NulFold().of(content) == data.find(b"\0")
    assert DigestFold(None).of(content) == tuple(map(line_digest, data.split(b"\n")[:-1]))


@given(BYTES, st.lists(st.integers(0, 500), max_size=12))
def test_one_fold_gives_the_same_for_every_prefix_in_any_order(data: bytes, cuts: list[int]) -> None:
    fold = LineFold(parse=True)
    for content in reversed(list(chunked(data, cuts).chain())):
        assert fold.of(content) == LineFold(parse=True).of(content_of(content.to_bytes()))


@given(BYTES, st.lists(BYTES, min_size=1, max_size=3), st.lists(st.integers(0, 500), max_size=8))
def test_prefixes_are_those_of_the_bytes(data: bytes, known: list[bytes], cuts: list[int]) -> None:
    fold = PrefixFold(tuple(known))
    expected = tuple(index for index, whole in enumerate(known) if whole.startswith(data))
    assert fold.of(chunked(data, cuts)) == expected


@given(BYTES)
def test_lines_are_counted_and_the_tail_found(data: bytes) -> None:
    lines = LineFold(parse=True).of(content_of(data))
    assert lines.complete == data.count(b"\n")
    assert lines.tail_start == data.rfind(b"\n") + 1


def test_a_chain_of_thousands_of_chunks_is_no_recursion() -> None:
    content = EMPTY
    for _ in range(20_000):
        content = content.append(b"{}\n")
    assert LineFold(parse=True).of(content).complete == 20_000
    assert len(DigestFold(None).of(content_of(b"{}\n" * 1000))) == 1000


def test_problems_are_bounded() -> None:
    lines = LineFold(parse=True).of(content_of(b"x\n" * 10_000))
    assert (lines.complete, len(lines.problems)) == (10_000, 16)


@pytest.mark.parametrize(
    ("line", "invariants"),
    [
        (b'{"a":1}', []),
        (b"{}", []),
        ('{"a":"\u2028"}'.encode(), []),
        (b'{"a":"\\ud83d\\ude00"}', []),
        (b'{"a":"\\\\ud83d"}', []),
        (b"", ["B2"]),
        (b"[1]", ["B2"]),
        (b"1", ["B2"]),
        (b'{"a":1}{"b":2}', ["B2"]),
        (b'{"a":NaN}', ["B2"]),
        (b'{"a":Infinity}', ["B2"]),
        (b'{"a":1', ["B2"]),
        (b"\0\0\0", ["B2"]),
        (b'{"a":"\xff"}', ["B4", "B2"]),
        (b'{"a":"\xe2\x80"}', ["B4", "B2"]),
        (b'{"a":"\\ud83d"}', ["B4"]),
        (b'{"a":"\\ude00\\ud83d"}', ["B4"]),
        (b"[" * 100_000, ["B2"]),
        (b'{"a":' + b"9" * 6000 + b"}", []),
    ],
)
def test_what_is_wrong_with_a_line(line: bytes, invariants: list[str]) -> None:
    found = LineFold(parse=True).of(content_of(line + b"\n")).problems
    assert [problem.invariant for problem in found] == invariants
    assert all(repr(line) not in problem.what for problem in found)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_whatever_the_standard_library_writes_parses(value: object) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            continue
        assert parse_json(data) == value


def test_a_chunk_is_compared_at_its_own_place() -> None:
    assert PrefixFold((b"abX",)).of(content_of(b"ab").append(b"ab")) == ()
    assert PrefixFold((b"abab", b"abX")).of(content_of(b"ab").append(b"ab")) == (0,)
