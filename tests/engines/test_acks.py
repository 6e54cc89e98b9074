"""Acknowledgements out of a byte stream: the same however the writes cut it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.operation import Ack, AnyOperation, Close, Rename, Write
from harness.core.run import DEFAULT_ACK
from harness.engines.acks import MAX_LINE_BYTES, AckPatternError, AckReader, looks_buffered

LINES = st.lists(
    st.one_of(
        st.from_regex(rb"\AACK [a-z0-9]{1,8}( [a-z]{1,4})?\r?\Z"),
        st.sampled_from([b"", b"ACK", b"ACK ", b"NACK 1", b" ACK 2", b"ACK \xff\xfe", b"READY", b"ack 3"]),
        st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b".")),
    ),
    max_size=12,
)


@given(lines=LINES, rest=st.binary(max_size=5), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_any_chunking_gives_the_same_acknowledgements(lines: list[bytes], rest: bytes, cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines) + rest.replace(b"\n", b"")
    whole = AckReader(DEFAULT_ACK, "^READY").feed(stream)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = AckReader(DEFAULT_ACK, "^READY")
    pieces = [found for start, end in pairwise(edges) for found in reader.feed(stream[start:end])]
    assert pieces == whole
    assert reader.armed == (b"READY" in lines or any(line.startswith(b"READY") for line in lines))
    assert len(whole) == sum(1 for line in lines if line.startswith(b"ACK ") and line[4:].strip())


def test_a_line_counts_when_its_newline_arrives() -> None:
    reader = AckReader(DEFAULT_ACK)
    assert reader.feed(b"ACK 1") == []
    assert reader.feed(b"7\nACK 18\nACK") == ["17", "18"]
    assert reader.split_batch
    assert reader.feed(b" 19\n") == ["19"]


def test_another_pattern() -> None:
    assert AckReader(r"saved (?P<id>\d+)$").feed(b"it saved 12\nsaved x\n") == ["12"]
    assert AckReader("").feed(b"ACK 1\n") == []


def test_a_line_without_an_end_takes_no_memory() -> None:
    reader = AckReader(DEFAULT_ACK)
    for _ in range(100):
        assert reader.feed(b"ACK " + b"x" * MAX_LINE_BYTES) == []
    assert len(reader._partial) <= MAX_LINE_BYTES
    assert reader.feed(b"still the same line\nACK 1\n") == ["1"]


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "ack pattern"), ("^ACK", "needs a group 'id'|needs a group named 'id'")]
)
def test_a_bad_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(AckPatternError, match=message):
        AckReader(pattern)
    with pytest.raises(AckPatternError, match="arm pattern"):
        AckReader(DEFAULT_ACK, "[")


def write(seq: int) -> AnyOperation:
    return Write(seq=seq, ino=1, offset=0, data=b"x")


def acks(seq: int, *batch: int) -> list[AnyOperation]:
    return [Ack(seq=seq + place, id=str(place), batch=number) for place, number in enumerate(batch)]


def test_buffered_output_shows_at_the_end() -> None:
    two_changes = [write(0), Rename(seq=1, path="a", to="b")]
    assert looks_buffered([*two_changes, *acks(2, 0, 1)])
    assert looks_buffered([*two_changes, Close(seq=2, ino=1), *acks(3, 0, 1, 2)])
    assert looks_buffered([*two_changes, *acks(2, 0, 1), Close(seq=4, ino=1)])


def test_prompt_output_does_not() -> None:
    assert not looks_buffered([write(0), *acks(1, 0), write(2), *acks(3, 0)])
    assert not looks_buffered([write(0), write(1), *acks(2, 0)]), "a single final one is fine"
    assert not looks_buffered([write(0), *acks(1, 0, 1)]), "one change can only have been acknowledged now"
    assert not looks_buffered([write(0), write(1), *acks(2, 0, 1), write(4), *acks(5, 0)])
    assert not looks_buffered([])
