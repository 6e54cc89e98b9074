"""Programs that misbehave: every run ends, says why, and leaves nothing running."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.fault import CrashPoint, FaultPlan, Kill, Short, Timed
from harness.core.run import Limits, Recording, RunSpec
from harness.engines import TargetNotStartedError, UnsupportedFaultError, engine
from harness.engines.acks import AckPatternError
from harness.sandbox.environment import real_python
from harness.sandbox.processes import children
from harness.sandbox.workspace import Workspace, temporary_workspace

Run = Callable[..., Recording]

pytestmark = pytest.mark.real

PR_SET_DUMPABLE = 4
SHELL = ("/bin/sh", "-c")


def python(program: str) -> tuple[str, ...]:
    return (real_python(), "-ISE", "-c", program, "{dir}")


def alive(marker: str) -> list[int]:
    """The processes with ``marker`` among their arguments."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as stream:
                    if marker.encode() in stream.read():
                        found.append(int(name))
            except OSError:
                continue
    return found


def own_children() -> set[int]:
    """The children of this process, but for the tracker that another test's start method left in this worker."""
    return {pid for pid in children(os.getpid()) if pid not in alive("resource_tracker")}


def test_a_program_that_hangs(traced: Run, bench: Workspace) -> None:
    run = traced(
        *SHELL, "trap '' TERM INT HUP; echo x > {dir}/f; while :; do sleep 60; done", limits=Limits(timeout_s=0.7)
    )
    assert run.ending == "timeout" and "0.7 s" in run.ending_detail
    assert run.signal == 9 and run.differences == () and list(run.final.names) == ["f"]
    assert alive(bench.root) == [] and not own_children()


def test_a_program_that_only_computes(traced: Run) -> None:
    assert traced(*python("while True: pass"), limits=Limits(timeout_s=0.5)).ending == "timeout"


def test_a_daemon_does_not_survive(traced: Run, bench: Workspace) -> None:
    daemon = "setsid setsid /bin/sh -c 'echo d > {dir}/daemon; sleep 1000; echo late >> {dir}/daemon'"
    script = f"({daemon} &) ; echo m > {{dir}}/main"
    run = traced(*SHELL, script)
    assert run.ending == "exited" and run.exit_code == 0
    assert "outlived the program" in run.ending_detail
    assert sorted(run.final.names) == ["daemon", "main"] and run.differences == ()
    assert alive(bench.root) == []


def test_a_fork_bomb(traced: Run, bench: Workspace) -> None:
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    run = traced(*python(bomb), limits=Limits(processes=40, timeout_s=20))
    assert run.ending == "limit" and "more than 40 processes" in run.ending_detail
    assert alive(bench.root) == []


def test_a_program_that_prints_a_gibibyte(traced: Run) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = traced(*SHELL, "head -c 1073741824 /dev/zero; echo done > {dir}/f")
    assert run.ending == "limit" and "printed more than" in run.ending_detail
    assert len(run.stdout_tail) <= 65536 and run.stdout_bytes < 64 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_output_below_the_bound_is_not_kept_whole(traced: Run) -> None:
    run = traced(*SHELL, "head -c 3000000 /dev/zero; echo error >&2; echo ACK 7; echo ok > {dir}/f")
    assert run.ending == "exited" and run.stdout_bytes == 3000006 and len(run.stdout_tail) == 65536
    assert run.stderr_tail == b"error\n" and run.acks == ()


@pytest.mark.parametrize(
    ("program", "limits", "reason"),
    [
        ("while True: open(d + '/f', 'ab').write(b'x' * 100000)", Limits(state_bytes=1 << 20), "wrote more than"),
        ("while True: open(d + '/f', 'ab').close()", Limits(operations=500), "more than 500 file operations"),
        ("fd = os.open(d + '/f', 65); os.truncate(fd, 1 << 40)", Limits(), "made a file of"),
        ("fd = os.open(d + '/f', 65); os.pwrite(fd, b'x', 1 << 40)", Limits(), "made a file of"),
        ("fd = os.open(d + '/f', 65); os.pwrite(fd, b'x', 1 << 62)", Limits(), ""),
    ],
)
def test_a_program_that_fills_the_disk(traced: Run, program: str, limits: Limits, reason: str) -> None:
    run = traced(*python(f"import os, sys; d = sys.argv[1]\n{program}"), limits=limits)
    assert run.ending == ("limit" if reason else "exited")
    assert reason in run.ending_detail


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("no-such-program-anywhere",), "No such file or directory"),
        (("/no/such/program",), "No such file or directory"),
        (("/etc/passwd",), "Permission denied"),
        (("/tmp",), "Permission denied"),
        (("{dir}/../script",), "exec format error"),
        (("",), "the command is empty"),
        (("/bin/sh", "nul\0byte"), "Invalid argument"),
    ],
)
def test_a_command_that_cannot_be_started(
    traced: Run, bench: Workspace, argv: tuple[str, ...], reason: str
) -> None:
    script = os.path.join(bench.base, "script")
    with open(script, "wb") as stream:
        stream.write(b"\x7fELF but not really")
    os.chmod(script, 0o755)
    with pytest.raises(TargetNotStartedError, match=reason) as raised:
        traced(*argv)
    assert "\n" not in str(raised.value)
    assert not own_children()


def test_requests_nobody_can_fulfil(traced: Run) -> None:
    at = CrashPoint(operation="write", role="f", occurrence=1)
    for fault in (Timed(delay_us=1), Short(at=at)):
        with pytest.raises(UnsupportedFaultError):
            traced("/bin/true", plan=FaultPlan(faults=(fault,)))
    with pytest.raises(AckPatternError):
        traced("/bin/true", ack="(")


def test_the_end_of_a_program_is_told_as_it_was(traced: Run) -> None:
    assert traced(*SHELL, "exit 7").exit_code == 7
    dead = traced(*SHELL, "kill -SEGV $$")
    assert (dead.ending, dead.signal, dead.exit_code) == ("signalled", signal.SIGSEGV, None)
    suicide = traced(*SHELL, "echo 1 > {dir}/f; kill -9 $$")
    assert (suicide.signal, suicide.differences, suicide.delivered) == (9, (), ())


def test_signals_and_stops_pass(traced: Run) -> None:
    handled = traced(*SHELL, "trap 'echo caught > {dir}/f' USR1; kill -USR1 $$; echo end")
    assert handled.exit_code == 0 and handled.stdout_tail == b"end\n" and list(handled.final.names) == ["f"]
    stopped = traced(*SHELL, "(kill -STOP $$; echo a > {dir}/a) & sleep 0.2; wait", limits=Limits(timeout_s=0.6))
    assert stopped.ending == "timeout"
    script = "sh -c 'kill -STOP $$; echo b > {dir}/b' & sleep 0.2; kill -CONT $!; wait; echo c > {dir}/c"
    resumed = traced(*SHELL, script)
    assert resumed.exit_code == 0 and sorted(resumed.final.names) == ["b", "c"]


def test_acknowledgements_in_order_from_all_who_hold_stdout(traced: Run) -> None:
    script = "echo 1 > {dir}/a; echo ACK one; (echo 2 > {dir}/b; echo ACK two); exec 5>&1; echo ACK three >&5"
    run = traced(*SHELL, script)
    assert run.acks == ("one", "two", "three") and not run.acks_buffered
    assert run.trace is not None
    kinds = [op.kind for op in run.trace.operations if op.kind in ("write", "ack")]
    assert kinds == ["write", "ack", "write", "ack", "ack"]


def test_buffered_acknowledgements_are_noticed(traced: Run) -> None:
    program = """
import sys
for number in range(5):
    open(f"{sys.argv[1]}/f{number}", "w").write("x")
    print("ACK", number)
"""
    assert traced(*python(program)).acks_buffered
    prompt = traced(real_python(), "-ISEu", "-c", program, "{dir}")
    assert not prompt.acks_buffered and prompt.acks == ("0", "1", "2", "3", "4")


REPLACING = """
import json, os, sys
path = sys.argv[1] + "/s.json"
open(sys.argv[1] + "/lock", "x").close()
for number in range(3):
    with open(path + ".tmp", "w") as stream:
        json.dump({"n": number}, stream)
    os.replace(path + ".tmp", path)
    print("ACK", number)
"""


def test_what_follows_the_flush_does_not_hide_a_block_buffer(traced: Run) -> None:
    program = REPLACING + "sys.stdout.flush()\nos.unlink(sys.argv[1] + '/lock')\n"
    assert traced(*python(program)).acks_buffered
    assert traced(real_python(), "-E", "-c", program, "{dir}").acks_buffered
    assert not traced(real_python(), "-u", "-c", program, "{dir}").acks_buffered


def test_acknowledgements_that_a_javascript_program_keeps_are_noticed(traced: Run) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    program = """
const fs = require("fs"), dir = process.argv[1], acks = [];
fs.writeFileSync(dir + "/lock", "");
for (let n = 0; n < 3; n++) {
  fs.writeFileSync(dir + "/s.tmp", JSON.stringify({ n }));
  fs.renameSync(dir + "/s.tmp", dir + "/s.json");
  %s
}
if (acks.length) fs.writeSync(1, acks.join("\\n") + "\\n");
fs.unlinkSync(dir + "/lock");
"""
    assert traced(node, "-e", program % "acks.push(`ACK ${n}`);", "{dir}").acks_buffered
    prompt = traced(node, "-e", program % "fs.writeSync(1, `ACK ${n}\\n`);", "{dir}")
    assert not prompt.acks_buffered and prompt.acks == ("0", "1", "2")


def test_acknowledgements_in_a_buffer_of_stdio_are_noticed(traced: Run, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to build the writer")
    source, program = tmp_path / "writer.c", str(tmp_path / "writer")
    source.write_text(r"""
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc > 2) setvbuf(stdout, NULL, _IOLBF, 0); else setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (chdir(argv[1])) return 1;
    fclose(fopen("lock", "w"));
    for (int n = 0; n < 3; n++) {
        FILE *stream = fopen("s.tmp", "w");
        fprintf(stream, "{\"n\": %d}", n);
        fclose(stream);
        rename("s.tmp", "s.json");
        printf("ACK %d\n", n);
    }
    fflush(stdout);
    return unlink("lock");
}
""")
    built = subprocess.run([compiler, "-o", program, str(source)], capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"gcc cannot build here: {built.stderr.splitlines()[-1:]}")
    assert traced(program, "{dir}").acks_buffered
    assert not traced(program, "{dir}", "prompt").acks_buffered


def test_group_commit_is_no_block_buffer(traced: Run) -> None:
    program = """
import os, sys
log = os.open(sys.argv[1] + "/log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
for batch in range(3):
    numbers = range(3 * batch, 3 * batch + 3)
    os.write(log, b"".join(b"%d\\n" % number for number in numbers))
    os.fsync(log)
    os.write(1, b"".join(b"ACK %d\\n" % number for number in numbers))
"""
    run = traced(*python(program))
    assert not run.acks_buffered and len(run.acks) == 9


def test_the_arm_line_has_a_time(traced: Run) -> None:
    assert traced(*SHELL, "echo x > {dir}/f; echo READY", arm="^READY").armed_us
    assert traced(*SHELL, "echo x > {dir}/f", arm="^READY").armed_us is None


def test_nothing_is_left_even_if_the_fault_strikes_a_crowd(traced: Run, bench: Workspace) -> None:
    script = "for n in 1 2 3 4 5 6; do (while :; do echo $n >> {dir}/f$n; done) & done; wait"
    at = CrashPoint(operation="write", role="f<n>", occurrence=20, actor="p3")
    started = time.monotonic()
    run = traced(*SHELL, script, plan=FaultPlan(faults=(Kill(at=at),)))
    assert run.delivered and run.differences == () and run.signal == 9
    assert time.monotonic() - started < 20
    assert alive(bench.root) == []


@pytest.fixture
def public() -> Iterator[Workspace]:
    """A workspace that other users can reach: pytest's own directories are private."""
    made = temporary_workspace()
    os.chmod(made.base, 0o755)
    yield made
    made.remove()


def test_as_an_ordinary_user(public: Workspace) -> None:
    bench = public
    if os.geteuid() != 0:
        pytest.skip("already an ordinary user: every other test shows it")
    for directory in (bench.root, bench.cwd, bench.home, bench.tmp):
        os.chown(directory, 65534, 65534)
    spec = RunSpec(
        argv=("/bin/sh", "-c", f"echo 1 > {bench.root}/f; mv {bench.root}/f {bench.root}/g; echo ACK 1"),
        root=bench.root,
        cwd=bench.cwd,
        environment=bench.environment(),
    )
    answer, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)  # changing the user cleared it, as a login's exec would not
        text = "failed"
        try:
            run = engine("ptrace").run(spec)
            text = f"{run.differences} {run.acks} {sorted(run.final.names)}"
        except BaseException as error:
            text = repr(error)
        finally:
            os.write(tell, text.encode())
            os._exit(0)
    os.close(tell)
    os.waitpid(pid, 0)
    assert os.read(answer, 4096).decode() == "() ('1',) ['g']"
    os.close(answer)


def test_another_child_of_the_caller_does_not_keep_the_run_alive(traced: Run) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        recording = traced(
            real_python(), "-ISE", "-c", "import sys; open(sys.argv[1] + '/a', 'w').close()", "{dir}"
        )
    finally:
        other.kill()
        other.wait()
    assert recording.ending == "exited"
