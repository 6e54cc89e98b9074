"""When the operations of a recording come in a plain run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.explore.undisturbed import LEAST_US, STOP_US, undisturbed


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
