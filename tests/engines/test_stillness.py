"""What is seen of sleeping, running, dead and replaced threads by eyes that keep their files open."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from harness.engines.ptrace.stillness import Eyes, is_asleep, sleeps_for_a_time

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")]

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
WITH_CHILD = """
import subprocess, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
child = subprocess.Popen(["sleep", "60"])
for line in sys.stdin:
    child.kill()
    child.wait()
    print("gone", flush=True)
"""


@pytest.fixture
def eyes() -> Iterator[Eyes]:
    before = set(os.listdir("/proc/self/fd"))
    made = Eyes()
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("x\n")
    return process.stdout.readline()


def wait_for(seen: object) -> None:
    end = time.monotonic() + 20
    while not seen() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.01)
    assert seen()  # type: ignore[operator]


def test_who_sleeps_has_not_run_and_who_was_woken_has(eyes: Eyes) -> None:
    with started(ECHO) as process:
        assert said(process) == "x\n"
        wait_for(lambda: is_asleep(eyes.state(process.pid)))
        times = eyes.times_run(process.pid)
        assert times > 0 and eyes.used_ns(process.pid) > 0
        time.sleep(0.05)
        assert (eyes.state(process.pid), eyes.times_run(process.pid)) == ("S", times)
        said(process)
        wait_for(lambda: is_asleep(eyes.state(process.pid)))
        assert eyes.times_run(process.pid) > times
        process.kill()
        wait_for(lambda: eyes.state(process.pid) == "Z")
        process.wait()
        assert (eyes.state(process.pid), eyes.times_run(process.pid)) == ("", 0)


def test_a_process_beside_is_at_rest_when_all_its_threads_are_and_its_children_have_ended(eyes: Eyes) -> None:
    with started(WITH_CHILD) as process:
        wait_for(lambda: b"sleep" in _below(process.pid))
        for _ in range(3):
            assert eyes.look_beside(process.pid) is None
        assert said(process) == "gone\n"
        wait_for(lambda: eyes.look_beside(process.pid) is not None)
        seen = eyes.look_beside(process.pid)
        assert seen is not None and len(seen) == 2 and process.pid in seen and all(seen.values())
        assert eyes.look_beside(process.pid) == seen
        process.kill()
        process.wait()
        assert eyes.look_beside(process.pid) in ({}, None)
        assert eyes.look_beside(process.pid) == {}


def _below(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as stream:
            child = stream.read().split()[0].decode()
        with open(f"/proc/{child}/cmdline", "rb") as stream:
            return stream.read()
    except (OSError, IndexError):
        return b""


@pytest.mark.parametrize(
    ("code", "timed"),
    [
        ("import time; time.sleep(60)", True),
        ("import select; select.select([], [], [], 60)", True),
        ("import select; select.poll().poll(60000)", True),
        ("import select; select.epoll().poll(60)", True),
        ("import threading; threading.Event().wait(60)", True),
        ("import threading; threading.Event().wait()", False),
        ("import select; select.poll().poll()", False),
        ("import select; select.epoll().poll()", False),
        ("import signal; signal.pause()", False),
        ("import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()", False),
    ],
)
def test_who_waits_for_a_time_is_told_from_who_waits_for_somebody(eyes: Eyes, code: str, timed: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", f"print(flush=True); {code}"], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None and process.stdout.readline()
        wait_for(lambda: is_asleep(eyes.state(process.pid)))
        time.sleep(0.1)
        assert sleeps_for_a_time(process.pid) is timed
        process.kill()
