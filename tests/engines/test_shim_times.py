"""The stopwatch: when the operations of Python and Node programs come, told by themselves, in a run nobody holds up."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from harness.core.run import Recording, RunSpec
from harness.core.timing import TimedCalls
from harness.engines import engine
from harness.engines.shim import clock, launch
from harness.engines.shim.clock import notes_of, read_calls, timed_calls
from harness.explore.exposure import missing, steps_of
from harness.sandbox.workspace import Workspace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings to compare with need Linux")

PYTHON = """
import os, sys, time
root = sys.argv[1]
print("ARMED", flush=True)
for number in range(3):
    with open(os.path.join(root, "a.json"), "wb", buffering=0) as stream:
        time.sleep(0.03)
        stream.write(b"x" * 5000)
        os.fsync(stream.fileno())
    print("ACK", number, flush=True)
os.mkdir(os.path.join(root, "d"))
if not os.fork():
    fd = os.open(os.path.join(root, "d", "b.tmp"), os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, b"y")
    os.ftruncate(fd, 0)
    os.rename(os.path.join(root, "d", "b.tmp"), os.path.join(root, "d", "b"))
    os._exit(0)
os.wait()
os.unlink(os.path.join(root, "a.json"))
"""
NODE = """
import * as fs from "node:fs";
import { writeFile } from "node:fs/promises";
const root = process.argv[2];
fs.writeSync(1, "ARMED\\n");
fs.mkdirSync(root + "/d/e", { recursive: true });
fs.writeFileSync(root + "/d/e/first", "text");
for (let number = 0; number < 3; number++) {
  const descriptor = fs.openSync(root + "/a.json", "w");
  await new Promise((resolve) => setTimeout(resolve, 30));
  fs.writeSync(descriptor, "x".repeat(5000));
  fs.closeSync(descriptor);
  process.stdout.write(`ACK ${number}\\n`);
  await writeFile(root + "/later", "z".repeat(100));
}
await new Promise((resolve) => fs.rename(root + "/later", root + "/last", resolve));
fs.unlinkSync(root + "/a.json");
"""


def spec_of(place: Workspace, *argv: str) -> RunSpec:
    return RunSpec(
        argv=(*argv, place.root), root=place.root, cwd=place.cwd, environment=place.environment(), arm="^ARMED$"
    )


def program(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / name).write_text(textwrap.dedent(text))
    return str(tmp_path / name)


def gaps(run: TimedCalls, role: str) -> list[float]:
    """Return how long each open of a role stands before its write, in milliseconds."""
    mine = [call for call in run.calls if call.role == role and call.operation in ("open", "write")]
    return [(write.begin_us - opened.begin_us) / 1000 for opened, write in zip(mine[::2], mine[1::2], strict=True)]


def check_against_a_recording(spec: RunSpec, base: str) -> TimedCalls:
    recording = engine("ptrace").run(spec)
    assert recording.trace is not None
    assert not recording.differences
    run = timed_calls(spec)
    assert run.problem == ""
    assert missing(steps_of(recording.trace, ())[1], run) == ""
    begins = [call.begin_us for call in run.calls]
    assert begins == sorted(begins)
    assert begins[0] > -20_000  # the clock begins with the arm line, which the engine may read late
    assert run.said_us is not None
    assert begins[-1] < run.end_us
    assert sum(1 for call in run.calls if call.operation == "ack") == 3
    assert "times.log" not in os.listdir(base)
    return run


@pytest.mark.real
@pytest.mark.parametrize("flags", [(), ("-BEsS",)])
def test_a_python_program_tells_its_times(tmp_path: Path, flags: tuple[str, ...]) -> None:
    place = Workspace(str(tmp_path / "base"))
    spec = spec_of(place, sys.executable, *flags, program(tmp_path, "w.py", PYTHON))
    run = check_against_a_recording(spec, str(tmp_path / "base"))
    assert all(30 <= gap < 200 for gap in gaps(run, "a.json"))
    child = [call.operation for call in run.calls if call.actor == "p1"]
    assert child == ["open", "write", "truncate", "rename"]


@pytest.mark.real
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_a_node_program_tells_its_times(tmp_path: Path) -> None:
    place = Workspace(str(tmp_path / "base"))
    node = shutil.which("node")
    assert node is not None
    run = check_against_a_recording(spec_of(place, node, program(tmp_path, "w.mjs", NODE)), str(tmp_path / "base"))
    assert all(29 <= gap < 200 for gap in gaps(run, "a.json"))
    assert all(0 <= gap < 30 for gap in gaps(run, "later"))  # of the thread pool


@pytest.mark.real
def test_another_program_tells_nothing_and_it_is_said(tmp_path: Path) -> None:
    place = Workspace(str(tmp_path / "base"))
    spec = spec_of(place, "/bin/sh", "-c", 'echo ARMED; echo x > "$0/a"')
    assert timed_calls(spec).problem == "Python and Node programs tell their times, sh does not"
    failing = spec_of(
        place, sys.executable, "-c", "print('ARMED', flush=True); import os; os.kill(os.getpid(), 9)"
    )
    assert timed_calls(failing).problem == "a plain run did not come to its end"


@pytest.mark.real
@pytest.mark.parametrize("name", ["python", "node"])
def test_a_program_that_may_not_note_its_times_runs_on(tmp_path: Path, name: str) -> None:
    interpreter = sys.executable if name == "python" else shutil.which(name)
    if interpreter is None:
        pytest.skip("needs Node")
    place = Workspace(str(tmp_path / "base"))
    suffix, text = (".py", PYTHON) if name == "python" else (".mjs", NODE)
    spec = spec_of(place, interpreter, program(tmp_path, f"w{suffix}", text))
    nowhere = launch.environment(spec.environment, f"times:{tmp_path}/nowhere/log", launch.NODE_TIMES)
    run = engine("timed").run(msgspec.structs.replace(spec, environment=nowhere))
    assert (run.ending, run.exit_code, run.acks) == ("exited", 0, ("0", "1", "2"))


def test_a_record_that_was_cut_off_is_left_out() -> None:
    whole = b"7\x005\x0010\x0020\x00a\x00close\x003"
    data = struct.pack("<I", len(whole)) + whole
    (note, again) = notes_of(data + data + data[:-1])
    assert note == again
    assert (note.pid, note.spent, note.began, note.ended, note.marks, note.kind) == (7, 5, 10, 20, "a", "close")


CLOSES = """
import os, sys
os.closerange(3, 1 << 16)
"""
TAKES = """
import os, sys
taken = os.open(os.path.join(sys.argv[1], "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
for each in os.listdir("/proc/self/fd"):
    if int(each) > 2 and int(each) != taken and os.path.exists("/proc/self/fd/" + each):
        os.dup2(taken, int(each))
"""
WRITES = """
with open(os.path.join(sys.argv[1], "a.json"), "w") as stream:
    stream.write("text")
"""


@pytest.mark.real
@pytest.mark.parametrize("before", [CLOSES, TAKES], ids=["closes", "takes"])
def test_a_program_that_closes_what_it_did_not_open_runs_on(
    bench: Workspace, tmp_path: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As daemons do: nothing is written into a file of its own, and its next operation does not fail."""
    runs: list[Recording] = []

    def read(spec: RunSpec, recording: Recording, data: bytes, begun_ns: int) -> TimedCalls:
        runs.append(recording)
        return read_calls(spec, recording, data, begun_ns)

    monkeypatch.setattr(clock, "read_calls", read)
    program = tmp_path / "closes.py"
    program.write_text(before + WRITES)
    spec = RunSpec(
        argv=(sys.executable, str(program), bench.root),
        root=bench.root,
        cwd=bench.cwd,
        environment=bench.environment(),
    )
    timed_calls(spec)
    assert (runs[0].exit_code, runs[0].stderr_tail) == (0, b"")
    sizes = {path: os.stat(os.path.join(bench.root, path)).st_size for path in os.listdir(bench.root)}
    assert sizes == ({"a.json": 4} if before is CLOSES else {"a.json": 4, "log": 0})
