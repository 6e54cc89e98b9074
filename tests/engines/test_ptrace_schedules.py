"""Runs under a schedule: planted races of depth 2 and 3 are found and replayed; what does not follow is said."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import pytest

from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.run import Limits, Recording
from harness.core.schedule import AnySchedule, Prefix, Schedule, Search, schedule_of
from harness.core.tree import File, Tree
from harness.engines import UnsupportedFaultError, engine
from harness.engines.ptrace import scheduled as module
from harness.explore.schedule import Systematic, contended, pct_bound, strands
from harness.sandbox.environment import real_python
from tests.explore.test_schedulers import least

Run = Callable[..., Recording]

pytestmark = pytest.mark.real


@pytest.fixture
def traced(scheduling: Run) -> Run:
    """Every engine that decides keeps the whole contract."""
    return scheduling


RACES = os.path.join(os.path.dirname(__file__), "writers", "races.py")
PYTHON = (real_python(), "-ISE")


def plan(order: AnySchedule, *faults: Kill) -> FaultPlan:
    return FaultPlan(schedule=order, faults=faults)


def race(traced: Run, depth: int, order: AnySchedule, *more: str) -> Recording:
    recording = traced(*PYTHON, RACES, str(depth), "{dir}", *more, plan=plan(order))
    assert recording.scheduled is not None
    assert recording.differences == ()
    return recording


def text(tree: Tree, path: str) -> bytes | None:
    node = tree.node_at(path)
    return node.content.to_bytes() if isinstance(node, File) else None


def met(depth: int, recording: Recording) -> bool:
    if depth == 2:
        return text(recording.final, "state") != b"2"
    return text(recording.final, "state.seen") is not None


def order_of(recording: Recording) -> list[tuple[str, str, int]]:
    assert recording.trace is not None
    actors = recording.trace.actors
    return [(op.kind, actors[op.actor].label, op.error) for op in recording.trace.operations]


def script(traced: Run, text: str, order: AnySchedule, *faults: Kill, **more: object) -> Recording:
    return traced(*PYTHON, "-c", text, "{dir}", plan=plan(order, *faults), **more)


@pytest.mark.parametrize("more", [(), ("processes",)], ids=["threads", "processes"])
@pytest.mark.parametrize("depth", [2, 3])
def test_systematic_meets_a_race_within_its_preemptions_and_replays_it(
    traced: Run, depth: int, more: tuple[str, ...]
) -> None:
    systematic = Systematic(depth - 1)
    found: Recording | None = None
    while found is None and (prefix := systematic.next()) is not None:
        recording = race(traced, depth, Prefix(begin=schedule_of(prefix)), *more)
        assert recording.scheduled is not None and not recording.scheduled.problem
        decisions = recording.scheduled.schedule.decisions
        assert decisions[: len(prefix)] == prefix
        systematic.ran(decisions, recording.scheduled.offered)
        found = recording if met(depth, recording) else None
    assert found is not None and found.scheduled is not None, f"not met in {systematic.tried} interleavings"
    for _ in range(2):
        again = race(traced, depth, found.scheduled.schedule, *more)
        assert again.scheduled is not None
        assert (again.ending, again.scheduled.problem) == ("exited", "")
        assert again.scheduled.schedule == found.scheduled.schedule
        assert order_of(again) == order_of(found)
        assert again.final.key == found.final.key


def test_pct_meets_a_race_and_the_same_seed_decides_the_same(traced: Run) -> None:
    seeds = (
        seed for seed in range(40) if met(2, race(traced, 2, Search(policy="pct", seed=seed, depth=2, steps=16)))
    )
    seed = next(seeds)
    first, again = (race(traced, 2, Search(policy="pct", seed=seed, depth=2, steps=16)) for _ in range(2))
    assert first.scheduled is not None and again.scheduled is not None
    assert first.scheduled == again.scheduled


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("depth", [2, 3])
def test_pct_meets_each_rung_as_often_as_published(traced: Run, depth: int, evidence: bool) -> None:
    if not evidence:
        pytest.skip("thousands of runs; --evidence")
    probe = race(traced, depth, Search(policy="pct", depth=1))
    assert probe.scheduled is not None
    steps, actors = contended(probe.scheduled.offered), strands(probe.scheduled.offered)
    bound = pct_bound(actors, steps, depth)
    runs, found = math.ceil(10 / bound), 0
    for seed in range(runs):
        found += met(depth, race(traced, depth, Search(policy="pct", seed=seed, depth=depth, steps=steps)))
    print(f"depth {depth}, n {actors}, k {steps}: {found}/{runs}, bound {bound:.5f}")
    assert found >= least(runs, bound)


def test_a_replay_that_nobody_follows_ends_with_the_reason(traced: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 2.5)
    whole = race(traced, 2, Search(policy="random", seed=1))
    assert whole.scheduled is not None
    decisions = whole.scheduled.schedule.decisions

    absent = race(traced, 2, schedule_of([*decisions[:3], "p0.t7", *decisions[3:]]))
    assert absent.ending == "limit"
    assert "p0.t7, whose turn it is, did not come within 2.5 s" in absent.ending_detail
    cut = race(traced, 2, schedule_of(decisions[:-2]))
    assert f"after the last of {len(decisions) - 2} decisions" in cut.ending_detail
    longer = race(traced, 2, schedule_of([*decisions, "p0"]))
    assert longer.ending == "exited"
    assert longer.scheduled is not None
    assert longer.scheduled.problem == f"the run ended after {len(decisions)} of {len(decisions) + 1} decisions"


LOCKED = """
import fcntl, os, sys, threading
path = os.path.join(sys.argv[1], "n")
open(path, "w").close()
def add():
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(path, "r+b", 0) as stream:
            number = int(stream.read() or b"0") + 1
            stream.seek(0)
            stream.write(b"%d" % number)
threads = [threading.Thread(target=add) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_who_waits_for_a_lock_is_not_held_and_the_order_comes_back(traced: Run) -> None:
    for seed in range(4):
        recording = script(traced, LOCKED, Search(policy="random", seed=seed))
        assert recording.scheduled is not None
        assert (recording.ending, text(recording.final, "n")) == ("exited", b"2"), recording.ending_detail
        again = script(traced, LOCKED, recording.scheduled.schedule)
        assert again.scheduled is not None and not again.scheduled.problem
        assert [op for op in order_of(again) if op[0] != "lock"] == [
            op for op in order_of(recording) if op[0] != "lock"
        ]


def test_a_deadlock_of_the_schedule_is_named(traced: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 2.5)
    recording = script(traced, LOCKED, Search(policy="pct", depth=1, seed=1))
    assert recording.scheduled is not None
    decisions = list(recording.scheduled.schedule.decisions)
    first, second = sorted(("p0.t1", "p0.t2"), key=decisions.index)
    begin = decisions[: decisions.index(first) + 2]  # its open, and the lock
    stuck = script(traced, LOCKED, schedule_of([*begin, second, second, second, second]))
    assert stuck.ending == "limit"
    assert f"a deadlock of the schedule: {second}, whose turn it is" in stuck.ending_detail
    assert "it waits in flock" in stuck.ending_detail
    assert f"held: {first} before its" in stuck.ending_detail


CROSSED = """
import os, sys, threading
a, b = threading.Lock(), threading.Lock()
def body(one, other, name):
    with one:
        os.stat(sys.argv[1])
        with other:
            open(os.path.join(sys.argv[1], name), "w").close()
threads = [threading.Thread(target=body, args=each) for each in ((a, b, "x"), (b, a, "y"))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_a_deadlock_of_the_program_is_met_and_named(traced: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 2.5)
    recording = script(traced, CROSSED, Search(policy="random", seed=2))
    assert recording.ending == "limit"
    assert "a deadlock: for 2.5 s all threads have waited for each other" in recording.ending_detail
    assert "p0.t1 in futex" in recording.ending_detail


LEFT_BEHIND = """
import os, sys, threading, time
path = os.path.join(sys.argv[1], "late")
def late():
    with open(path, "w") as stream:
        stream.write("x")
threading.Thread(target=late, daemon=True).start()
os.stat(sys.argv[1])
"""


def test_whether_a_daemon_thread_comes_before_the_end_is_decided_too(traced: Run) -> None:
    left = set()
    for seed in range(8):
        recording = script(traced, LEFT_BEHIND, Search(policy="random", seed=seed))
        again = script(traced, LEFT_BEHIND, recording.scheduled.schedule)  # type: ignore[union-attr]
        assert again.scheduled is not None and not again.scheduled.problem
        assert again.final.key == recording.final.key
        left.add(text(recording.final, "late"))
        if len(left) > 1:
            return
    raise AssertionError(f"one order only: {left}")


def test_a_kill_strikes_while_another_actor_stands_between_its_read_and_its_write(traced: Run) -> None:
    whole = race(traced, 2, Search(policy="random", seed=3))
    assert whole.scheduled is not None
    point = CrashPoint(operation="write", role="state", occurrence=1)
    recording = traced(*PYTHON, RACES, "2", "{dir}", plan=plan(whole.scheduled.schedule, Kill(at=point)))
    assert recording.signal == 9
    assert [item.fault for item in recording.delivered] == ["kill"]
    made = recording.scheduled.schedule.decisions  # type: ignore[union-attr]
    assert made == whole.scheduled.schedule.decisions[: len(made)]


def test_a_spinning_thread_does_not_stop_a_run(traced: Run) -> None:
    spin = """
import os, sys, threading
done = []
def body():
    for n in range(2):
        open(os.path.join(sys.argv[1], f"f{n}"), "w").close()
    done.append(1)
threading.Thread(target=body).start()
while not done: pass
"""
    recording = script(traced, spin, Search(policy="pct"), limits=Limits(timeout_s=25))
    assert recording.ending == "exited"
    assert set(recording.final.names) == {"f0", "f1"}


def test_only_an_engine_that_decides_takes_a_schedule(traced: Run) -> None:
    recording = script(traced, "pass", Search(policy="natural"))
    assert recording.scheduled is not None
    with pytest.raises(UnsupportedFaultError, match="ptrace carries out schedules"):
        engine("timed").run(recording.spec, plan(Schedule()))
