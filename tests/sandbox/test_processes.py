from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.sandbox import processes
from harness.sandbox.limits import child_setup
from tests.survivors import new_mark, survivors

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="subreapers and /proc"),
]

TREE = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        for _ in range(2):
            if os.fork() == 0: break
        break
print("up", flush=True)
time.sleep(600)
"""


def start(program: str, mark: str, lines: int = 1) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", program, mark], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(lines):
        child.stdout.readline()
    return child


def finish(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def test_descendants_are_listed_parents_first_and_psutil_agrees() -> None:
    mark = new_mark()
    with processes.custody():
        child = start(TREE, mark, 7)
        found = processes.descendants(os.getpid())
        below = processes.descendants(child.pid)
        assert len(below) == 6
        assert set(below) == set(processes._psutil_descendants(child.pid))
        assert found.index(child.pid) < min(found.index(pid) for pid in below)
        assert processes.descendants(os.getpid(), frozenset({child.pid})) == [
            pid for pid in found if pid != child.pid and pid not in below
        ]
        finish(child)
    assert survivors(mark, 0) == set()


def test_killing_counts_what_it_killed_and_spares_what_it_is_told() -> None:
    kept, mark = start(TREE, new_mark(), 7), new_mark()
    before = processes.is_subreaper()
    processes.become_subreaper()
    try:
        child = start(TREE, mark, 7)
        others = processes.children(os.getpid()) - {child.pid}
        assert processes.kill_descendants(keep=others) == 7
        assert survivors(mark, 0) == set()
        assert len(processes.descendants(kept.pid)) == 6
        child.stdout.close()  # type: ignore[union-attr]
        child.returncode = -9  # it was reaped for it
    finally:
        with processes.custody():
            pass
        for pid in processes.descendants(kept.pid):
            os.kill(pid, signal.SIGKILL)
        finish(kept)
        processes.become_subreaper(before)


def test_a_child_dies_with_the_process_that_started_it() -> None:
    mark = new_mark()
    program = f"""
import subprocess, sys, time
from harness.sandbox.limits import child_setup
subprocess.Popen(["sleep", "600"], env={{"MARK": {mark!r}}}, preexec_fn=child_setup())
print("up", flush=True)
time.sleep(600)
"""
    child = start(program, mark)
    finish(child)
    assert survivors(mark, 10) == set()


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (0, None)), ({"file_bytes": 4096}, (0, 4096)), ({"processes": 100}, (0, None))],
)
def test_limits_reach_the_child(options: dict[str, int], expected: tuple[int, int | None]) -> None:
    program = (
        "import resource as r; print(r.getrlimit(r.RLIMIT_CORE)[0], r.getrlimit(r.RLIMIT_FSIZE)[0],"
        " r.getrlimit(r.RLIMIT_NPROC)[0])"
    )
    setup = child_setup(**options)
    out = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, preexec_fn=setup, check=True
    ).stdout
    core, file_bytes, tasks = map(int, out.split())
    assert core == expected[0]
    if expected[1] is not None:
        assert file_bytes == expected[1]
    if "processes" in options and os.geteuid() != 0:
        assert tasks >= 400


def test_custody_waits_for_another_thread() -> None:
    """Two blocks at once could not tell whose orphan is whose."""
    import threading  # noqa: PLC0415

    order: list[str] = []

    def other() -> None:
        with processes.custody():
            order.append("second")

    with processes.custody():
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_survivors_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot be killed is an error with a deadline, not a hang."""
    mark = new_mark()
    with processes.custody():
        child = start("import time; print(); time.sleep(600)", mark)
        with monkeypatch.context() as patch:
            patch.setattr(processes.os, "kill", lambda *_: None)
            patch.setattr(processes.os, "killpg", lambda *_: None)
            with pytest.raises(processes.ProcessesSurvivedError, match="1 processes were still alive"):
                processes.kill_descendants(0.05, processes.children(os.getpid()) - {child.pid})
        finish(child)
