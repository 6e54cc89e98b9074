"""Several instances as one run: at once, or one after the other; each with its number, and all of them waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.core.run import RunSpec
from harness.services.instances import NOT_STARTED
from harness.services.together import Program, all_instances, as_one, ended_file, reads_of

NOTE = """
import os, sys, time
number = os.environ["TORNWRITE_INSTANCE"]
with open(sys.argv[1], "a") as stream:
    stream.write("begin " + number + "\\n")
time.sleep(0.3)
with open(sys.argv[1], "a") as stream:
    stream.write("end " + number + "\\n")
sys.exit(3 if number == "1" else 0)
"""


def spec_of(base: Path, *argv: str, instances: int = 1) -> RunSpec:
    root = base / "state"
    root.mkdir()
    return RunSpec(
        argv=argv,
        root=str(root),
        cwd=str(base),
        environment={"TMPDIR": str(base), "PATH": os.defpath},
        files={str(base / "workload.json"): b"{}"},
        instances=instances,
    )


def run(spec: RunSpec) -> int:
    for path, data in spec.files.items():
        Path(path).write_bytes(data)
    return subprocess.run(spec.argv, cwd=spec.cwd, env=dict(spec.environment), check=False, timeout=30).returncode


@pytest.mark.real
@pytest.mark.parametrize("in_turn", [True, False])
def test_each_is_told_its_number_and_the_worst_exit_counts(tmp_path: Path, in_turn: bool) -> None:
    notes = tmp_path / "notes"
    spec = spec_of(tmp_path, sys.executable, "-c", NOTE, str(notes), instances=2)
    one = all_instances(spec, in_turn=in_turn)
    assert (one.instances, set(spec.files) < set(one.files)) == (1, True)
    assert run(one) == 3
    lines = notes.read_text().splitlines()
    assert sorted(lines) == ["begin 0", "begin 1", "end 0", "end 1"]
    assert (lines == ["begin 0", "end 0", "begin 1", "end 1"]) is in_turn


def test_one_instance_is_the_program_itself(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "program")
    assert all_instances(spec, in_turn=False) is spec


@pytest.mark.real
def test_their_ends_are_noted_where_somebody_asks(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "unused")
    program = Program((sys.executable, "-c", "pass"), {})
    assert run(as_one(spec, [program, program], ended=ended_file(spec))) == 0
    assert Path(ended_file(spec)).read_text() == ".."
    Path(ended_file(spec)).unlink()
    assert run(as_one(msgspec.structs.replace(spec, argv=("other",)), [program])) == 0
    assert not os.path.exists(ended_file(spec))


SAVED = """
import os, sys, time
path = os.path.join(sys.argv[1], "state.json")
open(path, "w").write("{}")
time.sleep(0.5)
print("saved")
"""


@pytest.mark.real
@pytest.mark.parametrize("decided", [True, False])
def test_a_reader_says_what_it_got_and_ends_with_the_writers(tmp_path: Path, decided: bool) -> None:
    spec = msgspec.structs.replace(spec_of(tmp_path, sys.executable, "-c", SAVED), readers=2)
    spec = msgspec.structs.replace(spec, argv=(*spec.argv, spec.root))
    (tmp_path / "state" / "old").write_bytes(b"\xff\x00")
    assert all_instances(spec, in_turn=True) is spec
    assert run(all_instances(spec, in_turn=False, decided=decided)) == 0
    reads = reads_of(spec)
    assert set(reads["old"]) == {b"\xff\x00"}
    if not decided:  # two rounds may be over before the writer has begun
        assert b"{}" in reads["state.json"]


@pytest.mark.real
def test_they_start_when_all_are_there(tmp_path: Path) -> None:
    """Behind the barrier nobody has become its program: a command that does not exist keeps no other from starting."""
    there = Program((sys.executable, "-c", "pass"), {})
    spec = spec_of(tmp_path, "unused")
    assert run(as_one(spec, [there, Program(("/no/such/program",), {}), there])) == NOT_STARTED


@pytest.mark.parametrize(
    "line", ['{"path": "a", "data": nul', "", '{"path": "b"}\n', "[]\n", '{"path": 1, "data": "!"}\n']
)
def test_what_a_reader_that_was_killed_said_last_is_left_out(tmp_path: Path, line: str) -> None:
    spec = msgspec.structs.replace(spec_of(tmp_path, "unused"), readers=1)
    (tmp_path / "reader.0").write_text('{"path": "a", "data": "YQ=="}\n{"path": "a", "data": null}\n' + line)
    assert reads_of(spec) == {"a": (b"a", None)}
