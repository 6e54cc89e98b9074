"""Windows Job Objects on a kernel that is simulated: the order of the calls, and every one of them failing."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from harness.sandbox import child
from harness.sandbox.child import Child, ChildNotStartedError
from harness.sandbox.job import CREATE_SUSPENDED, ExtendedLimits, Job, JobError


class FakeKernel:
    """Keeps what kernel32 would: processes in jobs, ended when the job is terminated or its last handle goes."""

    def __init__(self, refuse: str = "") -> None:
        self.refuse = refuse
        self.calls: list[str] = []
        self.suspended: dict[int, int] = {}
        self.members: list[int] = []
        self.running: list[int] = []
        self.ended: list[int] = []
        self.kills_on_close = False
        self.open_handles = 0

    def _ok(self, name: str) -> bool:
        self.calls.append(name)
        return name != self.refuse

    def create(self) -> int:
        if not self._ok("create"):
            return 0
        self.open_handles += 1
        return 77

    def limit(self, job: int, limits: ExtendedLimits) -> int:
        self.kills_on_close = bool(limits.basic.flags & 0x2000)
        return self._ok("limit")

    def assign(self, job: int, process: int) -> int:
        if not self._ok("assign"):
            return 0
        self.members.append(process)
        return 1

    def resume(self, pid: int) -> None:
        if not self._ok("resume"):
            raise psutil.NoSuchProcess(pid)
        self.running.append(pid)

    def terminate(self, job: int, exit_code: int) -> int:
        self.ended += self.members
        return self._ok("terminate")

    def close(self, handle: int) -> int:
        self.open_handles -= 1
        if self.kills_on_close:
            self.ended += self.members
        return self._ok("close")


def test_a_process_is_in_the_job_before_it_runs() -> None:
    kernel = FakeKernel()
    job = Job(kernel)
    job.take(10, 1000)
    assert kernel.calls == ["create", "limit", "assign", "resume"]
    assert kernel.members == [1000] and kernel.running == [10]


def test_closing_the_last_handle_ends_what_is_in_it_and_happens_once() -> None:
    kernel = FakeKernel()
    job = Job(kernel)
    job.take(10, 1000)
    job.close()
    job.close()
    job.kill()
    assert kernel.ended == [1000]
    assert kernel.open_handles == 0


@pytest.mark.parametrize("refuse", ["create", "limit", "assign", "resume"])
def test_every_refusal_is_said_and_leaves_no_handle(refuse: str) -> None:
    kernel = FakeKernel(refuse)
    with pytest.raises(JobError):
        job = Job(kernel)
        try:
            job.take(10, 1000)
        finally:
            job.close()
    assert kernel.open_handles == 0
    assert refuse == "resume" or not kernel.running


def test_the_limits_have_the_size_that_windows_expects() -> None:
    assert ctypes.sizeof(ExtendedLimits) == (144 if ctypes.sizeof(ctypes.c_void_p) == 8 else 112)


class FakePopen:
    """A process of Windows: started suspended or not at all, with a handle."""

    pid = 4711
    _handle = 1000
    returncode = 1

    def __init__(self, kernel: FakeKernel, creationflags: int) -> None:
        assert creationflags & CREATE_SUSPENDED, "it could start something before it is in the job"
        self.kernel, self.killed = kernel, False

    def kill(self) -> None:
        self.killed = True

    def wait(self) -> int:
        return 1


def start_on(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> tuple[list[FakePopen], Callable[[], object]]:
    monkeypatch.setattr(child, "Kernel32", lambda: kernel)
    made: list[FakePopen] = []

    def start(flags: int) -> FakePopen:
        made.append(FakePopen(kernel, flags))
        return made[-1]

    return made, lambda: child._start_in_job(start)  # type: ignore[arg-type]


def test_a_child_is_started_suspended_and_resumed_in_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel()
    made, begin = start_on(kernel, monkeypatch)
    begin()
    assert kernel.members == [FakePopen._handle] and kernel.running == [FakePopen.pid]
    assert not made[0].killed


@pytest.mark.parametrize("refuse", ["create", "limit", "assign", "resume"])
def test_a_child_that_no_job_takes_is_not_started(monkeypatch: pytest.MonkeyPatch, refuse: str) -> None:
    kernel = FakeKernel(refuse)
    made, begin = start_on(kernel, monkeypatch)
    with pytest.raises(ChildNotStartedError):
        begin()
    assert kernel.open_handles == 0
    assert all(process.killed for process in made)


@pytest.mark.skipif(sys.platform == "win32", reason="shows that there is no job elsewhere")
def test_elsewhere_a_child_has_no_job(tmp_path: object) -> None:
    started = Child(
        [sys.executable, "-c", ""], cwd=str(tmp_path), environment={}, setup=None, on_output=lambda _, __: None
    )
    try:
        assert started._job is None
        assert isinstance(started._popen, subprocess.Popen)
    finally:
        started.end()
        started.close()
