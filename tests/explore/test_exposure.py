"""How long a run stands where a kill does damage: the cost of stops is taken off, and only the window counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.operation import Open, Write
from harness.core.strip import PlaceTally
from harness.core.trace import Trace
from harness.explore.exposure import LEAST_US, exposed_us, undisturbed

US = 1_000


@given(st.lists(st.floats(0, 10_000), max_size=30), st.floats(0, 200_000))
def test_what_is_taken_off_is_the_same_for_all_and_brings_the_whole_down(gaps: list[float], whole: float) -> None:
    plain = undisturbed(gaps, whole)
    assert len(plain) == len(gaps)
    assert all(after <= before for after, before in zip(plain, gaps, strict=True))
    least = sum(min(LEAST_US, gap) for gap in gaps)
    assert sum(plain) == pytest.approx(min(sum(gaps), max(whole, least)), abs=1.0)
    off = {round(gap - left, 3) for gap, left in zip(gaps, plain, strict=True) if left > LEAST_US}
    assert len(off) <= 1 or max(off) - min(off) < 0.01


def test_only_what_violates_and_lies_in_the_window_counts() -> None:
    trace = Trace(
        root="/w",
        engine="ptrace",
        operations=(
            Open(seq=0, at_ns=100 * US, path="a", ino=1, created=False, truncated=True),
            Write(seq=1, at_ns=300 * US, ino=1, offset=0, data=b"x"),
            Open(seq=2, at_ns=1_000 * US, path="b", ino=2, created=True),
        ),
    )
    places = (PlaceTally(0, "before", 1, 1), PlaceTally(0, "after", 1, 1), PlaceTally(2, "after", 1, 1))
    assert exposed_us(trace, places, (0, 1_100), 1_100, (0, 1_100)) == pytest.approx(300)
    assert exposed_us(trace, places, (0, 1_100), 1_100, (250, 1_050)) == pytest.approx(100)
    # The clock began between the first operation and the second: what came before is not struck.
    assert exposed_us(trace, places, (200, 1_100), 900, (0, 900)) == pytest.approx(100)
    # Four gaps of 100, 200, 700 and 100 in a plain run of 700: each is 100 shorter, or a call.
    assert exposed_us(trace, places, (0, 1_100), 700, (0, 700)) == pytest.approx(100 + LEAST_US, abs=4)
