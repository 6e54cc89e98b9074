"""Whatever ends a recording, nothing of it is left: no process, no mount, no loop device, no disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.block.conftest import loops_left, loops_of, require
from tests.survivors import marked, new_mark, survivors

pytestmark = pytest.mark.real

WITHIN_S = 30.0

RECORDER = """
import os, sys
from harness.core.run import RunSpec
from harness.engines.base import EngineError
from harness.engines.block import observe, record_on_disk
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace

base, fifo, filesystem, mark = sys.argv[1:]
WRITER = '''
import os, sys, time
os.chdir(sys.argv[1])
with open("f", "wb") as stream:
    stream.write(b"x" * 100000)
    if os.fork() == 0:
        os.setsid()  # a daemon
    else:
        open(sys.argv[2], "w").close()  # somebody may strike now
    while True:
        time.sleep(1)
'''
workspace = Workspace(base)
spec = RunSpec(
    argv=(real_python(), "-ISE", "-c", WRITER, workspace.root, fifo, mark),
    root=workspace.root, cwd=workspace.cwd, environment=workspace.environment(),
)
try:
    record_on_disk(spec, filesystem, commit="each")
except EngineError as error:
    print("told:", error)
"""


class Running(NamedTuple):
    process: subprocess.Popen[str]
    mark: str
    root: str


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """A recording whose writer, and a daemon of it, never end."""
    filesystem = getattr(request, "param", "ext4")
    require(filesystem)
    mark, fifo = new_mark(), str(tmp_path / "fifo")
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(tmp_path / "workspace"), fifo, filesystem, mark],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        with open(fifo, encoding="ascii"):  # opens when the writer does
            pass
        assert len(marked(mark)) >= 5, "caller, keeper, disk, tracer and writers"
        assert len(loops_of(process.pid)) == 1
        yield Running(process, mark, str(tmp_path / "workspace" / "state"))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def assert_nothing_left(run: Running) -> None:
    assert survivors(run.mark, WITHIN_S) == set()
    assert loops_left(run.process.pid, WITHIN_S) == []
    with open("/proc/mounts", encoding="utf-8") as stream:
        assert run.root not in stream.read()
    assert os.listdir(run.root) == []


@pytest.mark.parametrize("running", ["ext4", "xfs", "btrfs"], indirect=True)
def test_after_a_sigkill_of_the_caller(running: Running) -> None:
    running.process.kill()
    running.process.wait()
    assert_nothing_left(running)


def test_after_an_interrupt(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)
    _, stderr = running.process.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr
    assert_nothing_left(running)


def test_after_a_sigkill_of_the_keeper(running: Running) -> None:
    (keeper,) = psutil.Process(running.process.pid).children()
    keeper.kill()
    stdout, _ = running.process.communicate(timeout=60)
    assert "told: the process that works with the disk was killed" in stdout
    assert_nothing_left(running)


def test_the_server_of_the_disk_holds_none_of_the_mounts_that_wait_for_it(running: Running) -> None:
    """Were it the last one there, its own end would unmount, and wait for answers that only it gives."""
    (keeper,) = psutil.Process(running.process.pid).children()
    mounts = {os.readlink(f"/proc/{each.pid}/ns/mnt") for each in keeper.children()[1:]}
    server = os.readlink(f"/proc/{keeper.children()[0].pid}/ns/mnt")
    assert server == os.readlink("/proc/self/ns/mnt")
    assert server not in mounts and mounts == {os.readlink(f"/proc/{keeper.pid}/ns/mnt")}


def test_after_a_sigkill_of_each_process_below(running: Running) -> None:
    """The disk's server first: whoever waits for the disk meets errors, not an endless wait."""
    for process in psutil.Process(running.process.pid).children()[0].children():
        process.kill()
    running.process.communicate(timeout=60)
    assert_nothing_left(running)


OBSERVER = """
import os, sys
from harness.engines.block import observe
from tests.block.conftest import pattern_spec
from harness.engines.block import record_on_disk
from harness.sandbox.workspace import Workspace

base, fifo, mark = sys.argv[1:]
done = record_on_disk(pattern_spec("append", Workspace(base)), "ext4", commit="each")
states = observe(done)
next(states)
open(fifo, "w").close()
while True:
    for _ in states:
        pass
    states = observe(done)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_after_the_end_of_somebody_who_observes(tmp_path: Path, number: signal.Signals) -> None:
    require("ext4")
    mark, fifo = new_mark(), str(tmp_path / "fifo")
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-c", OBSERVER, str(tmp_path / "workspace"), fifo, mark],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with open(fifo, encoding="ascii"):
        pass
    assert len(marked(mark)) >= 3
    process.send_signal(number)
    process.wait(60)
    assert survivors(mark, WITHIN_S) == set()
    assert loops_left(process.pid, WITHIN_S) == []
