from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from harness.campaign import executor as executor_module
from harness.campaign.executor import (
    Call,
    CallTimeoutError,
    Executor,
    ExecutorError,
    WorkerDiedError,
)
from harness.campaign.seat import Answered, Died
from harness.campaign.spawned import SpawnedSeat
from harness.campaign.supervisor import SupervisedSeat
from harness.sandbox import processes
from harness.sandbox.portable import CallFailedError, dumps, loads
from tests.survivors import marked, new_mark, survivors

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        sys.platform != "linux", reason="supervisors; the spawned worker is tried on other systems"
    ),
]


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(tmp_path / "base")


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark for what one test starts; nothing that carries it may be alive at the end."""
    value = new_mark()
    before = processes.children(os.getpid())
    yield value
    assert survivors(value, 0) == set()
    assert processes.children(os.getpid()) == before


def square(number: int) -> int:
    return number * number


def where(base: str, name: str) -> tuple[int, list[str]]:
    """Leave a file in the workspace, wait until the other workers are at it too, and look around."""
    open(os.path.join(base, "state", name), "x").close()
    time.sleep(0.2)
    return os.getpid(), os.listdir(os.path.join(base, "state"))


def leave_daemons(mark: str) -> int:
    environment = {"MARK": mark}
    subprocess.Popen(["sleep", "600"], env=environment)
    subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    script = "trap '' TERM INT HUP; setsid sleep 600 & sleep 600"
    subprocess.Popen(["sh", "-c", f"({script}) & exit"], env=environment, start_new_session=True).wait()
    return len(marked(mark))


def hang(mark: str) -> None:
    leave_daemons(mark)
    time.sleep(600)


def die(mark: str) -> None:
    leave_daemons(mark)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_at_once() -> None:
    os._exit(7)


def fail() -> None:
    raise KeyError("missing")


class Stubborn(Exception):
    """Its constructor wants two arguments, so it does not survive pickling."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def fail_stubbornly() -> None:
    raise Stubborn(1, 2)


def children_of_worker() -> tuple[int, int, int]:
    """Return the worker's threads, its children, and what waiting for any child says."""
    try:
        os.waitpid(-1, os.WNOHANG)
        waited = 1
    except ChildProcessError:
        waited = 0
    return len(os.listdir("/proc/self/task")), len(processes.children(os.getpid())), waited


def test_every_call_has_its_outcome_and_calls_are_drawn_lazily(base: str) -> None:
    drawn: list[int] = []

    def calls() -> Iterator[Call]:
        for number in range(50):
            drawn.append(number)
            yield Call(square, (number,), number)

    with Executor(2, base) as executor:
        outcomes = executor.run(calls())
        first = next(outcomes)
        assert first.value == first.key**2
        assert len(drawn) < 10
        rest = {outcome.key: outcome.result() for outcome in outcomes}
    assert rest | {first.key: first.value} == {number: number**2 for number in range(50)}


def test_each_worker_has_its_own_directory_at_the_same_path(base: str) -> None:
    with Executor(2, base) as executor:
        if executor.shared_reason:
            pytest.skip(executor.shared_reason)
        found = [outcome.result() for outcome in executor.run(Call(where, (base, name)) for name in "ab")]
    assert {pid for pid, _ in found} != {os.getpid()}
    assert sorted(names for _, names in found) == [["a"], ["b"]]
    assert sorted(os.listdir(os.path.dirname(base))) == ["base"]


def test_without_private_mounts_workers_take_turns(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "private_mounts_available", lambda _: "not today")
    with Executor(3, base) as executor:
        assert executor.shared_reason == "not today"
        calls = [Call(where, (base, name), name) for name in "abc"]
        calls += [Call(square, (3,), "free", needs_workspace=False)]
        found = {outcome.key: outcome.result() for outcome in executor.run(calls)}
    assert found["free"] == 9
    # One after the other: each sees what those before it left, and nothing of those after.
    assert sorted(len(found[name][1]) for name in "abc") == [1, 2, 3]


def test_a_worker_has_one_thread_and_no_children(base: str) -> None:
    with Executor(1, base) as executor:
        results = [outcome.result() for outcome in executor.run(Call(children_of_worker) for _ in range(3))]
    assert results == [(1, 0, 0)] * 3


def test_what_a_call_leaves_behind_is_gone_before_the_next(base: str, mark: str) -> None:
    with Executor(1, base) as executor:
        outcomes = executor.run([Call(leave_daemons, (mark,)), Call(marked, (mark,))])
        assert next(outcomes).result() >= 3
        assert next(outcomes).result() == set()


def test_a_call_past_its_deadline_is_ended_with_all_it_started(base: str, mark: str) -> None:
    with Executor(1, base) as executor:
        calls = [Call(hang, (mark,), "hang", timeout_s=0.5), Call(square, (2,), "next")]
        outcomes = {outcome.key: outcome for outcome in executor.run(calls)}
        assert marked(mark) == set()
    assert isinstance(outcomes["hang"].error, CallTimeoutError)
    assert outcomes["next"].value == 4


def test_a_dying_worker_is_an_outcome_and_is_replaced(base: str, mark: str) -> None:
    with Executor(1, base) as executor:
        calls = [Call(die, (mark,), "die"), Call(square, (2,), "next"), Call(leave_at_once, (), "exit")]
        outcomes = {outcome.key: outcome for outcome in executor.run(calls)}
        assert marked(mark) == set()
    assert isinstance(outcomes["die"].error, WorkerDiedError)
    assert "killed by signal 9" in str(outcomes["die"].error)
    assert "exited with status 7" in str(outcomes["exit"].error)
    assert outcomes["next"].value == 4


def test_workers_that_die_again_and_again_are_an_error(base: str) -> None:
    with Executor(2, base) as executor:
        with pytest.raises(ExecutorError, match="workers died one after the other"):
            list(executor.run(Call(leave_at_once) for _ in range(100)))
        assert next(executor.run([Call(square, (3,))])).value == 9


def test_a_supervisor_that_is_killed_is_replaced_and_its_orphans_die(base: str, mark: str) -> None:
    with Executor(2, base) as executor:

        def kill_when_busy() -> Iterator[Call]:
            yield Call(hang, (mark,), "hang")
            while not marked(mark):
                time.sleep(0.01)
            (busy,) = executor._flights  # which seat was ready first is a matter of load
            os.kill(executor._seats[busy].supervisor_pid, signal.SIGKILL)  # type: ignore[attr-defined]
            yield Call(square, (3,), "next")

        found = {outcome.key: outcome for outcome in executor.run(kill_when_busy())}
        assert survivors(mark, 5) == set()
    assert "its supervisor died" in str(found["hang"].error)
    assert found["next"].value == 9


def test_errors_travel_with_their_traceback(base: str) -> None:
    with Executor(1, base) as executor:
        first, second = executor.run([Call(fail), Call(fail_stubbornly)])
    assert isinstance(first.error, KeyError)
    assert "in fail\n" in first.error.__notes__[0]
    assert isinstance(second.error, CallFailedError)
    assert str(second.error) == "Stubborn: 1 2"
    with pytest.raises(KeyError):
        first.result()


def test_closures_travel_and_what_cannot_is_an_outcome(base: str) -> None:
    factor = 3
    with Executor(1, base) as executor:
        good, bad, large = executor.run(
            [
                Call(lambda number: number * factor, (5,)),
                Call(lambda: (number for number in range(3))),
                Call(lambda: bytes(1 << 26)),
            ]
        )
    assert good.value == 15
    assert isinstance(bad.error, CallFailedError)
    assert len(large.value) == 1 << 26


def test_leaving_the_iteration_early_ends_what_is_under_way(base: str, mark: str) -> None:
    with Executor(2, base) as executor:
        outcomes = executor.run([Call(square, (2,)), Call(hang, (mark,)), Call(hang, (mark,))])
        assert next(outcomes).value == 4
        outcomes.close()  # type: ignore[attr-defined]
        assert sorted(outcome.value for outcome in executor.run(Call(square, (n,)) for n in range(4))) == [
            0,
            1,
            4,
            9,
        ]


def test_no_process_but_main_holds_mains_end(base: str) -> None:
    """Each socket of main must be main's alone: a copy elsewhere would hide its death."""

    def sockets(pid: int | str) -> set[str]:
        found = set()
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                link = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if link.startswith("socket:"):
                found.add(link)
        return found

    before = sockets("self")
    with Executor(3, base) as executor:
        list(executor.run(Call(time.sleep, (0.3,)) for _ in range(3)))
        own = sockets("self") - before
        assert len(own) == 6  # control and connection of each of the three
        for pid in processes.descendants(os.getpid()):
            assert not own & sockets(pid)


@pytest.mark.parametrize("jobs", [0, -1])
def test_the_number_of_jobs_is_checked(base: str, jobs: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Executor(jobs, base)


MAIN = """
import os, subprocess, sys, time
from harness.campaign.executor import Call, Executor

DAEMON = '''
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        time.sleep(600)
    os._exit(0)
time.sleep(600)
'''

def call(mark, number):
    # One daemon with the mark in its environment, one that has only the command line left to know it by.
    subprocess.Popen([sys.executable, "-S", "-c", DAEMON, "x"], env={"MARK": mark})
    subprocess.Popen([sys.executable, "-S", "-c", DAEMON, mark], env={}, start_new_session=True)
    time.sleep(0.01 * (number % 17))
    return number

if __name__ == "__main__":
    mark, base = sys.argv[1:]
    def calls():
        number = 0
        while True:
            yield Call(call, (mark, number), number)
            number += 1
    print("up", flush=True)
    try:
        with Executor(2, base) as executor:
            for outcome in executor.run(calls()):
                outcome.result()
    except KeyboardInterrupt:
        print("stopped in order", flush=True)
        sys.exit(130)
"""


def start_main(tmp_path: Path, mark: str, name: str) -> subprocess.Popen[str]:
    script = tmp_path / "main.py"
    script.write_text(MAIN)
    main = subprocess.Popen(
        [sys.executable, str(script), mark, str(tmp_path / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        start_new_session=True,
    )
    assert main.stdout is not None
    assert main.stdout.readline() == "up\n"
    return main


def test_nothing_outlives_a_main_process_killed_at_any_moment(tmp_path: Path, evidence: bool) -> None:
    """Bar F: SIGKILL at random moments; with ``--evidence`` 50 of them, and a second each to be gone."""
    moments = random.Random(20)
    for round_number in range(50 if evidence else 6):
        mark = new_mark()
        main = start_main(tmp_path, mark, f"base{round_number}")
        time.sleep(moments.uniform(0, 1.0))
        main.kill()
        main.communicate()
        left = survivors(mark, 1.0 if evidence else 15.0)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == set()


def test_an_interrupt_of_main_stops_everything_in_order(tmp_path: Path, mark: str) -> None:
    """Ctrl+C reaches the whole foreground group; a second one during the clean-up does no harm."""
    main = start_main(tmp_path, mark, "base")
    while len(marked(mark)) < 4:
        time.sleep(0.01)
    os.killpg(main.pid, signal.SIGINT)
    time.sleep(0.002)
    os.killpg(main.pid, signal.SIGINT)
    out, err = main.communicate(timeout=30)
    assert survivors(mark, 0) == set()
    assert main.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err or main.returncode == -signal.SIGINT
    assert out == "stopped in order\n" or main.returncode == -signal.SIGINT


def test_a_supervisor_that_is_told_to_end_while_it_forks_hears_it() -> None:
    """An exception raised inside a hook of fork is printed and lost: the supervisor would go on."""
    code = """
import os, signal, socket
from harness.campaign import supervisor
os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGTERM))
signal.signal(signal.SIGTERM, supervisor._on_sigterm)
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    supervisor._start_worker(ours, os.getcwd(), os.getcwd())
except supervisor._StopError:
    print("heard")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("heard\n", "")


def test_a_spawned_worker_serves_dies_and_is_replaced(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other systems use runs here too, without a supervisor."""
    monkeypatch.setattr(executor_module, "_open_seat", lambda _base, canonical, _spare: SpawnedSeat(canonical))
    with Executor(1, base) as executor:
        calls = [
            Call(square, (3,), "good"),
            Call(leave_at_once, (), "dies"),
            Call(time.sleep, (600,), "hangs", timeout_s=1.0),
            Call(fail, (), "fails"),
        ]
        found = {outcome.key: outcome for outcome in executor.run(calls)}
    assert found["good"].value == 9
    assert isinstance(found["dies"].error, WorkerDiedError)
    assert isinstance(found["hangs"].error, CallTimeoutError)
    assert isinstance(found["fails"].error, KeyError)


def collect_until(seat: SupervisedSeat, ready: bool) -> list[Answered | Died]:
    """Collect events until a worker is ready, or else until there is an event."""
    events: list[Answered | Died] = []
    end = time.monotonic() + 20
    while time.monotonic() < end and not (seat.is_ready() if ready else events):
        wait(seat.waitables(), 0.1)
        events += seat.collect()
    return events


def test_a_late_request_to_replace_does_not_hit_the_next_worker(base: str) -> None:
    """The worker dies, another takes its place, and only then main, which has not heard, asks for a replacement."""
    seat = SupervisedSeat(base, base)
    try:
        collect_until(seat, ready=True)
        (worker,) = processes.children(seat.supervisor_pid)
        os.kill(worker, signal.SIGKILL)
        while processes.children(seat.supervisor_pid) in (frozenset(), frozenset({worker})):
            time.sleep(0.01)
        seat.replace()
        time.sleep(0.3)  # for a supervisor that would obey
        assert collect_until(seat, ready=True) == [Died("killed by signal 9")]
        seat.send(dumps((1, square, (4,))))
        (answered,) = collect_until(seat, ready=False)
        assert isinstance(answered, Answered)
        assert loads(answered.payload).value == 16
    finally:
        seat.close()
        seat.join(10)


def test_an_interrupt_while_workers_are_forked_is_not_lost(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def interrupted(*args: Any) -> Any:
        opened.append(args)
        signal.raise_signal(signal.SIGINT)  # where a hook of fork would swallow the exception
        return open_seat(*args)

    open_seat = executor_module._open_seat
    monkeypatch.setattr(executor_module, "_open_seat", interrupted)
    before = processes.children(os.getpid())
    with pytest.raises(KeyboardInterrupt), Executor(2, base):
        pass
    assert len(opened) == 2
    assert processes.children(os.getpid()) == before
