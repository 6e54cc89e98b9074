"""A cell: what is inside reaches nothing outside, nothing of it is left, and what the network saw is counted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.fault import FaultPlan, Timed
from harness.core.run import RunSpec
from harness.engines import engine
from harness.sandbox import processes
from harness.sandbox.cell import BASE, CellEndedError, Isolated, inside, isolated, isolation_available
from harness.sandbox.isolation import IsolationError, network_use
from harness.sandbox.portable import CallFailedError
from harness.sandbox.workspace import Workspace
from tests.forked_child import in_a_child
from tests.survivors import marked, new_mark, survivors

ROOT = Path(__file__).parents[2]
_NEWUSER, _SET_DUMPABLE = 0x10000000, 4

needs_cells = pytest.mark.skipif(bool(isolation_available()), reason=isolation_available() or "no cells here")
real = pytest.mark.real


def run_in(tmp_path: Path, function: Callable[..., Any], *args: Any, **options: Any) -> Isolated:
    return isolated(function, *args, writable=[str(tmp_path)], timeout_s=options.pop("timeout_s", 30.0), **options)


def refusals(addresses: list[tuple[int, int, Any]]) -> list[str]:
    """Try to reach each address; return the errors, "" where none came."""
    found = []
    for family, kind, address in addresses:
        with socket.socket(family, kind) as client:
            try:
                client.connect(address)
                found.append("")
            except OSError as error:
                found.append(error.strerror or str(error))
    return found


@needs_cells
@real
def test_nothing_but_loopback_can_be_reached_and_attempts_are_counted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + new_mark())
        abstract.listen()
        known: list[tuple[int, int, Any]] = [
            (socket.AF_INET, socket.SOCK_STREAM, outside.getsockname()),
            (socket.AF_UNIX, socket.SOCK_STREAM, abstract.getsockname()),
            (socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 443)),
            (socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
        ]
        seen = run_in(tmp_path, refusals, known)
    assert seen.value == ["Connection refused", "Connection refused", *["Network is unreachable"] * 2]
    assert seen.network.no_route == 2
    assert seen.network.packets_elsewhere == 0
    assert seen.network.loopback_packets >= 1  # the refused connection to the port of somebody outside


def talk_to_oneself() -> bytes:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"hello")
        accepted, _ = server.accept()
        with accepted:
            return accepted.recv(16)


@needs_cells
@real
def test_loopback_works_inside(tmp_path: Path) -> None:
    seen = run_in(tmp_path, talk_to_oneself)
    assert seen.value == b"hello"
    assert seen.network.no_route == 0 and seen.network.loopback_packets > 3


def test_the_counters_of_the_kernel_are_read_as_they_stand() -> None:
    dev = (
        "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n"
        "    lo:  480       6    0    0    0     0          0         0   480       6    0 0 0 0 0 0\n"
        " sit0:    80       1    0    0    0     0          0         0   160       2    0 0 0 0 0 0\n"
    )
    snmp = "Ip: Forwarding InReceives OutNoRoutes\nIp: 1 20 3\nIcmp: InMsgs\nIcmp: 9\n"
    assert network_use(dev, snmp, "Ip6InReceives 7\nIp6OutNoRoutes 4\n") == (("sit0",), 3, 7, 6)
    assert network_use(dev, snmp, "").no_route == 3


def seen_by_a_program() -> tuple[str, str, bytes]:
    """Return what a program that is started here sees: the processes, its environment, and that of all others."""
    script = "ls -d /proc/[0-9]* | wc -l; ps -e | wc -l; env -0 | wc -c"
    seen = subprocess.run(
        ["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True, timeout=10
    )
    every = b""
    for name in os.listdir("/proc"):
        if name.isdigit():
            every += Path(f"/proc/{name}/environ").read_bytes()
    return seen.stdout, str(os.getpid()), every


@needs_cells
@real
def test_a_program_inside_sees_no_process_and_no_environment_of_the_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.sandbox.test_cell import run_in, seen_by_a_program;"
        f"print(run_in(Path({str(tmp_path)!r}), seen_by_a_program).value)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "A_SECRET": new_mark()}
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    output, pid, every = eval(printed.stdout)
    listed = output.split()
    assert int(listed[0]) <= 6 and int(listed[1]) <= 7  # itself, the shell and its pipe, two that are the cell
    assert int(pid) <= 3
    assert b"A_SECRET" not in every and environment["A_SECRET"].encode() not in every


def leave_files(places: list[str]) -> list[str]:
    found = []
    for place in places:
        try:
            Path(place).write_text("left")
            found.append("")
        except OSError as error:
            found.append(error.strerror or str(error))
    return found


@needs_cells
@real
def test_files_last_in_the_writable_directory_alone(tmp_path: Path) -> None:
    mark = new_mark()
    mine, beside = tmp_path / "mine", tmp_path / "beside"
    mine.mkdir()
    beside.mkdir()
    elsewhere = [f"/tmp/{mark}", f"/var/tmp/{mark}", f"/dev/shm/{mark}"]
    places = [str(mine / "kept"), *elsewhere, f"{os.path.expanduser('~')}/{mark}", str(ROOT / mark)]
    seen = isolated(leave_files, places, writable=[str(mine)], shown=[str(ROOT)])
    assert seen.value == ["", "", "", "", "Read-only file system", "Read-only file system"]
    assert [path for path in places if os.path.exists(path)] == [str(mine / "kept")]
    settings = isolated(lambda: os.statvfs("/proc/sys").f_flag & os.ST_RDONLY, writable=[str(mine)])
    assert settings.value  # the settings of the machine
    shown = isolated(os.path.exists, str(beside), writable=[str(mine)], shown=[str(beside)])
    hidden = isolated(os.listdir, "/etc", writable=[str(mine)], hidden=["/etc"])
    assert shown.value is True and hidden.value == []


def write_at_the_base(text: str) -> tuple[str, list[str]]:
    workspace = Workspace(BASE)
    Path(workspace.root, "kept").write_text(text)
    return workspace.root, sorted(os.listdir("/tmp"))


@needs_cells
@real
def test_a_workspace_is_seen_at_one_path_wherever_it_is(tmp_path: Path) -> None:
    for name in ("one", "two"):
        outside = Workspace(str(tmp_path / name))
        seen = isolated(write_at_the_base, name, base=outside.base)
        assert seen.value[0] == f"{BASE}/state" and "tornwrite" in seen.value[1]
        assert (tmp_path / name / "state" / "kept").read_text() == name
    assert not os.path.exists(BASE)
    named = Workspace(str(tmp_path / "three"), make=False)
    assert named.root == str(tmp_path / "three" / "state") and not os.path.exists(named.base)


ESCAPING = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        os.closerange(0, 3)\n"
    "        time.sleep(600)\n"
    "    os._exit(0)\n"
    "if len(sys.argv) > 2: time.sleep(600)\n"
)


def escape(mark: str, *more: str) -> int:
    return subprocess.run([sys.executable, "-S", "-c", ESCAPING, mark, *more], env={}, check=False).returncode


@needs_cells
@real
def test_a_daemon_ends_with_the_cell(tmp_path: Path) -> None:
    mark = new_mark()
    assert run_in(tmp_path, escape, mark).value == 0
    assert not marked(mark)  # at once: the cell's end is the kernel's


@needs_cells
@real
def test_a_cell_that_takes_too_long_ends_with_all_it_started(tmp_path: Path) -> None:
    mark = new_mark()
    with pytest.raises(CellEndedError, match=r"what ran in the cell did not end within 0\.5 s"):
        run_in(tmp_path, escape, mark, "stay", timeout_s=0.5)
    assert not marked(mark)


def kill(who: str) -> None:
    os.kill({"itself": os.getpid(), "the first": 1}[who], signal.SIGKILL)
    time.sleep(0.2)


@needs_cells
@real
def test_deaths_errors_and_values_that_cannot_travel(tmp_path: Path) -> None:
    before = set(processes.children(os.getpid()))  # what an engine of another test keeps between its runs
    with pytest.raises(CellEndedError, match="was killed by signal 9"):
        run_in(tmp_path, kill, "itself")
    assert run_in(tmp_path, kill, "the first").value is None  # it is deaf to those inside
    with pytest.raises(CellEndedError, match="ended with exit code 3"):
        run_in(tmp_path, os._exit, 3)
    with pytest.raises(ZeroDivisionError) as caught:
        run_in(tmp_path, lambda: 1 // 0)
    assert "in <lambda>" in caught.value.__notes__[0]
    with pytest.raises(CallFailedError):
        run_in(tmp_path, lambda: (each for each in ()))  # a generator cannot travel
    with pytest.raises(IsolationError, match="in a cell already"):
        run_in(tmp_path, lambda: isolated(os.getpid, writable=[]))
    with pytest.raises(IsolationError, match="nowhere: no such directory"):
        isolated(os.getpid, writable=[str(tmp_path / "nowhere")])
    assert run_in(tmp_path, lambda: b"x" * (3 << 20)).value == b"x" * (3 << 20)
    assert run_in(tmp_path, inside).value is True and not inside()
    assert set(processes.children(os.getpid())) == before


CALLER = (
    "import sys, os; sys.path.insert(0, sys.argv[3]); from pathlib import Path\n"
    "from tests.sandbox.test_cell import escape, isolated\n"
    "print('go', flush=True)\n"
    "isolated(escape, sys.argv[1], 'stay', writable=[sys.argv[2]])\n"
)


@needs_cells
@real
@pytest.mark.parametrize("victim", ["caller", "keeper", "first", "ctrl-c"])
def test_a_cell_ends_with_its_caller_however_that_ends(tmp_path: Path, victim: str) -> None:
    mark = new_mark()
    command = [sys.executable, "-c", CALLER, mark, str(tmp_path), str(ROOT)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as caller:
        try:
            end = time.monotonic() + 30
            below: list[int] = []
            while len(marked(mark) - {caller.pid}) < 5 and time.monotonic() < end:
                time.sleep(0.05)
            below = processes.descendants(caller.pid)
            assert len(below) >= 5  # keeper, first, function, program, daemon
            chosen = {"caller": caller.pid, "keeper": below[0], "first": below[1], "ctrl-c": caller.pid}[victim]
            os.kill(chosen, signal.SIGINT if victim == "ctrl-c" else signal.SIGKILL)
            caller.wait(20)
            assert not survivors(mark, 5.0)
            said = caller.stderr.read().decode() if caller.stderr else ""
        finally:
            caller.kill()
    if victim == "keeper":
        assert "the process that keeps the cell was killed" in said
    if victim == "first":
        assert "what ran in the cell was killed by signal 9" in said


WRITER = (
    "import os, sys, time\n"
    "with open(os.path.join(sys.argv[1], 'log'), 'ab', buffering=0) as log:\n"
    "    for number in range(int(sys.argv[2])):\n"
    "        log.write(b'%d\\n' % number)\n"
    "        time.sleep(0.02)\n"
)


def record(base: str, name: str, numbers: int, delay_us: int) -> tuple[Any, ...]:
    workspace = Workspace(base)
    spec = RunSpec(
        argv=(sys.executable, "-S", "-c", WRITER, workspace.root, str(numbers)),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(),
    )
    faults = (Timed(delay_us=delay_us),) if delay_us else ()
    recording = engine(name).run(spec, FaultPlan(faults=faults))
    operations = len(recording.trace.operations) if recording.trace else 0
    return recording.ending, recording.signal, operations, recording.differences, len(os.listdir(workspace.root))


@needs_cells
@real
def test_engines_work_inside(tmp_path: Path) -> None:
    if reason := engine("ptrace").available():
        pytest.skip(reason)
    ending, _, operations, differences, names = run_in(tmp_path, record, str(tmp_path / "w"), "ptrace", 3, 0).value
    assert (ending, differences, names) == ("exited", (), 1) and operations >= 4
    ending, number, *_ = run_in(tmp_path, record, str(tmp_path / "w"), "timed", 100, 150_000).value
    assert (ending, number) == ("signalled", signal.SIGKILL)


@needs_cells
@real
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="becomes another user")
def test_an_ordinary_user_has_cells_too(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "theirs"
    place.mkdir()
    os.chown(place, 65534, 65534)
    for parent in (tmp_path, *tmp_path.parents):
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o755)

    def body() -> str:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0)  # giving up root has taken it away
        try:
            seen = isolated(leave_files, [str(place / "kept"), "/tmp/x"], writable=[str(place)], timeout_s=30)
        except IsolationError as error:
            return f"refused: {error}"
        return f"{seen.value} {seen.network.packets_elsewhere} {(place / 'kept').stat().st_uid}"

    told = in_a_child(body)
    if told.startswith("refused: unshare of user"):
        pytest.skip(told)
    assert told == "['', ''] 0 65534"


@needs_cells
@real
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="forbids namespaces to itself")
def test_where_namespaces_are_forbidden_one_line_says_so(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def body() -> str:
        isolation_available.cache_clear()
        if libc.unshare(_NEWUSER):
            return "no user namespace"
        for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
            Path(f"/proc/self/{name}").write_text(text)
        Path("/proc/sys/user/max_net_namespaces").write_text("0")
        return isolation_available()

    assert in_a_child(body) in (
        "unshare of user and other namespaces: no more namespaces are allowed",
        "no user namespace",
    )
