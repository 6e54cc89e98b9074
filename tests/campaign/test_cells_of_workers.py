"""Workers run their trials in cells: several at once, each at the same path, and nothing outlives the main process."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.campaign.executor import Call, Executor
from harness.sandbox.cell import isolated, isolation_available
from harness.sandbox.workspace import Workspace
from tests.survivors import marked, new_mark, survivors

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(isolation_available()), reason=isolation_available() or "no cells here"),
]


def talk(base: str, text: str) -> tuple[str, str]:
    """Have a program at a terminal of its own write to the state directory; return what it said, and what is there."""
    workspace = Workspace(base)
    place = os.path.join(workspace.root, "said")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve("/bin/sh", ["sh", "-c", f'read word; echo "$word" >> {place}; tty'], {"PATH": os.defpath})
    os.write(terminal, text.encode() + b"\n")
    said = b""
    while True:
        try:
            said += os.read(terminal, 1024)
        except OSError:
            break
    os.waitpid(pid, 0)
    return said.decode(), Path(place).read_text()


def trial(base: str, text: str) -> tuple[str, str, str, int]:
    seen = isolated(talk, base, text, writable=[base], timeout_s=30)
    return (*seen.value, os.listdir(f"{base}/state")[0], seen.network.packets_elsewhere)


def test_cells_of_several_workers_at_one_path(tmp_path: Path) -> None:
    base = str(tmp_path / "base")
    with Executor(2, base) as executor:
        calls = [Call(trial, (base, f"word{number}"), key=number) for number in range(6)]
        outcomes = {outcome.key: outcome.result() for outcome in executor.run(calls)}
        shared = executor.shared_reason
    for number, (said, written, name, elsewhere) in outcomes.items():
        assert f"word{number}" in said and "/dev/pts/" in said
        assert written.splitlines()[-1] == f"word{number}"
        assert (name, elsewhere) == ("said", 0)
    if not shared:
        assert not os.path.exists(f"{base}/state/said")  # each worker had its own


SLEEPS = "import time; time.sleep(600)"
MAIN = (
    "import sys; sys.path.insert(0, sys.argv[3])\n"
    "from harness.campaign.executor import Call, Executor\n"
    "from tests.campaign.test_cells_of_workers import stay\n"
    "with Executor(2, sys.argv[2]) as executor:\n"
    "    list(executor.run([Call(stay, (sys.argv[2], sys.argv[1])) for _ in range(2)]))\n"
)


def stay(base: str, mark: str) -> None:
    command = [sys.executable, "-S", "-c", SLEEPS, mark]
    isolated(subprocess.run, command, writable=[base], timeout_s=600)


def test_cells_end_with_the_main_process(tmp_path: Path) -> None:
    mark = new_mark()
    command = [sys.executable, "-c", MAIN, mark, str(tmp_path / "base"), str(ROOT)]
    with subprocess.Popen(command, start_new_session=True) as main:
        try:
            end = time.monotonic() + 60
            while _sleeping(mark) < 2:
                assert time.monotonic() < end and main.poll() is None
                time.sleep(0.05)
        finally:
            os.kill(main.pid, signal.SIGKILL)
    assert not survivors(mark, 5.0)


def _sleeping(mark: str) -> int:
    count = 0
    for pid in marked(mark):
        with contextlib.suppress(OSError):
            count += f"-S\0-c\0{SLEEPS}\0" in Path(f"/proc/{pid}/cmdline").read_text()
    return count
