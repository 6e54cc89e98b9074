"""Where timed kills are aimed, that they come from the seed, and what their rate says."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign.context import Case, Measured
from harness.campaign.executor import Call, Executor, Outcome
from harness.campaign.predicting import PlainRun, started_as, time_runs
from harness.campaign.timed import CATCHABLE, Window, moments, timed_plans, window_of
from harness.campaign.work import Explored, Judged
from harness.catalog import Subject
from harness.core.operation import Ack, AnyOperation, Close, Open, Outside, Sync, Write
from harness.core.prediction import Prediction
from harness.core.run import Recording, RunSpec
from harness.core.strip import PlaceTally
from harness.core.timing import TimedCalls
from harness.core.trace import Trace
from harness.core.tree import EMPTY_TREE
from harness.explore import Exploration
from tests.campaign.conducting import IN_PLACE, conduct_probe

SPEC = RunSpec(argv=("x",), root="/w/state", cwd="/w/cwd", environment={})
CASE = Case(subject=Subject(target="t", variant="v", version="", spec=SPEC), faults=("kill",))
MS = 1_000_000


def trace_of(*operations: AnyOperation) -> Trace:
    return Trace(root="/w/state", engine="ptrace", operations=operations)


WRITES = (
    Open(seq=0, at_ns=10 * MS, path="log", ino=1, created=False),  # changes nothing
    Open(seq=1, at_ns=40 * MS, path="a", ino=2, created=True),
    Write(seq=2, at_ns=60 * MS, ino=2, offset=0, data=b"x"),
    Close(seq=3, at_ns=80 * MS, ino=2),
    Ack(seq=4, at_ns=90 * MS, id="1"),
    Sync(seq=5, at_ns=95 * MS, ino=2, scope="file"),
    Outside(seq=6, at_ns=99 * MS, path="/tmp/x"),
)


def test_the_window_lies_around_the_operations_that_change_something() -> None:
    window = window_of(trace_of(*WRITES), None, 100_000, PlainRun(armed_us=0, run_us=100_000))
    assert window == Window(start_us=35_000, end_us=65_000, run_us=100_000)


def test_the_clock_starts_at_the_arm_line() -> None:
    window = window_of(trace_of(*WRITES), 30_000, 100_000, PlainRun(armed_us=30_000, run_us=100_000))
    assert (window.start_us, window.end_us) == (5_000, 35_000)


def test_a_recording_is_slower_than_a_plain_run() -> None:
    # Behind the arm line the recording took 80 ms, a plain run takes 20: a quarter.
    window = window_of(trace_of(*WRITES), 20_000, 100_000, PlainRun(armed_us=10_000, run_us=30_000))
    assert window.start_us == pytest.approx(0, abs=200)
    assert window.end_us == pytest.approx(15_000, abs=200)
    assert window.run_us == 30_000


def test_a_plain_run_that_happens_to_be_slower_does_not_stretch_the_window() -> None:
    window = window_of(trace_of(*WRITES), None, 100_000, PlainRun(armed_us=0, run_us=500_000))
    assert (window.start_us, window.end_us) == (35_000, 65_000)


def test_a_run_that_changes_nothing_still_has_a_window() -> None:
    assert window_of(trace_of(), None, 0, PlainRun(armed_us=0, run_us=1)).length_us > 0


@given(
    seed=st.integers(0, 2**63 - 1),
    start=st.integers(0, 10**9),
    length=st.integers(1, 10**9),
    count=st.integers(0, 30),
)
def test_moments_lie_in_the_window_and_depend_on_nothing_else(
    seed: int, start: int, length: int, count: int
) -> None:
    window = Window(start_us=start, end_us=start + length, run_us=1)
    planned = moments(seed, CASE, window, count)
    assert len(planned) == count
    assert all(window.start_us <= moment < window.end_us for moment in planned)
    assert moments(seed, CASE, window, count) == planned
    assert moments(seed, CASE, window, count + 5)[:count] == planned


def test_the_seed_chooses_the_fraction_of_the_window() -> None:
    narrow, wide = (Window(start_us=1_000, end_us=1_000 + size, run_us=1) for size in (10**6, 10**8))
    for near, far in zip(moments(3, CASE, narrow, 20), moments(3, CASE, wide, 20), strict=True):
        assert (near - 1_000) / 10**6 == pytest.approx((far - 1_000) / 10**8, abs=1e-5)
    assert moments(3, CASE, wide, 20) != moments(4, CASE, wide, 20)


def test_each_signal_has_its_share_and_moments_of_its_own() -> None:
    window = Window(start_us=0, end_us=10**6, run_us=1)
    planned = dict(timed_plans(3, msgspec.structs.replace(CASE, timed=2, signals=7), window))
    assert list(planned) == ["timed/0", "timed/1", *(f"signal/{index}" for index in range(7))]
    faults = {name: plan.faults[0] for name, plan in planned.items()}
    assert [faults[f"signal/{index}"].signal for index in range(7)] == [*CATCHABLE, *CATCHABLE, CATCHABLE[0]]
    assert len({fault.delay_us for fault in faults.values()}) == 9
    assert {plan.fault_class for plan in planned.values()} == {"kill", "signal"}
    without = dict(timed_plans(3, msgspec.structs.replace(CASE, signals=7), window))
    assert without == {name: plan for name, plan in planned.items() if name in without}  # kills move no signal


class OneByOne(Executor):
    """Calls its functions right away."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def run(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        for call in calls:
            self.called.append(call.function.__name__)
            yield Outcome(call.key, TimedCalls(problem="it does not tell its times"))


def explored(violated: int) -> Measured:
    """Return a case whose exploration found so many states violated."""
    places = (PlaceTally(0, "after", 1, violated),)
    found = Exploration(fault_class="kill", enumerated=1, distinct=1, violated=violated, groups=(), places=places)
    recording = Recording(
        spec=SPEC, engine="ptrace", final=EMPTY_TREE, ending="exited", trace=trace_of(*WRITES[1:2])
    )
    judged = Judged(bindings=(), inferred=False, masked=False, invariants=frozenset())
    case = msgspec.structs.replace(CASE, timed=100)
    return Measured(case, Explored(recording=recording, judged=judged, explorations={"kill": found}))


PLAIN = PlainRun(armed_us=0, run_us=100_000)


def test_without_an_arm_line_a_timed_run_starts_as_each_unwatched_one() -> None:
    run = TimedCalls(end_us=900.0, said_us=500.0)
    plain = msgspec.structs.replace(PLAIN, tail_us=100.0, said_us=(400.0, 800.0))
    assert [(each.said_us, each.end_us) for each in started_as(plain, run)] == [(400, 500), (800, 900)]
    assert started_as(PLAIN, run) == [run]
    silent = TimedCalls(end_us=900.0)
    assert started_as(plain, silent) == [silent]


def test_no_plain_run_is_timed_where_it_would_tell_nothing() -> None:
    executor = OneByOne()
    assert time_runs(executor, explored(0), PLAIN, in_time=True).predict((0, 1)) == Prediction(rate=0.0, high=0.0)
    late = time_runs(executor, explored(1), PLAIN, in_time=False).predict((0, 1))
    assert (late.is_told, late.reason) == (False, "the budget is used up")
    assert executor.called == []
    silent = time_runs(executor, explored(1), PLAIN, in_time=True)
    assert executor.called == ["time_once"]  # and not five times
    assert silent.aim() is None
    assert silent.predict((0, 1)).reason == "it does not tell its times"


SLOW_IN_PLACE = IN_PLACE.replace("    os.write(file", "    __import__('time').sleep(0.1)\n    os.write(file")


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux")
def test_signals_are_judged_as_a_class_of_their_own(tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(SLOW_IN_PLACE)
    done = conduct_probe(tmp_path, script, ("kill", "signal"), timed=9)
    (case,) = [item for item in done.finished.summary["cases"] if not item["control"]]
    rows = [row for row in done.rows.values() if row.fault_class == "signal" and row.kind == "timed"]
    assert {row.fault["faults"][0]["signal"] for row in rows if row.fault} == set(CATCHABLE)
    line = next(item for item in case["classes"] if item["fault_class"] == "signal")
    assert line["verdict"] == "violated"
    after_acks = [row for row in done.rows.values() if row.kind == "signal" and row.target == "probe"]
    assert len(rows) == 9
    assert line["runs"] + line["inconclusive"] == len(rows) + len(after_acks)
    assert case["timed_runs"] + case["timed_inconclusive"] == 9  # the kills alone
    assert {row.died_by for row in rows if row.verdict == "violated"} <= {"signal 15", "signal 1", "signal 2"}
    # Its handlers might have run: what it leaves is not taken for what a kill leaves.
    found = [item for item in done.findings if item.fault_class == "signal" and item.crash_point is None]
    assert {finding.operation for finding in found} == {"unattributed"}
    controls = {
        item["variant"]: {line["fault_class"]: line for line in item["classes"]}
        for item in done.finished.summary["cases"]
        if item["control"]
    }
    assert controls["durable"]["signal"]["verdict"] == "held"
    assert "signal" not in controls["buggy"]
    assert done.finished.exit_code == 1


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux")
def test_timed_kills_have_a_rate_and_late_ones_are_counted_apart(tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(SLOW_IN_PLACE)
    done = conduct_probe(tmp_path, script, ("kill",), timed=12)
    (case,) = [item for item in done.finished.summary["cases"] if not item["control"]]
    rows = [row for row in done.rows.values() if row.kind == "timed"]
    assert len(rows) == 12
    assert case["timed_runs"] + case["timed_inconclusive"] == 12
    assert case["timed_bad"] == sum(row.verdict == "violated" for row in rows)
    assert case["timed_bad"] > 0
    for row in rows:
        if row.verdict == "inconclusive":
            assert (row.note, row.delivered) == ("the run ended before its fault", "")
        else:
            assert row.died_by == "signal 9"
    window = case["timed_window"]
    assert 0 <= window["start_us"] < window["end_us"]
    assert window["run_us"] > 20_000
    # Nearly all of the window it sleeps beside an emptied file, and says so itself.
    assert window["prediction"]["reason"] == ""
    assert 0.5 < window["prediction"]["low"] <= window["prediction"]["rate"] <= window["prediction"]["high"] <= 1
    controls = [item for item in done.finished.summary["cases"] if item["control"]]
    assert all(item["timed_window"]["prediction"] is None for item in controls if item.get("timed_window"))
    # A kill between two operations leaves the same damage as one at an operation: it is the same finding.
    assert all(finding.operation != "unattributed" for finding in done.findings)
    assert max(finding.runs for finding in done.findings) > 0
