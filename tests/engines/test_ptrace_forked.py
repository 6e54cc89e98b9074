"""Traced runs forked from a preloaded Python have what a cold start has, end as it does, and die as exactly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.apply import apply
from harness.core.fault import NO_FAULTS, FaultPlan, Kill
from harness.core.point import at_phase, crash_points
from harness.core.run import Limits, Recording, RunSpec
from harness.core.schedule import Search
from harness.engines import engine
from harness.engines.ptrace.forking import ForkingPtraceEngine
from harness.sandbox.environment import real_node, real_python
from harness.sandbox.workspace import Workspace
from tests.survivors import marked, new_mark, survivors

pytestmark = pytest.mark.real
WRITERS = os.path.join(os.path.dirname(__file__), "writers")
ANY = FaultPlan(schedule=Search(policy="random", seed=3))


@pytest.fixture
def forked() -> Iterator[ForkingPtraceEngine]:
    made = ForkingPtraceEngine()
    if reason := made.available():
        pytest.skip(reason)
    yield made
    made.close()


def spec_of(bench: Workspace, *argv: str, flags: str = "-BEsS", **environment: str) -> RunSpec:
    return RunSpec(
        argv=(real_python(), flags, *argv, bench.root),
        root=bench.root,
        cwd=bench.cwd,
        environment=bench.environment(environment),
        limits=Limits(timeout_s=20),
    )


def shown(recording: Recording) -> list[tuple[object, ...]]:
    assert recording.trace is not None
    labels = [actor.label for actor in recording.trace.actors]
    return [
        (op.kind, labels[op.actor], getattr(op, "path", None), getattr(op, "data", None), op.error)
        for op in recording.trace.operations
    ]


def both(
    bench: Workspace, forked: ForkingPtraceEngine, spec: RunSpec, plan: FaultPlan
) -> tuple[Recording, Recording]:
    forked.run(spec, plan)  # the first fork is like any other, or the comparison below fails
    warm, cold = forked.run(spec, plan), engine("ptrace").run(spec, plan)
    assert (warm.engine, cold.engine, warm.why_cold) == ("ptrace-forked", "ptrace", "")
    return warm, cold


@pytest.mark.parametrize("plan", [NO_FAULTS, ANY], ids=["plain", "scheduled"])
def test_a_forked_run_records_and_decides_what_a_cold_one_does(
    bench: Workspace, forked: ForkingPtraceEngine, plan: FaultPlan
) -> None:
    for words in (("append.py",), ("replace.py",), ("races.py", "2")):
        name, *rest = words
        spec = spec_of(bench, os.path.join(WRITERS, name), *rest)
        warm, cold = both(bench, forked, spec, plan)
        assert warm.differences == () == cold.differences
        assert (warm.exit_code, warm.stdout_tail, warm.acks) == (0, cold.stdout_tail, cold.acks)
        if plan is ANY or name != "races.py":  # where chance decides, two runs differ
            assert shown(warm) == shown(cold)
            assert warm.final == cold.final
            assert warm.scheduled == cold.scheduled


def test_a_found_order_is_made_again_by_a_cold_start(bench: Workspace, forked: ForkingPtraceEngine) -> None:
    spec = spec_of(bench, os.path.join(WRITERS, "races.py"), "3")
    found = forked.run(spec, ANY)
    assert found.scheduled is not None and not found.scheduled.problem
    again = engine("ptrace").run(spec, FaultPlan(schedule=found.scheduled.schedule))
    assert again.scheduled is not None and not again.scheduled.problem
    assert (shown(again), again.final) == (shown(found), found.final)


def test_forked_kills_are_exact(bench: Workspace, forked: ForkingPtraceEngine, evidence: bool) -> None:
    spec = spec_of(bench, os.path.join(WRITERS, "replace.py"))
    null = forked.run(spec)
    assert null.trace is not None
    trees, tree = [], null.trace.start
    for op in null.trace.operations:
        trees.append(tree)
        tree = apply(tree, op)
    points = list(crash_points(null.trace, iter(trees)))
    wanted = [
        (at_phase(point, phase), before if phase == "before" else apply(before, op))
        for op, before, point in zip(null.trace.operations, trees, points, strict=True)
        if point is not None
        for phase in ("before", "after")
    ]
    for point, expected in wanted if evidence else wanted[::5]:
        died = forked.run(spec, FaultPlan(faults=(Kill(at=point),)))
        assert died.engine == "ptrace-forked" and died.signal == 9 and died.delivered[0].signal == 9, str(point)
        assert died.delivered[0].pid == died.pid
        assert died.differences == () and died.final == expected, str(point)


ASKS = """
import os, sys, json, resource, signal
mask = os.umask(0)
print(os.getcwd(), sorted(os.environ.items()), sys.argv, sys.orig_argv, sys.flags, sys.path, __name__)
print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), mask, sorted(os.listdir()), os.listdir(sys.argv[1]))
print([str(signal.getsignal(each)) for each in sorted(signal.valid_signals())], signal.pthread_sigmask(0, ()))
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NPROC), os.getpriority(0, 0))
print(sorted(int(each) for each in os.listdir("/proc/self/fd")), os.isatty(0), os.isatty(1), sys.stdin.read())
print([(each.line_buffering, each.write_through, each.encoding) for each in (sys.stdin, sys.stdout, sys.stderr)])
status = open("/proc/self/status").read().splitlines()
print([line for line in status if line.split(":")[0] in ("Seccomp", "NoNewPrivs", "Threads", "SigIgn", "SigCgt")])
open("litter", "w").close()
open(os.path.join(os.environ["HOME"], "litter"), "w").close()
open(os.path.join(sys.argv[1], "f"), "w").close()
"""


@pytest.fixture
def nothing_inherited() -> Iterator[None]:
    """Whoever runs the tests may have left descriptors open that a cold start would inherit."""
    passed = [int(each) for each in os.listdir("/proc/self/fd") if int(each) > 2]
    passed = [each for each in passed if os.path.exists(f"/proc/self/fd/{each}") and os.get_inheritable(each)]
    for each in passed:
        os.set_inheritable(each, False)
    yield
    for each in passed:
        os.set_inheritable(each, True)


@pytest.mark.usefixtures("nothing_inherited")
@pytest.mark.parametrize("flags", ["-B", "-BEsS"])
def test_its_surroundings_are_those_of_a_cold_start_every_time(
    bench: Workspace, forked: ForkingPtraceEngine, tmp_path: Path, flags: str
) -> None:
    program = tmp_path / "asks.py"
    program.write_text(ASKS)
    spec = spec_of(bench, str(program), flags=flags, MINE="1")
    warm, cold = both(bench, forked, spec, NO_FAULTS)
    assert warm.stdout_tail.decode().splitlines() == cold.stdout_tail.decode().splitlines()
    assert cold.exit_code == 0, cold.stderr_tail


LEAVES = """
import atexit, os, sys, threading, time
import beside
root = sys.argv[1]
def put(name, text=""):
    with open(os.path.join(root, name), "w") as stream:
        stream.write(text)
class Late:
    def __init__(self, name): self.make, self.path = os.mkdir, os.path.join(root, name)
    def __del__(self): self.make(self.path)
atexit.register(put, "at_exit", "x")
not_closed = open(os.path.join(root, "not_closed"), "w")
not_closed.write("kept")
beside.kept = open(os.path.join(root, "elsewhere"), "w")
beside.kept.write("kept too")
late = Late("deleted")
cycle = [Late("of a cycle")]
cycle.append(cycle)
def last():
    time.sleep(0.05)
    put("thread")
def held():
    inside = open(os.path.join(root, "held"), "w")
    inside.write("held")
    ENDS
threading.Thread(target=last).start()
print("said", end="")
held()
"""


@pytest.mark.parametrize(
    "ends", ["pass", "sys.exit(3)", "sys.exit()", "raise SystemExit('text')", "1 / 0", "raise KeyboardInterrupt"]
)
def test_it_ends_as_a_cold_start_does(
    bench: Workspace, forked: ForkingPtraceEngine, tmp_path: Path, ends: str
) -> None:
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "leaves.py").write_text(LEAVES.replace("ENDS", ends))
    warm, cold = both(bench, forked, spec_of(bench, str(tmp_path / "leaves.py")), NO_FAULTS)
    assert (warm.exit_code, warm.signal, warm.ending) == (cold.exit_code, cold.signal, cold.ending)
    assert warm.final.key == cold.final.key
    assert set(warm.final.names) >= {"at_exit", "not_closed", "deleted", "of a cycle", "thread"}
    assert sorted(map(str, shown(warm))) == sorted(map(str, shown(cold)))
    assert (warm.stdout_tail, warm.stderr_tail) == (cold.stdout_tail, cold.stderr_tail)


UNFORKABLE = {
    "importing its modules starts a thread": "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "what it loads changes files": "open(os.path.join(os.environ['HOME'], 'cache'), 'w').close()",
    "what it loads prints something": "print('hello', end='')",
    "what it loads keeps a file open": "kept = open(__file__)",
}


@pytest.mark.parametrize("why", UNFORKABLE)
def test_what_cannot_be_forked_is_started_cold_and_says_why(
    bench: Workspace, forked: ForkingPtraceEngine, tmp_path: Path, why: str
) -> None:
    package = tmp_path / "site-packages"
    package.mkdir()
    (package / "installed.py").write_text(f"import os, threading, time\n{UNFORKABLE[why]}\n")
    (tmp_path / "program.py").write_text("import installed, sys, os\nos.mkdir(sys.argv[1] + '/made')\n")
    spec = spec_of(bench, str(tmp_path / "program.py"), flags="-B", PYTHONPATH=str(package))
    for _ in range(2):
        run = forked.run(spec)
        assert (run.engine, run.why_cold, run.exit_code) == ("ptrace", why, 0)
    assert forked.server_pid == 0


def test_other_programs_are_started_cold(bench: Workspace, forked: ForkingPtraceEngine) -> None:
    node = real_node()
    commands = [(real_python(), "-m", "json.tool", "--help"), *([(node, "-e", "0")] if node else [])]
    for argv in commands:
        run = forked.run(RunSpec(argv=argv, root=bench.root, cwd=bench.cwd, environment=bench.environment()))
        assert (run.engine, run.exit_code) == ("ptrace", 0)
        assert run.why_cold == "it is not the file of a Python program"


LINGERS = """
import os, sys, time
open(sys.argv[1] + "/f", "w").close()
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
"""


def test_what_a_run_leaves_dies_and_the_server_lives_on(bench: Workspace, forked: ForkingPtraceEngine) -> None:
    spec = spec_of(bench, "-c", LINGERS)
    for plan in (NO_FAULTS, ANY):
        run = forked.run(spec, plan)
        assert run.exit_code == 0 and "outlived" in run.ending_detail
    server = forked.server_pid
    assert server
    assert not Path(f"/proc/{server}/task/{server}/children").read_text().split()


def test_a_run_that_does_not_end_is_ended(bench: Workspace, forked: ForkingPtraceEngine) -> None:
    mark = new_mark()
    spec = spec_of(bench, "-c", "import time; time.sleep(60)", MARK=mark)
    run = forked.run(
        RunSpec(
            argv=spec.argv,
            root=spec.root,
            cwd=spec.cwd,
            environment=spec.environment,
            limits=Limits(timeout_s=0.5),
        )
    )
    assert (run.ending, run.engine) == ("timeout", "ptrace-forked")
    assert marked(mark) == {forked.server_pid}


def test_a_server_that_was_swept_away_is_started_again(bench: Workspace, forked: ForkingPtraceEngine) -> None:
    spec = spec_of(bench, os.path.join(WRITERS, "append.py"))
    forked.run(spec)
    first = forked.server_pid
    os.kill(first, 9)
    os.waitpid(first, 0)
    assert forked.run(spec).engine == "ptrace-forked" and forked.server_pid != first


def test_a_changed_module_of_the_program_is_read_again(
    bench: Workspace, forked: ForkingPtraceEngine, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(
        "import beside, os, sys\nos.mkdir(os.path.join(sys.argv[1], beside.NAME))\n"
    )
    for name in ("one", "another"):
        (tmp_path / "beside.py").write_text(f"NAME = {name!r}\n")
        run = forked.run(spec_of(bench, str(tmp_path / "program.py")))
        assert (run.engine, set(run.final.names)) == ("ptrace-forked", {name})


RUNS = """
import sys
from tests.engines.test_ptrace_forked import ForkingPtraceEngine, Workspace, spec_of
spec = spec_of(Workspace(sys.argv[1]), "-c", "import os, time; os.write(1, b'up'); time.sleep(60)", MARK=sys.argv[2])
ForkingPtraceEngine().run(spec)
"""


def test_a_tracer_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    mark = new_mark()
    top = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", RUNS, str(tmp_path / "base"), mark], cwd=top)
    end = time.monotonic() + 20
    while len(marked(mark)) < 3 and time.monotonic() < end:  # the caller, the server, the target
        time.sleep(0.05)
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    assert survivors(mark, 5.0) == set()


def test_who_brings_a_module_of_its_own_is_started_cold(bench: Workspace, forked: ForkingPtraceEngine) -> None:
    """A copy that the program puts before the interpreter's: what is preloaded would be the other one."""
    copies = os.path.join(os.path.dirname(bench.base), "copies")
    os.mkdir(copies)
    Path(copies, "shelve.py").write_text("WHOSE = 'its own'")
    program = os.path.join(copies, "..", "brings.py")
    Path(program).write_text(
        f"import os, sys\nsys.path.insert(0, {copies!r})\nimport shelve\nprint(getattr(shelve, 'WHOSE', 'shared'))\n"
    )
    for plan in (NO_FAULTS, ANY):
        ran = forked.run(spec_of(bench, program), plan)
        assert (ran.engine, ran.why_cold) == ("ptrace", "it changes where its modules come from")
        assert ran.stdout_tail == b"its own\n"


@pytest.mark.parametrize(
    "code",
    [
        "print(__builtins__.__name__, __cached__, sorted(each for each in dir() if each < '__d'))",
        "import multiprocessing\nif __name__ == '__main__':\n    multiprocessing.set_start_method('spawn')\n"
        "    kid = multiprocessing.Process(target=print, args=('kid',))\n    kid.start()\n    kid.join()",
    ],
    ids=["names", "finalizers"],
)
def test_a_fork_says_and_leaves_what_a_cold_start_does(
    bench: Workspace, forked: ForkingPtraceEngine, code: str
) -> None:
    program = os.path.join(os.path.dirname(bench.base), "says.py")
    Path(program).write_text("from __future__ import annotations\n" + code)
    warm, cold = both(bench, forked, spec_of(bench, program), NO_FAULTS)
    assert (warm.exit_code, warm.stderr_tail) == (0, b"") == (cold.exit_code, cold.stderr_tail)
    assert warm.stdout_tail.replace(b"'__annotations__', ", b"") == cold.stdout_tail.replace(
        b"'__annotations__', ", b""
    )


def test_whoever_slept_when_others_were_decided_between_is_noted(
    bench: Workspace, forked: ForkingPtraceEngine
) -> None:
    """What it could have met is not met: it wakes when they are through."""
    program = os.path.join(os.path.dirname(bench.base), "late.py")
    writes = "open(os.path.join(sys.argv[1], name), 'w').close()"
    for waits in ("time.sleep(0.3)", "threading.Event().wait(0.3)", "pass"):
        Path(program).write_text(
            "import os, sys, threading, time\n"
            f"def late(name):\n    {waits}\n    {writes}\n"
            "thread = threading.Thread(target=late, args=('a',))\n"
            f"thread.start()\nfor name in 'bc':\n    {writes}\nthread.join()\n"
        )
        scheduled = forked.run(spec_of(bench, program), ANY).scheduled
        assert scheduled is not None and not scheduled.problem
        assert scheduled.slept is (waits != "pass")
