"""When operations come in a plain run, and how long it stands where a kill does damage, inside a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.operation import Open, Write
from harness.core.strip import PlaceTally
from harness.core.trace import Trace
from harness.explore.exposure import LEAST_US, STOP_US, exposed_us, plain_moments, undisturbed

US = 1_000


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=30), st.floats(1, 200_000), st.booleans())
def test_a_plain_run_is_as_long_as_it_is_and_no_gap_grows(gaps: list[float], whole: float, starting: bool) -> None:
    plain = undisturbed(gaps, whole, starting)
    assert len(plain) == len(gaps)
    assert all(after <= before + 1e-9 for after, before in zip(plain, gaps, strict=True))
    assert sum(plain) <= max(whole, sum(min(LEAST_US, gap) for gap in gaps)) + 1e-6
    assert sum(gaps) > whole or plain == gaps


def test_sleeping_is_not_made_shorter_by_a_slow_start() -> None:
    # Watched, the start takes 200 ms, unwatched 50; three operations that sleep 30 ms each in between.
    plain = undisturbed([200_000, 30_200, 30_200, 30_200], 140_000, starting=True)
    assert plain[1:] == pytest.approx([30_200 - STOP_US] * 3)
    assert plain[0] == pytest.approx(140_000 - 3 * (30_200 - STOP_US))


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

    def exposed(armed: int, plain: int, window: tuple[int, int]) -> float:
        return exposed_us(trace, places, plain_moments(trace, armed, 1_100, plain), plain, window)

    assert exposed(0, 1_100, (0, 1_100)) == pytest.approx(300)
    assert exposed(0, 1_100, (250, 1_050)) == pytest.approx(100)
    # The clock began between the first operation and the second: what came before is not struck.
    assert exposed(200, 900, (0, 900)) == pytest.approx(100 + 100)
    # Four gaps of 100, 200, 700 and 100 in a plain run of 700: each is 100 shorter, or a call.
    assert exposed(0, 700, (0, 700)) == pytest.approx(100 + LEAST_US, abs=4)
