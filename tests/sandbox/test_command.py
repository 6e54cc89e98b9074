from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sandbox import processes
from harness.sandbox.command import CommandResult, run_command
from harness.sandbox.workspace import Workspace
from tests.survivors import marked, new_mark

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="survivors are looked for in /proc"),
]


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "base"))


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark for the processes of one test: none of them may be alive when the test ends."""
    value = new_mark()
    before = processes.children(os.getpid())
    yield value
    assert marked(value) == set()
    assert processes.children(os.getpid()) == before  # nor unreaped


def run(place: Workspace, mark: str, program: str, **options: float) -> CommandResult:
    environment = place.environment({"MARK": mark})
    argv = ["python", "-c", textwrap.dedent(program)]
    return run_command(argv, cwd=place.cwd, environment=environment, **options)  # type: ignore[arg-type]


def test_output_exit_code_and_directory(place: Workspace, mark: str) -> None:
    result = run(place, mark, "import os, sys; print(os.getcwd()); print('e', file=sys.stderr); sys.exit(3)")
    assert result.stdout == place.cwd.encode() + b"\n"
    assert result.stderr == b"e\n"
    assert (result.exit_code, result.signal, result.timed_out, result.not_started) == (3, None, False, "")


def test_a_death_by_signal_is_told_apart_from_an_exit_code(place: Workspace, mark: str) -> None:
    result = run(place, mark, "import os; os.kill(os.getpid(), 11)")
    assert (result.exit_code, result.signal, result.timed_out) == (None, signal.SIGSEGV, False)


def test_a_hanging_command_that_ignores_signals_is_ended(place: Workspace, mark: str) -> None:
    program = """
        import signal, time
        for number in signal.valid_signals():
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        print("up")
        time.sleep(600)
    """
    result = run(place, mark, program, timeout_s=1.0)
    assert (result.timed_out, result.signal, result.stdout) == (True, signal.SIGKILL, b"up\n")


DAEMONS = {
    "background child": "subprocess.Popen(['sleep', '600'])",
    "own session": "subprocess.Popen(['sleep', '600'], start_new_session=True)",
    "double fork": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(3): os.close(fd)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    os._exit(0)
""",
    "holds the pipes open and prints for ever": """
if os.fork() == 0:
    os.setsid()
    while True: os.write(1, b'y' * 65536)
""",
    "stopped": "os.kill(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, signal.SIGSTOP)",
}


@pytest.mark.parametrize("kind", DAEMONS)
def test_what_a_command_leaves_behind_is_gone(place: Workspace, mark: str, kind: str) -> None:
    program = f"import os, signal, subprocess, time\nprint('started', flush=True)\n{DAEMONS[kind]}"
    result = run(place, mark, program)
    assert result.exit_code == 0
    assert result.stdout.startswith(b"started\n")


def test_a_program_that_forks_while_it_is_killed_is_ended(place: Workspace, mark: str) -> None:
    """Every process forks two more, in sessions of their own, up to a bound that this test sets."""
    program = """
        import os, sys, time
        end = time.monotonic() + 20
        def grow(depth):
            while time.monotonic() < end:
                if depth < 7:
                    for _ in range(2):
                        if os.fork() == 0:
                            os.setsid()
                            grow(depth + 1)
                            os._exit(0)
                    depth = 7
                time.sleep(0.01)
        grow(0)
    """
    result = run(place, mark, program, timeout_s=1.0)
    assert result.timed_out and result.signal == signal.SIGKILL


def test_a_process_that_hops_from_fork_to_fork_is_ended(place: Workspace, mark: str) -> None:
    """Each process starts its successor in a new session and ends: there is never anything to hold on to."""
    program = """
        import os, time
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            os.setsid()
    """
    assert run(place, mark, program, timeout_s=5.0).exit_code == 0


def test_a_gibibyte_of_output_costs_no_memory(place: Workspace, mark: str) -> None:
    program = "import os\nfor _ in range(1 << 14): os.write(1, b'y' * 65536)\nos.write(2, b'end')"
    result = run(place, mark, program, timeout_s=60.0, output_bytes=1000)
    assert result.exit_code == 0
    assert result.stdout == b"y" * 1000
    assert result.truncated
    assert result.stderr == b"end"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "the command is empty"),
        (["no-such-tornwrite-command"], "command not found"),
        (["/etc/passwd"], "is not executable"),
        (["/no/such"], "no such file"),
        (["true", "a\0b"], "null byte"),
    ],
)
def test_a_command_that_cannot_start_is_a_result(
    place: Workspace, mark: str, argv: list[str], reason: str
) -> None:
    result = run_command(argv, cwd=place.cwd, environment=place.environment({"MARK": mark}))
    assert reason in result.not_started
    assert (result.exit_code, result.signal) == (None, None)


def test_a_missing_directory_and_a_file_of_no_format_are_results(place: Workspace, tmp_path: Path) -> None:
    environment = place.environment()
    gone = run_command(["true"], cwd=str(tmp_path / "gone"), environment=environment)
    assert "no directory" in gone.not_started
    odd = tmp_path / "odd"
    odd.write_bytes(b"\x7fELF nothing")
    odd.chmod(0o755)
    assert "Exec format error" in run_command([str(odd)], cwd=place.cwd, environment=environment).not_started


def test_nothing_of_the_harness_environment_or_descriptors_is_inherited(place: Workspace, mark: str) -> None:
    reading, writing = os.pipe()
    program = "import os; print(sorted(os.environ)); print(sorted(os.listdir('/proc/self/fd')))"
    try:
        os.environ["TORNWRITE_SECRET"] = "1"
        result = run(place, mark, program)
    finally:
        del os.environ["TORNWRITE_SECRET"]
        os.close(reading)
        os.close(writing)
    names, descriptors = result.stdout.decode().splitlines()
    assert "SECRET" not in names
    assert descriptors == "['0', '1', '2', '3']"  # 3 reads the listing


def test_signals_have_their_defaults(place: Workspace, mark: str) -> None:
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        program = "import signal; print(open('/proc/self/status').read())"
        status = run(place, mark, program).stdout.decode()
    finally:
        signal.signal(signal.SIGINT, previous)
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    assert not ignored & 1 << signal.SIGINT - 1
    blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
    assert blocked == 0


def test_children_the_process_had_before_are_spared(place: Workspace, mark: str) -> None:
    child = os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
    try:
        run(place, mark, "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)")
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_subreaper_setting_is_put_back(place: Workspace, mark: str) -> None:
    before = processes.is_subreaper()
    run(place, mark, "pass")
    assert processes.is_subreaper() == before
