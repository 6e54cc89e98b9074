from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.block.disk_log import END, START, DiskEvent, DiskWrite, Failure, Flush, Mark, decode, encode
from harness.engines.block.image import BLOCK_BYTES, Image

SIZE = 8 * BLOCK_BYTES


@st.composite
def writes(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    found = []
    for _ in range(draw(st.integers(0, 8))):
        offset = draw(st.integers(0, SIZE - 1))
        length = draw(st.integers(0, min(SIZE - offset, 3 * BLOCK_BYTES)))
        found.append((offset, bytes([draw(st.integers(0, 2))]) * length))
    return found


@given(writes(), writes(), st.integers(0, SIZE), st.integers(0, SIZE))
def test_an_image_is_what_a_flat_disk_would_hold(
    first: list[tuple[int, bytes]], second: list[tuple[int, bytes]], begin: int, end: int
) -> None:
    flat = bytearray(SIZE)
    for offset, data in first + second:
        flat[offset : offset + len(data)] = data
    image = Image.of_data(SIZE, first).after(second)
    begin, end = min(begin, end), max(begin, end)
    assert image.read(begin, end - begin) == flat[begin:end]
    rebuilt = bytearray(SIZE)
    previous = -1
    for offset, data in image.extents():
        assert offset > previous, "extents neither overlap nor touch"
        previous = offset + len(data)
        rebuilt[offset:previous] = data
    assert rebuilt == flat
    assert image == Image.of_data(SIZE, [(0, bytes(flat))])
    assert hash(image) == hash(Image.of_data(SIZE, [(0, bytes(flat))]))


def test_a_write_past_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Image(SIZE, {}).after([(SIZE - 1, b"ab")])


def events() -> st.SearchStrategy[DiskEvent]:
    return st.one_of(
        st.builds(DiskWrite, st.integers(0, 1 << 40), st.binary(max_size=50)),
        st.just(Flush()),
        st.builds(Mark, st.sampled_from((START, END, 0, 1, 7))),
        st.builds(Failure, st.text(st.characters(codec="utf-8"), max_size=20)),
    )


@given(st.lists(events(), max_size=12), st.integers(0, 2000))
def test_a_log_survives_its_server_up_to_the_last_whole_event(log: list[DiskEvent], cut: int) -> None:
    encoded = [encode(event) for event in log]
    whole = b"".join(encoded)
    assert list(decode(whole)) == log
    cut = min(cut, len(whole))
    kept = list(decode(whole[:cut]))
    assert kept == log[: len(kept)]
    assert sum(map(len, encoded[: len(kept)])) <= cut
    assert len(kept) == len(log) or sum(map(len, encoded[: len(kept) + 1])) > cut


def test_what_is_no_log_is_said() -> None:
    with pytest.raises(ValueError, match="not a disk log"):
        list(decode(b"?" + bytes(15)))
