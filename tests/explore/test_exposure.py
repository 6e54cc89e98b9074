"""How often kills at random moments do damage: exact verdicts, weighed with the times of plain runs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.operation import Ack, Close, Open, Sync, Write
from harness.core.prediction import Prediction, spell_prediction
from harness.core.strip import PlaceTally
from harness.core.timing import CallTime, TimedCalls
from harness.core.trace import Trace
from harness.explore.exposure import aim, predicted, share_of, steps_of, usable

TRACE = Trace(
    root="/w",
    engine="ptrace",
    operations=(
        Open(seq=0, path="a.json", ino=1, created=True),
        Write(seq=1, ino=1, offset=0, data=b"x" * 8192),
        Sync(seq=2, ino=1, scope="file"),
        Close(seq=3, ino=1),
        Ack(seq=4, id="1"),
    ),
)
PLACES = (
    PlaceTally(0, "before", 1, 0),
    PlaceTally(0, "after", 1, 1),  # empty
    PlaceTally(1, "torn", 1, 1),  # the first page of two
    PlaceTally(1, "after", 1, 0),
    PlaceTally(4, "after", 1, 0),
)
BAD_AT_FIRST, STEPS = steps_of(TRACE, PLACES)


def call(operation: str, begin: float, end: float, occurrence: int = 1) -> CallTime:
    role = "" if operation == "ack" else "a.json"
    return CallTime(operation=operation, role=role, occurrence=occurrence, actor="p0", begin_us=begin, end_us=end)


RUN = TimedCalls(
    calls=(call("open", 100, 110), call("write", 300, 340), call("ack", 500, 510)), end_us=1_000, said_us=510
)


def test_what_changes_nothing_needs_no_counterpart() -> None:
    assert [step.key[0] for step in STEPS] == ["open", "write", "ack"]
    assert not BAD_AT_FIRST
    assert usable(STEPS, [RUN]) == ([RUN], "")


def test_a_state_lasts_from_call_to_call_and_a_long_write_is_cut_while_it_runs() -> None:
    # Damage from the open to the write, 200 us, and during the first half of the write's 40.
    assert share_of(STEPS, BAD_AT_FIRST, RUN, (0, 2_000)) == (pytest.approx(220), 0, 1_000)
    told = predicted(STEPS, BAD_AT_FIRST, [RUN], (0, 2_000))
    assert told.rate == pytest.approx(0.22)  # of the kills that strike: the run ends at 1,000
    assert (told.low, told.high, told.runs) == (pytest.approx(0.22), pytest.approx(0.22), 1)


def test_only_what_lies_in_the_window_counts() -> None:
    assert share_of(STEPS, BAD_AT_FIRST, RUN, (200, 400)) == (pytest.approx(120), 0, 200)
    assert share_of(STEPS, True, RUN, (0, 100)) == (100, 0, 100)


def test_runs_count_by_the_time_that_they_are_alive() -> None:
    calls = tuple(
        msgspec.structs.replace(each, begin_us=each.begin_us - 5_000, end_us=each.end_us - 5_000)
        for each in RUN.calls
    )
    over = TimedCalls(calls=calls, end_us=-1.0)
    assert predicted(STEPS, BAD_AT_FIRST, [RUN, over], (0, 2_000)).rate == pytest.approx(0.22)
    assert predicted(STEPS, BAD_AT_FIRST, [over], (0, 2_000)).reason == "plain runs have ended before the window"


def test_what_comes_in_another_order_is_not_taken_for_what_was_explored() -> None:
    other = TimedCalls(
        calls=(call("open", 100, 110), call("ack", 300, 310), call("write", 500, 540)), end_us=1_000
    )
    assert share_of(STEPS, BAD_AT_FIRST, other, (0, 1_000)).unknown == 200
    told = predicted(STEPS, BAD_AT_FIRST, [other], (0, 1_000))
    assert not told.is_told
    assert spell_prediction(told) == (
        "not predicted: plain runs do what they do in other orders than the recorded one"
    )


def test_a_run_without_one_of_the_operations_is_another_run() -> None:
    short = TimedCalls(calls=RUN.calls[:1], end_us=1_000)
    assert usable(STEPS, [short, RUN]) == ([RUN], "a plain run has no write #1 of a.json")
    assert usable(STEPS, [TimedCalls(problem="no times")]) == ([], "no times")


def test_kills_are_aimed_at_what_changes_the_disk() -> None:
    later = TimedCalls(
        calls=tuple(msgspec.structs.replace(each, begin_us=each.begin_us + 10) for each in RUN.calls)
    )
    assert aim(STEPS, [RUN, later, later]) == (110, 310)
    assert aim(STEPS, []) is None


def test_a_watched_program_ends_as_an_unwatched_one() -> None:
    assert RUN.ending(40.0).end_us == 550
    assert RUN.ending(None) == RUN
    assert TimedCalls(end_us=7.0).ending(40.0).end_us == 7.0


@given(
    begins=st.lists(st.floats(-1e4, 1e5), min_size=3, max_size=3).map(sorted),
    lasts=st.floats(0, 1e4),
    end=st.floats(0, 2e5),
    window=st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)).map(sorted),
    bad_at_first=st.booleans(),
)
def test_shares_never_exceed_the_time_that_the_run_is_alive(
    begins: list[float], lasts: float, end: float, window: list[float], bad_at_first: bool
) -> None:
    names = ("open", "write", "ack")
    run = TimedCalls(
        calls=tuple(call(name, at, at + lasts) for name, at in zip(names, begins, strict=True)), end_us=end
    )
    share = share_of(STEPS, bad_at_first, run, (window[0], window[1]))
    assert 0 <= share.exposed <= share.alive + 1e-6
    assert share.alive <= window[1] - window[0] + 1e-6
    assert share.unknown == 0


def test_predictions_in_words() -> None:
    told = Prediction(rate=0.07, low=0.058, high=0.089, runs=5)
    assert spell_prediction(told) == "p predicted about 7.0 % (5.8 to 8.9 % in 5 plain runs)"
    nothing = Prediction(rate=0.0, high=0.0)
    assert spell_prediction(nothing) == "p predicted 0: nothing that a kill can leave is violated"
