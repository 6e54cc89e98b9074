"""The shim engine on real programs: signals, several processes, bounds, and what it leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from harness.core.fault import CrashPoint, Errno, FaultPlan, Kill, Short, Signal
from harness.core.operation import Ack, Write
from harness.core.run import Limits, Recording
from harness.sandbox.environment import real_node, real_python
from harness.sandbox.workspace import Workspace

Run = Callable[..., Recording]
pytestmark = pytest.mark.real

PYTHON = real_python()


def python(code: str) -> tuple[str, ...]:
    return PYTHON, "-S", "-c", "import os, sys; os.chdir(sys.argv[1])\n" + code, "{dir}"


SIGNALLED = """
import signal
def handler(number, frame):
    with open("handled", "w") as stream:
        stream.write("inside the handler")
    sys.exit(3)
signal.signal(signal.SIGTERM, handler)
assert signal.getsignal(signal.SIGTERM) is handler
for number in range(5):
    with open(f"f{number}", "w") as stream:
        stream.write("x")
    print("ACK", number, flush=True)
"""


def test_a_signal_is_handled_before_the_next_operation(shimmed: Run) -> None:
    at = CrashPoint(operation="write", role="f<n>", occurrence=2, phase="after")
    run = shimmed(*python(SIGNALLED), plan=FaultPlan(faults=(Signal(at=at),)))
    assert run.exit_code == 3 and run.differences == (), run.stderr_tail.decode()
    assert sorted(run.final.names) == ["f0", "f1", "handled"] and run.acks == ("0",)
    assert run.trace is not None
    struck = run.delivered[0].seq
    assert run.trace.operations[struck + 1].kind == "open", "the handler comes first"


def test_an_interrupt_after_an_acknowledgement(shimmed: Run) -> None:
    at = CrashPoint(operation="ack", role="", occurrence=2, phase="after")
    run = shimmed(*python(SIGNALLED), plan=FaultPlan(faults=(Signal(at=at, signal="SIGINT"),)))
    assert run.acks == ("0", "1") and b"KeyboardInterrupt" in run.stderr_tail
    assert run.exit_code in (1, None) and sorted(run.final.names) == ["f0", "f1"]


FORKS = """
import time
pid = os.fork()
if pid == 0:
    open("child", "w").write("c")
    open("child", "a").write("more")
    os._exit(0)
os.waitpid(pid, 0)
open("parent", "w").write("p")
"""


def test_the_survivors_of_a_killed_child_run_on(shimmed: Run) -> None:
    at = CrashPoint(operation="write", role="child", occurrence=1, actor="p1")
    all_die = shimmed(*python(FORKS), plan=FaultPlan(faults=(Kill(at=at),)))
    assert all_die.signal == 9 and sorted(all_die.final.names) == ["child"]
    assert all_die.delivered[0].pid != all_die.pid and all_die.delivered[0].signal == 9
    kill = Kill(at=at, victim="process", grace_ms=5000)
    run = shimmed(*python(FORKS), plan=FaultPlan(faults=(kill,)))
    assert run.signal is None and run.exit_code == 0 and run.differences == ()
    assert sorted(run.final.names) == ["child", "parent"]


FULL = """
for number in range(4):
    for attempt in (lambda: open(f"f{number}", "x").close(), lambda: os.mkdir(f"d{number}"),
                    lambda: os.symlink("x", f"l{number}"), lambda: os.rename("f0", "f0")):
        try: attempt()
        except OSError as error: print(number, error.errno)
"""


def test_a_full_disk_stays_full(shimmed: Run) -> None:
    at = CrashPoint(operation="mkdir", role="d<n>", occurrence=2)
    run = shimmed(*python(FULL), plan=FaultPlan(faults=(Errno(at=at, errno=28, persistent=True),)))
    assert run.stdout_tail.split() == b"1 28 1 28 2 28 2 28 2 28 3 28 3 28 3 28".split()
    assert sorted(run.final.names) == ["d0", "f0", "f1", "l0"]
    assert run.differences == () and len(run.delivered) == 1


def test_after_a_short_write_the_disk_is_full(shimmed: Run) -> None:
    code = "fd = os.open('f', os.O_CREAT | os.O_WRONLY)\nprint(os.write(fd, b'x' * 100))\nos.write(fd, b'y')\n"
    at = CrashPoint(operation="write", role="f", occurrence=1, phase="torn", bytes=40)
    run = shimmed(*python(code), plan=FaultPlan(faults=(Short(at=at, then_errno=28),)))
    assert run.stdout_tail == b"40\n" and b"No space left" in run.stderr_tail and run.exit_code == 1
    assert run.trace is not None and run.differences == ()
    writes = [op for op in run.trace.operations if isinstance(op, Write)]
    assert [(len(op.data), op.error) for op in writes] == [(40, 0), (0, 28)]


def test_threads_are_one_order_that_gives_the_tree(shimmed: Run) -> None:
    code = """
import threading
def work(number):
    for step in range(8):
        with open(f"t{number % 2}", "a") as stream: stream.write(str(number) * 30)
        with open(f"own{number}.tmp", "w") as stream: stream.write(str(step))
        os.replace(f"own{number}.tmp", f"own{number}")
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    run = shimmed(*python(code))
    assert run.exit_code == 0 and run.differences == (), run.stderr_tail.decode()
    assert run.trace is not None and len(run.trace.actors) == 4


def test_a_lock_that_waits_keeps_nobody_out(shimmed: Run) -> None:
    code = """
import fcntl
fd = os.open("lock", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
fcntl.flock(fd, fcntl.LOCK_EX)
if os.fork() == 0:
    other = os.open("lock", os.O_WRONLY | os.O_APPEND)
    fcntl.flock(other, fcntl.LOCK_EX)
    os.write(other, b"second")
    os._exit(0)
for _ in range(5): os.write(fd, b"first")
fcntl.flock(fd, fcntl.LOCK_UN)
os.wait()
"""
    run = shimmed(*python(code))
    assert run.exit_code == 0 and run.differences == ()
    assert run.trace is not None
    assert b"".join(op.data for op in run.trace.operations if isinstance(op, Write)) == b"first" * 5 + b"second"


def test_more_output_than_a_pipe_holds_blocks_nobody(shimmed: Run) -> None:
    run = shimmed(
        *python("sys.stdout.write('x' * 300_000 + '\\nACK 1\\n')\nsys.stdout.flush()\nopen('f', 'w').close()")
    )
    assert run.exit_code == 0 and run.acks == ("1",) and run.stdout_bytes == 300_007


@pytest.mark.parametrize(
    ("code", "limits", "ending", "said"),
    [
        ("while True: pass", Limits(timeout_s=1.0), "timeout", "within 1 s"),
        ("while True: open('f', 'w').close()", Limits(operations=50), "limit", "50 file operations"),
        ("while True: open('f', 'ab').write(b'x' * 9999)", Limits(state_bytes=100_000), "limit", "100000 bytes"),
        ("while True: print('x' * 1000)", Limits(output_bytes=10_000), "limit", "10000 bytes"),
    ],
)
def test_bounds_end_a_run(shimmed: Run, code: str, limits: Limits, ending: str, said: str) -> None:
    run = shimmed(*python(code), limits=limits)
    assert run.ending == ending and said in run.ending_detail


def test_nothing_is_left_behind(shimmed: Run, bench: Workspace) -> None:
    code = "if os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(60)\nopen('f', 'w').close()"
    at = CrashPoint(operation="open", role="f", occurrence=1, phase="after")
    run = shimmed(*python(code), plan=FaultPlan(faults=(Kill(at=at),)))
    assert run.signal == 9 and sorted(run.final.names) == ["f"]
    assert not [name for name in os.listdir(bench.base) if name.startswith("shim-")]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_acknowledgements_of_a_program_without_the_shim_have_no_place(shimmed: Run) -> None:
    run = shimmed(*python("import subprocess\nopen('f', 'w').close()\nsubprocess.run(['/bin/echo', 'ACK 1'])"))
    assert run.trace is not None and not any(isinstance(op, Ack) for op in run.trace.operations)
    assert run.trace.unseen == ("the place of 1 acknowledgements, said by a process that the shim is not in",)


def test_an_errno_has_the_shape_that_node_programs_expect(shimmed: Run) -> None:
    node = real_node()
    if node is None:
        pytest.skip("no node")
    code = """
const fs = require('fs');
process.chdir(process.argv[1]);
try { fs.writeFileSync('f', 'x'); } catch (error) { console.log(error.code, error.errno, error.syscall); }
fs.promises.writeFile('g', 'x').then(() => console.log('written'));
"""
    at = CrashPoint(operation="open", role="f", occurrence=1)
    run = shimmed(node, "-e", code, "{dir}", plan=FaultPlan(faults=(Errno(at=at, errno=28),)))
    assert run.stdout_tail == b"ENOSPC -28 openat\nwritten\n", run.stderr_tail.decode()
    assert sorted(run.final.names) == ["g"] and run.differences == ()


@pytest.mark.parametrize(
    "start",
    [
        "os.system(command)",
        "subprocess.run(['sh', '-c', command])",
        "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', command], os.environ), 0)",
        "os.waitpid(os.fork() or os.execv('/bin/sh', ['sh', '-c', command]), 0)",
        "ctypes.CDLL(None).truncate(path.encode(), 0)",
        # While another thread is in the middle of an operation.
        "import tornwrite_shim.channel as c; c.LINK.busy = True; ctypes.CDLL(None).truncate(path.encode(), 0)",
    ],
)
def test_what_somebody_else_wrote_over_in_between_is_not_passed_over(shimmed: Run, start: str) -> None:
    """The tree in the end is that of the operations that were seen: it proves nothing."""
    code = f"""
import ctypes, os, subprocess
path = "s.json"
command = "echo torn > " + path
open(path, "w").write("one")
{start}
os.replace(open(path + ".tmp", "w").name, path)
"""
    recording = shimmed(*python(code))
    assert recording.ending == "limit"
    assert "what the shim cannot see" in recording.ending_detail
