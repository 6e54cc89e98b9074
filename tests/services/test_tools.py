"""The tool service: real tools in parallel, lines in step order, nothing left behind, nothing seen by an engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.campaign.work import run_once
from harness.catalog.steps import Tools, tool_plan
from harness.catalog.workload import Workload, steps_of, workload_json
from harness.core.derived import words
from harness.core.fault import NO_FAULTS, FaultPlan, Timed
from harness.core.run import Recording, RunSpec, ToolPlan, ToolStep
from harness.engines import KeepingEngine, engine
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace
from harness.services.process import ServiceError
from harness.services.tools import VARIABLE, Service, Standing, serving
from tests.survivors import marked, survivors

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")]

TARGET = str(Path(__file__).with_name("target.py"))
WORKLOAD = Workload(sessions=2, updates=2, tools=Tools(parallel=3, duration_ms=(1, 60), result_bytes=(0, 90_000)))
SEED = 11


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(str(tmp_path / "base"))
    yield made
    kept = engine("ptrace-forked")
    if isinstance(kept, KeepingEngine):
        kept.close()
    assert survivors(made.base, 5.0) == set()
    assert not os.path.exists(os.path.join(made.base, "tools.sock"))


def spec_of(workspace: Workspace, workload: Workload = WORKLOAD, *more: str, **fields: Any) -> RunSpec:
    path = os.path.join(workspace.base, "workload.json")
    return RunSpec(
        argv=(real_python(), "-BEsS", TARGET, workspace.root, path, *more),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(fields.pop("extra", None)),
        files={path: workload_json(workload, SEED)},
        arm="^ARMED$",
        tools=tool_plan(steps_of(workload, SEED), SEED, workload.tools),
        **fields,
    )


class Client:
    """A target's end of a connection, in the test itself."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(service.environment[VARIABLE].removeprefix("unix:"))
        self.lines = self.socket.makefile("rb")

    def start(self, *names: str) -> None:
        for name in names:
            self.socket.sendall(json.dumps({"start": name}).encode() + b"\n")

    def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.lines.readline() or b"{}")
        return message


def plan_of(*steps: tuple[str, str] | tuple[str, str, int, int]) -> ToolPlan:
    return ToolPlan(
        seed=SEED,
        steps=tuple(
            ToolStep(
                do=do,  # type: ignore[arg-type]
                tool_id=name,
                session="s0",
                duration_ms=numbers[0] if numbers else 0,
                result_bytes=numbers[1] if numbers else 0,
            )
            for do, name, *numbers in steps
        ),
    )


TWO = plan_of(
    ("tool_start", "slow", 150, 0),
    ("tool_start", "quick", 1, 0),
    ("tool_done", "slow", 0, 70_000),
    ("mode_switch", ""),
    ("tool_done", "quick", 0, 5),
)


def with_plan(workspace: Workspace, plan: ToolPlan | None) -> RunSpec:
    return msgspec.structs.replace(spec_of(workspace), tools=plan)


def test_results_are_real_and_come_in_step_order_not_before_their_time(workspace: Workspace) -> None:
    with serving(with_plan(workspace, TWO)) as service:
        client = Client(service)
        begun = time.monotonic()
        client.start("quick", "slow")
        first = client.next()
        assert time.monotonic() - begun >= 0.15
        assert first == {"tool_id": "slow", "result": words(SEED, "slow", 70_000), "is_error": False}
        assert client.next() == {"do": "mode_switch", "session": "s0", "at": 0}
        assert client.next() == {"tool_id": "quick", "result": words(SEED, "quick", 5), "is_error": False}
        service.say_exit()
        assert client.next() == {"do": "exit"}


def test_in_turn_a_message_waits_until_it_is_let_out(workspace: Workspace) -> None:
    plan = plan_of(("tool_start", "a", 0, 0), ("tool_done", "a", 0, 3), ("mode_switch", ""))
    with serving(with_plan(workspace, plan), in_turn=True) as service:
        client = Client(service)
        assert not service.ready()
        client.start("a")
        for expected in (
            {"tool_id": "a", "result": words(SEED, "a", 3), "is_error": False},
            {"do": "mode_switch"},
        ):
            end = time.monotonic() + 10
            while not service.ready() and time.monotonic() < end:
                time.sleep(0.01)
            client.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.socket.settimeout(10)
            service.go()
            assert client.next().items() >= expected.items()


def test_nothing_goes_out_before_the_target_is_there(workspace: Workspace) -> None:
    with serving(with_plan(workspace, TWO)) as service:
        client = Client(service)
        client.start("quick")
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):  # the steps begin with a tool that was not started
            client.socket.recv(1)


def test_tools_run_at_the_same_time(workspace: Workspace) -> None:
    names = [f"t{index}" for index in range(4)]
    steps = [("tool_start", name, 600, 0) for name in names] + [("tool_done", name, 0, 1) for name in names]
    with serving(with_plan(workspace, plan_of(*steps))) as service:
        client = Client(service)
        client.start(*names)
        end = time.monotonic() + 10
        while len(tools_of(workspace)) < 4 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(tools_of(workspace)) == 4
        assert [client.next()["tool_id"] for _ in names] == names


def tools_of(workspace: Workspace) -> set[int]:
    return {pid for pid in marked(workspace.base) if b"tool.py" in _command_line(pid)}


def all_gone(workspace: Workspace, within_s: float) -> bool:
    """Whether no tool is left, or soon none: one that was killed is there until the kernel is through with it."""
    end = time.monotonic() + within_s
    while tools_of(workspace):
        if time.monotonic() >= end:
            return False
        time.sleep(0.01)
    return True


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_target_that_comes_again_and_a_second_instance_have_gates_of_their_own(workspace: Workspace) -> None:
    with serving(with_plan(workspace, TWO)) as service:
        first = Client(service)
        first.start("slow", "quick")
        first.socket.close()  # killed: its tools die with it
        first.lines.close()
        one, two = Client(service), Client(service)
        for client in (one, two):
            client.start("slow", "quick")
        for client in (two, one):
            assert [client.next().get("tool_id") for _ in range(3)] == ["slow", None, "quick"]


def test_after_escape_what_is_open_never_comes(workspace: Workspace) -> None:
    plan = plan_of(
        ("tool_start", "a", 1, 0),
        ("tool_start", "b", 20_000, 0),
        ("tool_done", "a", 0, 1),
        ("escape", ""),
        ("tool_start", "c", 1, 0),
        ("tool_done", "c", 0, 1),
    )
    with serving(with_plan(workspace, plan)) as service:
        client = Client(service)
        client.start("a", "b")
        assert client.next()["tool_id"] == "a"
        assert client.next()["do"] == "escape"
        client.start("c")
        assert client.next()["tool_id"] == "c"
        assert all_gone(workspace, within_s=10)  # "b" would take 20 s


def test_lines_that_mean_nothing_start_nothing(workspace: Workspace) -> None:
    with serving(with_plan(workspace, TWO)) as service:
        for line in (b'{"start": "other"}\n', b'{"start": 5}\n', b"\xff\n", b"[]\n", b"x" * 100_000):
            client = Client(service)
            client.socket.sendall(line)
            client.socket.close()
        client = Client(service)
        client.start("quick", "quick", "slow", "slow")
        assert [client.next().get("tool_id") for _ in range(3)] == ["slow", None, "quick"]


@pytest.fixture
def standing(workspace: Workspace) -> Iterator[Standing]:
    made = Standing()
    yield made
    made.close()
    assert made.pid == 0
    assert survivors(workspace.base, 5.0) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="a standing service is for the engines of Linux")
def test_a_standing_service_serves_one_run_after_the_other(workspace: Workspace, standing: Standing) -> None:
    pids = set()
    for seed in range(3):
        plan = msgspec.structs.replace(TWO, seed=seed)
        with serving(with_plan(workspace, plan), in_turn=seed == 1, standing=standing) as service:
            pids.add(service.pid)
            client = Client(service)
            client.start("quick", "slow")
            if seed == 2:
                continue  # the target is gone, and a tool runs
            for name in ("slow", None, "quick"):
                while seed == 1 and not service.ready():
                    time.sleep(0.01)
                service.go()
                message = client.next()
                assert message.get("tool_id") == name
                assert name is None or message["result"] == words(seed, name, 70_000 if name == "slow" else 5)
        assert not os.path.exists(os.path.join(workspace.base, "tools.sock"))
        deadline = time.monotonic() + 5  # a thread that was joined is for the kernel still there for a moment
        while len(os.listdir(f"/proc/{service.pid}/task")) > 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(os.listdir(f"/proc/{service.pid}/task")) == 1
        assert Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text() == ""
        descriptors = len(os.listdir(f"/proc/{service.pid}/fd"))
    assert pids == {standing.pid}
    assert descriptors == 3


@pytest.mark.skipif(sys.platform != "linux", reason="a standing service is for the engines of Linux")
def test_its_tools_are_forks_of_it_that_take_their_time(workspace: Workspace, standing: Standing) -> None:
    with serving(with_plan(workspace, TWO), standing=standing) as service:
        client = Client(service)
        begun = time.monotonic()
        client.start("slow", "quick")
        assert client.next()["tool_id"] == "slow"
        assert time.monotonic() - begun >= 0.15
        client.start("slow")  # a second time is none
    plan = plan_of(("tool_start", "a", 60_000, 0), ("tool_done", "a", 0, 5))
    with serving(with_plan(workspace, plan), standing=standing) as service:
        client = Client(service)
        client.start("a")
        end = time.monotonic() + 5
        while not (running := marked(workspace.base) - {service.pid}) and time.monotonic() < end:
            time.sleep(0.01)
        assert len(running) == 1
    assert marked(workspace.base) == {standing.pid}


@pytest.mark.skipif(sys.platform != "linux", reason="a standing service is for the engines of Linux")
def test_a_standing_service_that_has_ended_is_started_again(workspace: Workspace, standing: Standing) -> None:
    seen = []
    for _ in range(2):
        with serving(with_plan(workspace, TWO), standing=standing) as service:
            Client(service).start("quick")
            seen.append(service.pid)
            os.kill(service.pid, signal.SIGKILL)
    assert len(set(seen)) == 2


def test_no_tools_no_service(workspace: Workspace) -> None:
    before = marked(workspace.base)
    with serving(with_plan(workspace, None)) as service:
        assert service.environment == {}
        service.say_exit()
        assert marked(workspace.base) == before


def test_a_path_too_long_for_a_socket_is_served_on_loopback(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / ("x" * 100)))
    recording = run_once("timed", spec_of(workspace))
    assert (recording.ending, recording.exit_code) == ("exited", 0)
    assert len(recording.acks) == 12


def test_a_socket_is_made_only_in_a_workspace(tmp_path: Path, workspace: Workspace) -> None:
    elsewhere = msgspec.structs.replace(spec_of(workspace), root=str(tmp_path / "elsewhere" / "state"))
    with pytest.raises(ServiceError, match="not directly in a workspace"), serving(elsewhere):
        pass


def test_a_service_whose_caller_is_killed_leaves_nothing(tmp_path: Path, workspace: Workspace) -> None:
    script = (
        "import sys, time, msgspec\nfrom pathlib import Path\nfrom harness.sandbox.workspace import Workspace\n"
        "from tests.services.test_tools import TWO, Client, serving, with_plan\n"
        "with serving(with_plan(Workspace(sys.argv[1]), TWO)) as service:\n"
        "    client = Client(service)\n    client.start('slow')\n    print('up', flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, workspace.base], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    assert marked(workspace.base)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert survivors(workspace.base, 5.0) == set()
    with serving(with_plan(workspace, TWO)) as service:  # what its socket left is not in the way
        Client(service)


_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux")
ENGINES = ["timed", *(pytest.param(name, marks=_LINUX) for name in ("ptrace", "ptrace-forked"))]


@pytest.mark.parametrize("name", ENGINES)
def test_a_target_meets_its_tools_under_every_engine(name: str, workspace: Workspace) -> None:
    if reason := engine(name).available():
        pytest.skip(reason)
    recordings = [run_once(name, spec_of(workspace)) for _ in range(2)]
    for recording in recordings:
        assert (recording.ending, recording.exit_code, recording.ending_detail) == ("exited", 0, "")
        assert recording.acks == tuple(step.tool_id for step in steps_of(WORKLOAD, SEED) if step.do == "tool_done")
        assert VARIABLE not in recording.spec.environment
        _sees_nothing_of_the_service(recording)
    assert recordings[0].final.key == recordings[1].final.key


def _sees_nothing_of_the_service(recording: Recording) -> None:
    if recording.trace is None:
        return
    assert recording.differences == ()
    assert recording.trace.unseen == ()
    assert {actor.process for actor in recording.trace.actors} == {0}
    assert all(getattr(op, "path", "log.jsonl") == "log.jsonl" for op in recording.trace.operations)


@pytest.mark.parametrize("name", ENGINES)
def test_ctrl_c_is_a_normal_end(name: str, workspace: Workspace) -> None:
    if reason := engine(name).available():
        pytest.skip(reason)
    workload = msgspec.structs.replace(WORKLOAD, interrupt=("new_message", "escape", "ctrl_c"))
    recording = run_once(name, spec_of(workspace, workload))
    assert (recording.ending, recording.signal) == ("signalled", signal.SIGINT)
    assert recording.ended_as_told
    assert recording.acks[-1].startswith("ctrl_c-")
    assert not msgspec.structs.replace(recording, spec=spec_of(workspace)).ended_as_told


def test_a_target_that_is_killed_leaves_no_tool(workspace: Workspace) -> None:
    plan = FaultPlan(faults=(Timed(delay_us=50_000),))
    recording = run_once("timed", spec_of(workspace, WORKLOAD, "slow"), plan)
    assert recording.signal == signal.SIGKILL


def test_the_caller_may_have_threads(workspace: Workspace) -> None:
    found: list[Recording] = []
    thread = threading.Thread(target=lambda: found.append(run_once("timed", spec_of(workspace), NO_FAULTS)))
    thread.start()
    thread.join(30)
    assert found[0].exit_code == 0
