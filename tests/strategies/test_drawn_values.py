"""What the strategies draw is valid, carries everything that was asked for, and shrinks to the simplest there is."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from harness.catalog.workload import Workload, problem, steps_of
from harness.core.apply import replay
from harness.core.fault import CrashPoint, Damaged, Errno, FaultPlan, Kill, Short, Timed
from harness.core.json_record import decode_record, encode_record
from harness.core.schedule import Schedule, Search
from harness.core.trace import Trace
from harness.explore.plans import FAILURES
from harness.explore.script import Script
from harness.explore.states import crash_states
from harness.strategies import (
    crash_points,
    fault_plans,
    faults,
    schedules,
    searches,
    tangled_traces,
    traces,
    workloads,
)
from harness.strategies.faults import KINDS, points_of

QUIET = settings(
    max_examples=400,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def simplest(strategy: st.SearchStrategy[Any], wanted: Any = lambda _: True) -> Any:
    return find(strategy, wanted, settings=QUIET)


def recorded() -> Trace:
    script = Script()
    script.put("a.json", b"x" * 9000)
    script.ack(1)
    script.replace("a.json", b"y" * 100)
    script.ack(2)
    return script.trace()


@given(workloads(parallel=3))
def test_workloads_are_what_a_scenario_may_ask_for(workload: Workload) -> None:
    assert problem(workload) == ""
    assert bool(steps_of(workload, 1)) == bool(workload.tools.parallel)


def test_a_workload_is_bounded_and_shrinks_to_one_update_of_one_session() -> None:
    assert simplest(workloads()) == Workload(
        sessions=1, updates=1, record_bytes=(0, 0), tools=simplest(workloads()).tools
    )
    big = simplest(workloads(sessions=9, updates=9, parallel=2), lambda found: found.updates * found.sessions > 20)
    assert (big.tools.parallel, big.interrupt) == (0, ())
    with pytest.raises(ValueError, match=r"workloads: sessions: 1[0-9]+ is not between"):
        simplest(workloads(sessions=20_000), lambda found: found.sessions > 10_000)


@given(st.dictionaries(st.sampled_from(["p0", "p0.t1", "p1"]), st.integers(0, 5)), st.data())
def test_a_schedule_of_counts_is_complete(counts: dict[str, int], data: st.DataObject) -> None:
    schedule = data.draw(schedules(counts))
    assert schedule.problem() == ""
    assert Counter(schedule.decisions) == Counter({label: count for label, count in counts.items() if count})


@given(schedules(["p0", "p0.t1"], decisions=7) | searches())
def test_schedules_and_searches_travel(order: Schedule | Search) -> None:
    if isinstance(order, Schedule):
        assert len(order.decisions) <= 7
    assert decode_record(encode_record(FaultPlan(schedule=order)).encode(), FaultPlan).schedule == order


def test_a_schedule_shrinks_to_the_fewest_turns() -> None:
    assert simplest(schedules({"p0": 3, "p1": 2})).decisions == ("p0",) * 3 + ("p1",) * 2
    between = simplest(schedules({"p0": 3, "p1": 3}), lambda found: found.switches >= 3)
    assert between.switches == 3


@given(fault_plans(KINDS, most=3, schedules=schedules(["p0", "p1"])))
def test_plans_of_every_kind_travel_and_make_sense(plan: FaultPlan) -> None:
    assert decode_record(encode_record(plan).encode(), FaultPlan) == plan
    assert plan.fault_class != "none"
    later = [not isinstance(fault, Damaged) for fault in plan.faults]
    assert later == sorted(later)
    for fault in plan.faults:
        if isinstance(fault, Errno):
            known = {*FAILURES[fault.at.operation], errno.ENOSPC}
            assert fault.at.phase == "before" and fault.errno in known
        if isinstance(fault, Short):
            assert fault.at.operation == "write" and fault.at.bytes >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_drawn_alone(kind: str) -> None:
    fault = simplest(faults([kind]))
    assert type(fault).__struct_config__.tag == kind


def test_faults_shrink_to_a_kill_before_the_first_operation() -> None:
    (kill,) = simplest(fault_plans()).faults
    assert kill == Kill(at=CrashPoint(operation="write", role="a.json", occurrence=1))
    (kill,) = simplest(fault_plans(trace=recorded())).faults
    assert kill == Kill(at=CrashPoint(operation="open", role="a.json", occurrence=1))
    assert simplest(faults(("timed",))) == Timed(delay_us=0)


def test_of_a_recorded_run_there_is_a_point_for_each_distinct_state() -> None:
    trace = recorded()
    points = points_of(trace)
    assert len(points) == len(set(points))
    # No kill strikes after the last acknowledgement: that run has ended.
    assert len(points) == len({(state.tree.key, state.acked) for state in crash_states(trace, "kill")}) - 1
    assert [point.bytes for point in points if point.phase == "torn"] == [4096, 8192]
    assert {point.phase for point in points} == {"before", "torn", "after"}
    assert simplest(crash_points(trace, phases=("torn",))).bytes == 4096


@given(fault_plans(trace=recorded()))
def test_faults_of_a_recorded_run_strike_in_it(plan: FaultPlan) -> None:
    script = {(point.operation, point.role) for point in points_of(recorded())} | {
        ("sync", "a.json.tmp"),
        ("ack", ""),
    }
    (fault,) = plan.faults
    assert (fault.at.operation, fault.at.role) in script | {("write", "a.json.tmp"), ("rename", "a.json")}  # type: ignore[union-attr]


def test_what_there_is_not_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"no kind of fault 'kil'; did you mean 'kill'\?; valid: kill, short"):
        faults(("kil",))
    with pytest.raises(ValueError, match="of a recorded run there are kill, short, errno, signal, not timed"):
        faults(("timed",), trace=recorded())


@given(traces() | tangled_traces())
def test_made_up_traces_replay(trace: Trace) -> None:
    replay(trace.start, trace.operations)
    assert [op.seq for op in trace.operations] == list(range(len(trace.operations)))


def test_without_hypothesis_it_says_so_in_one_line() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import harness.testing, harness.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = "ModuleNotFoundError: harness.strategies needs hypothesis: pip install 'tornwrite[hypothesis]'"
    assert done.stderr.splitlines()[-1] == said
    assert "During handling" not in done.stderr
