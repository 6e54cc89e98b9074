from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from harness.core.content import EMPTY
from harness.core.fault import CrashPoint, FaultPlan, Kill, Timed
from harness.core.run import Limits, Recording, RunSpec
from harness.core.tree import File, tree_of
from harness.engines import TargetNotStartedError, UnsupportedFaultError, engine
from harness.engines.timed import Hooks, TimedEngine
from harness.sandbox.child import Child
from harness.sandbox.workspace import Workspace, WorkspaceError
from tests.survivors import marked, new_mark

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.name == "nt", reason="signals")]

WRITER = """
import os, sys
log = os.open(os.path.join(sys.argv[1], "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
print("ARM", flush=True)
for number in range(int(sys.argv[2])):
    os.write(log, b"%08d" % number)
    print("ACK", number, flush=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "base"))


def run(
    place: Workspace, program: str, *arguments: str, plan: FaultPlan | None = None, **spec: object
) -> Recording:
    """Run a Python program; nothing it started may be alive afterwards."""
    mark = new_mark()
    argv = ("python", "-c", textwrap.dedent(program), place.root, *arguments)
    described = RunSpec(
        argv=argv,
        root=place.root,
        cwd=place.cwd,
        environment=place.environment({"MARK": mark}),
        **spec,  # type: ignore[arg-type]
    )
    recording = TimedEngine().run(described, plan or FaultPlan())
    if sys.platform == "linux":
        assert marked(mark) == set()
    return recording


def at(delay_us: int, name: str = "SIGKILL", **more: object) -> FaultPlan:
    return FaultPlan(faults=(Timed(delay_us=delay_us, signal=name, **more),))  # type: ignore[arg-type]


def size(recording: Recording, path: str) -> int:
    node = recording.final.node_at(path)
    return node.content.size if isinstance(node, File) else EMPTY.size


def test_it_is_registered_and_available() -> None:
    assert isinstance(engine("timed"), TimedEngine)
    assert TimedEngine().available() == ""


def test_a_plain_run_says_how_it_ended(place: Workspace) -> None:
    recording = run(place, WRITER, "5", start=tree_of({"old/file": b"1"}))
    assert (recording.ending, recording.exit_code, recording.signal) == ("exited", 0, None)
    assert recording.acks == ("0", "1", "2", "3", "4")
    assert size(recording, "log") == 40
    assert recording.final.node_at("old/file") is not None
    assert (recording.trace, recording.delivered, recording.armed_us) == (None, (), None)
    assert recording.stdout_bytes == len(recording.stdout_tail) == 4 + 5 * 6
    assert recording.wall_ms > 0 and recording.cpu_ms > 0


def test_an_exit_code_is_kept(place: Workspace) -> None:
    recording = run(place, "import sys; print('no newline', end=''); sys.exit(3)")
    assert (recording.ending, recording.exit_code) == ("exited", 3)
    assert recording.acks == ()


@pytest.mark.parametrize("delay_us", [0, 100, 1_000, 7_000, 20_000])
def test_a_kill_is_delivered_at_its_moment_and_acknowledged_writes_are_there(
    place: Workspace, delay_us: int
) -> None:
    recording = run(place, WRITER, "100000000", plan=at(delay_us), arm="^ARM$")
    assert (recording.ending, recording.signal, recording.exit_code) == ("signalled", signal.SIGKILL, None)
    (delivered,) = recording.delivered
    assert delivered.at_us >= delay_us  # never early; how late is stated, not asserted
    assert delivered.pid == recording.pid
    assert recording.armed_us is not None
    # Acknowledged at once and killed at once: at most one write is not acknowledged yet.
    assert len(recording.acks) <= size(recording, "log") // 8 <= len(recording.acks) + 1


def test_without_an_arm_line_the_clock_starts_with_the_program(place: Workspace) -> None:
    recording = run(place, "import time; time.sleep(600)", plan=at(30_000))
    assert recording.delivered[0].at_us >= 30_000
    assert recording.armed_us is None
    assert recording.wall_ms >= 30


def test_a_run_that_ends_before_its_fault_has_nothing_delivered(place: Workspace) -> None:
    recording = run(place, WRITER, "3", plan=at(60_000_000), arm="^ARM$")
    assert (recording.ending, recording.exit_code, recording.delivered) == ("exited", 0, ())
    recording = run(place, WRITER, "3", plan=at(0), arm="^never printed$")
    assert (recording.ending, recording.exit_code, recording.delivered) == ("exited", 0, ())


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid")
def test_a_kill_that_comes_too_late_was_not_delivered(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target ends between the last look and the signal: how it died decides, not what was sent."""
    send = Child.signal

    def send_late(self: Child, number: int, *, group: bool) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        send(self, number, group=group)

    monkeypatch.setattr(Child, "signal", send_late)
    recording = run(place, "import time; print('ARM'); time.sleep(0.2)", plan=at(0), arm="ARM")
    assert (recording.ending, recording.exit_code, recording.signal) == ("exited", 0, None)
    assert recording.delivered == ()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_other_signals_end_with_their_own_number(place: Workspace, name: str) -> None:
    program = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print('ARM'); time.sleep(600)"
    recording = run(place, program, plan=at(1000, name), arm="ARM")
    assert recording.signal == getattr(signal, name)
    assert recording.delivered[0].fault == f"timed {name}"
    assert recording.ending_detail == ""


def test_a_handler_may_finish_its_work(place: Workspace) -> None:
    program = """
        import os, signal, sys, time
        def stop(*_):
            time.sleep(0.1)
            open(os.path.join(sys.argv[1], "saved"), "wb").write(b"1")
            print("ACK saved")
            sys.exit(4)
        signal.signal(signal.SIGTERM, stop)
        print("ARM")
        time.sleep(600)
    """
    recording = run(place, program, plan=at(1000, "SIGTERM"), arm="ARM")
    assert (recording.ending, recording.exit_code, recording.acks) == ("exited", 4, ("saved",))
    assert size(recording, "saved") == 1
    assert recording.delivered[0].fault == "timed SIGTERM"


def test_a_target_that_ignores_a_signal_is_killed_and_that_is_said(place: Workspace) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ARM'); time.sleep(600)"
    recording = run(place, program, plan=at(0, "SIGTERM", grace_ms=200), arm="ARM")
    assert recording.signal == signal.SIGKILL
    assert recording.ending_detail == "did not end within 200 ms of SIGTERM; killed"
    assert [delivered.fault for delivered in recording.delivered] == ["timed SIGTERM"]


def test_several_signals_come_in_the_order_of_their_moments(place: Workspace) -> None:
    program = """
        import signal, time
        signal.signal(signal.SIGINT, lambda *_: print("ACK int"))
        print("ARM")
        while True: time.sleep(1)
    """
    plan = FaultPlan(faults=(Timed(delay_us=60_000), Timed(delay_us=1000, signal="SIGINT")))
    recording = run(place, program, plan=plan, arm="ARM")
    assert [delivered.fault for delivered in recording.delivered] == ["timed SIGINT", "timed SIGKILL"]
    assert recording.acks == ("int",)
    assert recording.signal == signal.SIGKILL


SURVIVOR = """
import os, sys, time
if os.fork() == 0:
    print("ARM", flush=True)
    while True:
        with open(os.path.join(sys.argv[1], "beats"), "ab", 0) as stream: stream.write(b".")
        time.sleep(0.01)
time.sleep(600)
"""


def test_survivors_of_a_killed_process_run_on_for_their_grace(place: Workspace) -> None:
    with_grace = run(place, SURVIVOR, plan=at(0, victim="process", grace_ms=400), arm="ARM")
    assert with_grace.signal == signal.SIGKILL
    assert size(with_grace, "beats") >= 5
    whole_tree = run(place, SURVIVOR, plan=at(0), arm="ARM")
    assert size(whole_tree, "beats") <= size(with_grace, "beats")


@pytest.mark.skipif(sys.platform != "linux", reason="daemons are found as a subreaper's children")
def test_daemons_are_dead_before_the_disk_is_read(place: Workspace) -> None:
    program = """
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            if os.fork(): os._exit(0)
            print("ARM", flush=True)
            while True:
                with open(os.path.join(sys.argv[1], "log"), "ab", 0) as stream: stream.write(b".")
        time.sleep(0.2)
    """
    recording = run(place, program)
    assert (recording.ending, recording.exit_code) == ("exited", 0)
    assert recording.ending_detail == "1 process outlived the program, ended after 2 s"
    assert os.stat(os.path.join(place.root, "log")).st_size == size(recording, "log")


@pytest.mark.skipif(sys.platform != "linux", reason="daemons are found as a subreaper's children")
def test_what_outlives_the_program_may_finish(place: Workspace) -> None:
    program = """
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(0.3)
            open(sys.argv[1] + "/late", "wb").write(b"1")
            print("ACK late", flush=True)
    """
    recording = run(place, program)
    assert (recording.ending, recording.exit_code, recording.ending_detail) == ("exited", 0, "")
    assert size(recording, "late") == 1
    assert recording.acks == ("late",)


@pytest.mark.parametrize(
    ("program", "limits", "ending", "detail"),
    [
        ("import time; time.sleep(600)", {"timeout_s": 0.3}, "timeout", "did not end within 0.3 s; killed"),
        (
            "while True: print('x' * 65536)",
            {"output_bytes": 1 << 20},
            "limit",
            "more than 1048576 bytes on standard output; killed",
        ),
        (
            "import sys\nf = open(sys.argv[1] + '/f', 'ab', 0)\nwhile f.tell() < 1 << 30: f.write(bytes(1 << 20))\n"
            "import time; time.sleep(600)",
            {"state_bytes": 1 << 24},
            "limit",
            "more than 16777216 bytes in the state directory; killed",
        ),
        (
            "import os, time\nfor _ in range(40):\n    if os.fork() == 0: break\ntime.sleep(600)",
            {"processes": 20},
            "limit",
            "more than 20 processes; killed",
        ),
    ],
    ids=["hangs", "prints", "fills", "forks"],
)
def test_limits_end_a_run_and_say_so(
    place: Workspace, program: str, limits: dict[str, float], ending: str, detail: str
) -> None:
    recording = run(place, program, limits=Limits(**limits))  # type: ignore[arg-type]
    assert (recording.ending, recording.ending_detail) == (ending, detail)
    assert recording.delivered == ()


def test_a_state_too_large_to_read_is_a_limit(place: Workspace) -> None:
    program = "import sys; open(sys.argv[1] + '/sparse', 'wb').truncate(1 << 40)"
    recording = run(place, program)
    assert recording.ending == "limit"
    # Whoever looks first says so: the reader of the final tree, or (on a slow machine) the watch during the run.
    assert "bytes" in recording.ending_detail


def test_the_last_words_are_kept_and_bounded(place: Workspace) -> None:
    recording = run(place, "import sys; sys.stderr.write('x' * 100000 + 'end'); print('y' * 100000 + 'end')")
    assert recording.stderr_tail.endswith(b"xend")
    assert recording.stdout_tail.endswith(b"yend\n")
    assert len(recording.stderr_tail) == len(recording.stdout_tail) == 1 << 13
    assert recording.stdout_bytes == 100004


def test_what_cannot_be_started_is_an_error_with_its_reason(place: Workspace) -> None:
    spec = RunSpec(argv=("no-such-tornwrite-command",), root=place.root, cwd=place.cwd, environment={})
    with pytest.raises(TargetNotStartedError, match="no-such-tornwrite-command: command not found"):
        TimedEngine().run(spec)


def test_faults_of_another_engine_are_refused(place: Workspace) -> None:
    kill = FaultPlan(faults=(Kill(at=CrashPoint(operation="write", role="", occurrence=1)),))
    with pytest.raises(UnsupportedFaultError, match="kind kill; ptrace can"):
        run(place, "pass", plan=kill)
    with pytest.raises(UnsupportedFaultError, match="unknown signal 'SIGUSR1'; valid: SIGKILL, SIGINT"):
        run(place, "pass", plan=at(0, "SIGUSR1"))


def test_a_directory_that_is_no_workspace_is_never_emptied(tmp_path: Path, place: Workspace) -> None:
    (tmp_path / "precious").touch()
    spec = RunSpec(argv=("true",), root=str(tmp_path), cwd=place.cwd, environment={})
    with pytest.raises(WorkspaceError):
        TimedEngine().run(spec)
    assert (tmp_path / "precious").exists()


TWICE = """
import os, sys, time
for _ in range(2):
    print("ARM", flush=True)
    time.sleep(0.05)
open(os.path.join(sys.argv[1], "end"), "x").close()
time.sleep(float(sys.argv[2]))
"""


def hooked(place: Workspace, hooks: Hooks, plan: FaultPlan, seconds: str = "0", **spec: object) -> Recording:
    described = RunSpec(
        argv=("python", "-c", TWICE, place.root, seconds),
        root=place.root,
        cwd=place.cwd,
        environment=place.environment(),
        **spec,  # type: ignore[arg-type]
    )
    return TimedEngine(hooks).run(described, plan)


def test_hooks_are_called_when_the_clock_starts_and_after_the_last_fault(place: Workspace) -> None:
    called: list[str] = []
    hooks = Hooks(lambda: called.append("clock"), lambda: called.append("faults"))
    plan = FaultPlan(faults=(Timed(delay_us=0, signal="SIGSTOP"), Timed(delay_us=150_000, signal="SIGCONT")))
    recording = hooked(place, hooks, plan, arm="^ARM$")
    assert called == ["clock", "faults"]
    assert [item.fault for item in recording.delivered] == ["timed SIGSTOP", "timed SIGCONT"]
    assert (recording.ending, recording.exit_code) == ("exited", 0)  # a pause ends nothing
    assert recording.wall_ms >= 200


def test_the_clock_can_wait_for_several_arm_lines(place: Workspace) -> None:
    recording = hooked(place, Hooks(), at(0), "30", arm="^ARM$", arm_times=2)
    assert recording.signal == signal.SIGKILL
    assert recording.armed_us is not None
    assert recording.armed_us >= 50_000


def test_hooks_are_not_called_where_their_moment_does_not_come(place: Workspace) -> None:
    called: list[str] = []
    hooks = Hooks(lambda: called.append("clock"), lambda: called.append("faults"))
    recording = hooked(place, hooks, FaultPlan(), arm="^NEVER$")
    assert (called, recording.exit_code) == ([], 0)
