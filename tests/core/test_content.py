"""Content behaves as a bytearray whose digest does not depend on how it was built."""

from __future__ import annotations

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import content as content_module
from harness.core.content import EMPTY, FileTooLargeError, content_of

_DATA = st.binary(max_size=40)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), _DATA),
        st.tuples(st.just("write"), st.integers(0, 80), _DATA),
        st.tuples(st.just("truncate"), st.integers(0, 90)),
        st.tuples(st.just("read"), st.integers(0, 90), st.integers(0, 90)),
    ),
    max_size=25,
)


def _model_write(model: bytearray, offset: int, data: bytes) -> None:
    if data:
        model.extend(bytes(max(0, offset - len(model))))
        model[offset : offset + len(data)] = data


def _model_truncate(model: bytearray, size: int) -> None:
    del model[size:]
    model.extend(bytes(size - len(model)))


@given(_STEPS)
def test_content_follows_a_bytearray(steps: list[tuple]) -> None:
    content, model = EMPTY, bytearray()
    seen = []
    for step in steps:
        match step:
            case ("append", data):
                content = content.append(data)
                model.extend(data)
            case ("write", offset, data):
                content = content.write(offset, data)
                _model_write(model, offset, data)
            case ("truncate", size):
                content = content.truncate(size)
                _model_truncate(model, size)
            case ("read", start, end):
                assert content.read(start, end) == bytes(model[start:end])
        seen.append((content, bytes(model)))
    for then, was in seen:  # nothing that came later changed an earlier value
        assert then.to_bytes() == was
        assert then.size == len(was)
        assert then.digest == hashlib.blake2b(was, digest_size=16).digest()


@given(st.lists(_DATA, max_size=8))
def test_digest_is_independent_of_chunking(chunks: list[bytes]) -> None:
    pieces = EMPTY
    for chunk in chunks:
        pieces = pieces.append(chunk)
    whole = content_of(b"".join(chunks))
    assert pieces == whole
    assert hash(pieces) == hash(whole)


@given(_DATA, _DATA)
def test_equal_exactly_when_the_bytes_are(left: bytes, right: bytes) -> None:
    assert (content_of(left) == content_of(right)) == (left == right)


def test_appending_shares_the_prefix() -> None:
    base = content_of(b"x" * 100)
    grown = base.append(b"y")
    assert grown.prev is base
    assert grown.truncate(100) is base


def test_chain_yields_the_prefixes_longest_first() -> None:
    content = EMPTY.append(b"a").append(b"b").append(b"c")
    assert [c.to_bytes() for c in content.chain()] == [b"abc", b"ab", b"a", b""]


def test_a_long_chain_survives_pickling_and_disposal() -> None:
    content = EMPTY
    for _ in range(100_000):
        content = content.append(b"x")
    assert pickle.loads(pickle.dumps(content)) == content
    del content  # deep links must not overflow the stack


def test_growth_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "MAX_FILE_BYTES", 10)
    for grow in (
        lambda: EMPTY.truncate(11),
        lambda: EMPTY.append(bytes(11)),
        lambda: EMPTY.write(8, b"abc"),
        lambda: content_of(b"1234567890").append(b"1"),
    ):
        with pytest.raises(FileTooLargeError):
            grow()
    assert EMPTY.truncate(10).size == 10


def test_repr_quotes_no_content() -> None:
    assert "secret" not in repr(content_of(b"secret"))
