"""Trials forked from a preloaded Python have what a cold start has, and die as exactly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.apply import apply
from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.operation import Write
from harness.core.point import at_phase, crash_points
from harness.core.run import Recording, RunSpec
from harness.engines import engine
from harness.engines.shim.forking import ForkedEngine
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace

pytestmark = pytest.mark.real
WRITERS = os.path.join(os.path.dirname(__file__), "writers")


@pytest.fixture
def forked() -> Iterator[ForkedEngine]:
    made = ForkedEngine()
    reason = made.available()
    if reason:
        pytest.skip(reason)
    yield made
    made.close()


def spec_of(bench: Workspace, *argv: str, **environment: str) -> RunSpec:
    return RunSpec(
        argv=(real_python(), "-BEsS", *argv, bench.root),
        root=bench.root,
        cwd=bench.cwd,
        environment=bench.environment(environment),
    )


def shown(recording: Recording) -> list[tuple[object, ...]]:
    assert recording.trace is not None
    return [(op.kind, getattr(op, "path", None), getattr(op, "data", None)) for op in recording.trace.operations]


def test_a_forked_trial_records_what_a_cold_one_does(bench: Workspace, forked: ForkedEngine) -> None:
    for name in ("append.py", "replace.py"):
        spec = spec_of(bench, os.path.join(WRITERS, name))
        warm, cold = forked.run(spec), engine("shim").run(spec)
        assert (warm.engine, cold.engine) == ("forked", "shim")
        assert shown(warm) == shown(cold) and warm.acks == cold.acks and warm.final == cold.final
        assert warm.differences == () and warm.exit_code == 0 and warm.stdout_tail == cold.stdout_tail


def test_forked_kills_are_exact(bench: Workspace, forked: ForkedEngine, evidence: bool) -> None:
    spec = spec_of(bench, os.path.join(WRITERS, "replace.py"))
    null = forked.run(spec)
    assert null.trace is not None
    trees, tree = [], null.trace.start
    for op in null.trace.operations:
        trees.append(tree)
        tree = apply(tree, op)
    wanted = []
    for op, before, point in zip(null.trace.operations, trees, crash_points(null.trace, iter(trees)), strict=True):
        if point is None:
            continue
        wanted += [(point, before), (at_phase(point, "after"), apply(before, op))]
        if isinstance(op, Write):
            torn = Write(seq=op.seq, ino=op.ino, offset=op.offset, data=op.data[:4096])
            wanted.append((at_phase(point, "torn", 4096), apply(before, torn)))
    for point, expected in wanted if evidence else wanted[::3]:
        died = forked.run(spec, FaultPlan(faults=(Kill(at=point),)))
        assert died.engine == "forked" and died.signal == 9 and died.delivered[0].signal == 9, str(point)
        assert died.differences == () and died.final == expected, str(point)


ASKS = """
import os, sys, json
print(os.getcwd(), os.environ["HOME"], os.environ.get("MINE"), os.getsid(0) == os.getpid(), sorted(os.listdir()))
print(__name__, sys.argv[1:] == [os.environ["STATE"]], os.listdir(sys.argv[1]), sys.flags.isolated)
open("litter", "w").close()
open(os.path.join(sys.argv[1], "f"), "w").close()
"""


def test_every_trial_starts_fresh(bench: Workspace, forked: ForkedEngine) -> None:
    spec = spec_of(bench, "-c", ASKS, MINE="1", STATE=bench.root)
    first, second = forked.run(spec), forked.run(spec)
    expected = f"{bench.cwd} {bench.home} 1 True []\n__main__ True [] 0\n".encode()
    assert first.stdout_tail == second.stdout_tail == expected, first.stderr_tail.decode()
    assert first.pid != second.pid and second.engine == "forked"


LINGERS = """
import os, sys, time
open(sys.argv[1] + "/f", "w").close()
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
"""


def test_what_a_trial_leaves_dies_and_the_server_lives_on(bench: Workspace, forked: ForkedEngine) -> None:
    spec = spec_of(bench, "-c", LINGERS)
    at = CrashPoint(operation="open", role="f", occurrence=1, phase="after")
    forked.run(spec, FaultPlan(faults=(Kill(at=at),)))
    server = forked.server_pid
    run = forked.run(spec)
    assert run.exit_code == 0 and "outlived" in run.ending_detail
    assert forked.server_pid == server and server
    children = Path(f"/proc/{server}/task/{server}/children")
    assert not children.exists() or not children.read_text().split()


def test_where_there_is_no_pidfd_the_server_is_asked(
    bench: Workspace, forked: ForkedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.sandbox.child._pidfd", lambda pid: -1)
    run = forked.run(spec_of(bench, os.path.join(WRITERS, "append.py")))
    assert run.engine == "forked" and run.exit_code == 0 and len(run.acks) == 12


def test_a_server_that_was_swept_away_is_started_again(bench: Workspace, forked: ForkedEngine) -> None:
    spec = spec_of(bench, os.path.join(WRITERS, "append.py"))
    forked.run(spec)
    first = forked.server_pid
    os.kill(first, 9)
    os.waitpid(first, 0)
    assert forked.run(spec).engine == "forked" and forked.server_pid != first


def test_a_changed_program_is_read_again(bench: Workspace, forked: ForkedEngine, tmp_path: Path) -> None:
    program = tmp_path / "save.py"
    for text in ("one", "two"):
        program.write_text(f"import sys\nopen(sys.argv[1] + '/f', 'w').write({text!r})\n")
        os.utime(program, ns=(1, len(text) + (text == "two")))
        run = forked.run(spec_of(bench, str(program)))
        assert run.trace is not None
        assert [op.data for op in run.trace.operations if isinstance(op, Write)] == [text.encode()]


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "raise SystemExit('said')", "1 /"])
def test_how_a_program_ends_is_how_it_would_have_ended(bench: Workspace, forked: ForkedEngine, code: str) -> None:
    spec = spec_of(bench, "-c", code)
    warm, cold = forked.run(spec), engine("shim").run(spec)
    assert (warm.exit_code, warm.signal) == (cold.exit_code, cold.signal)
    assert warm.engine == ("shim" if code == "1 /" else "forked")


LOADS_MORE = """
import os, sys
def before_forks(words):
    sys.path.insert(0, os.path.dirname(__file__))
    import beside
    {early}
if __name__ == "__main__":
    import atexit, threading, time
    import beside
    root = sys.argv[1]
    atexit.register(lambda: open(root + "/at_exit", "w").write(beside.LOADED))
    beside.kept = open(root + "/kept", "w")
    beside.kept.write("not flushed")
    def late():
        time.sleep(0.05)
        open(root + "/late", "w").close()
    threading.Thread(target=late).start()
    sys.exit(3)
"""
MADE_AND_REMOVED = (
    "fd, name = __import__('tempfile').mkstemp(); os.close(fd); os.unlink(name); open(os.devnull, 'w')"
)


@pytest.mark.parametrize(("early", "engine_name"), [(MADE_AND_REMOVED, "forked"), ("open('left', 'w')", "shim")])
def test_a_program_may_load_more_before_it_is_forked(
    bench: Workspace, forked: ForkedEngine, tmp_path: Path, early: str, engine_name: str
) -> None:
    (tmp_path / "beside.py").write_text("import os\nLOADED = str(os.getpid())\n")
    (tmp_path / "program.py").write_text(LOADS_MORE.format(early=early))
    spec = spec_of(bench, str(tmp_path / "program.py"))
    runs = forked.run(spec), forked.run(spec)
    for run in runs:
        assert (run.engine, run.exit_code, run.stderr_tail, run.differences) == (engine_name, 3, b"", ())
        assert {path: file.content.to_bytes() for path, file in run.final.files()}["kept"] == b"not flushed"
        assert {"at_exit", "late"} < {path for path, _ in run.final.files()}
    loaded = {dict(run.final.files())["at_exit"].content.to_bytes() for run in runs}
    assert len(loaded) == (1 if engine_name == "forked" else 2)


def test_other_programs_are_run_cold(bench: Workspace, forked: ForkedEngine) -> None:
    spec = spec_of(bench, "-m", "json.tool", "--help")
    assert forked.run(spec).engine == "shim" and forked.server_pid == 0
