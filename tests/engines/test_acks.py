"""Acknowledgements out of a byte stream: the same however the writes cut it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.operation import Ack, AnyOperation, Close, Link, Open, Rename, Sync, Unlink, Write
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


def run(words: str) -> list[AnyOperation]:
    """Return operations, one per word.

    ``w1`` a write to file 1, ``f1`` its flush, ``c1`` its close, ``o1=a`` file 1 made as ``a``, ``a>b`` a rename,
    ``-a`` a removal, ``S`` a flush of everything, ``l1=a`` a link, ``A`` an acknowledgement, ``AAA`` three of them
    in one write.
    """
    found: list[AnyOperation] = []
    for word in words.split():
        seq, ino = len(found), int(word[1]) if word[1:2].isdigit() else 0
        if set(word) == {"A"}:
            found += [Ack(seq=seq + place, id=str(place), batch=place) for place in range(len(word))]
        elif ">" in word:
            found.append(Rename(seq=seq, path=word.partition(">")[0], to=word.partition(">")[2]))
        elif word == "S":
            found.append(Sync(seq=seq, ino=-1, scope="all"))
        elif word[0] == "-":
            found.append(Unlink(seq=seq, path=word[1:]))
        elif word[0] == "o":
            found.append(Open(seq=seq, ino=ino, path=word[3:], created=True))
        elif word[0] == "l":
            found.append(Link(seq=seq, ino=ino, path=word[3:]))
        else:
            made = {"w": Write(seq=seq, ino=ino, offset=0, data=b"x"), "c": Close(seq=seq, ino=ino)}
            made["f"] = Sync(seq=seq, ino=ino, scope="file")  # type: ignore[assignment]
            found.append(made[word[0]])
    return found


@pytest.mark.parametrize(
    "words",
    [
        "w1 w1 AA",
        "w1 a>b AA",
        "w1 w2 c1 AAA",
        "w1 w1 AA c1",
        "o9=lock c9 w1 w1 AA -lock",
        "w1 w1 AA w1 A",
        "w1 A w1 w1 AA w1 A",
        "w1 f1 w1 f1 AA",
        "w1 c1 w1 c1 AAA w2 c2 AAA",
        "o1=t w1 c1 t>a o2=t w2 c2 t>a AA -lock",
        "o1=t w1 c1 l1=a -t o2=t w2 c2 l2=b -t AA",
        "w1 S w1 S AA",
        "w1 c1 A w2 c2 w3 c3 AA",
    ],
)
def test_buffered_output_shows_wherever_it_comes(words: str) -> None:
    assert looks_buffered(run(words))


@pytest.mark.parametrize(
    "words",
    [
        "",
        "w1 A w1 A",
        "w1 w1 w1 A",
        "w1 AA",
        "AA w1 w1 A",
        "w1 f1 AAA w1 f1 AAA c1",
        "w1 w1 w1 f1 AAA w1 w1 f1 AAA",
        "w1 w1 c1 AAA w1 c1 AA",
        "o1=t w1 f1 w1 f1 c1 t>a f0 AAA o2=t w2 w2 c2 t>a f0 AA",
        "o1=d/a w1 c1 o2=d/b w2 c2 d>e AAA",
        "o1=t w1 c1 l1=a -t AA",
        "o1=j w1 f1 w2 f2 c1 -j AAA o3=j w3 f3 w2 f2 c3 -j AA",
        "o9=lock w9 c9 w1 f1 AA w1 f1 AA -lock",
        "w1 w2 S AA",
    ],
)
def test_prompt_output_and_group_commit_do_not(words: str) -> None:
    assert not looks_buffered(run(words))
