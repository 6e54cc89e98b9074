"""Exported files, run by an interpreter that has nothing else: they reproduce, and they do not once it is fixed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from harness.campaign.executor import Executor
from harness.campaign.probe import Probe
from harness.campaign.replay import subject_of
from harness.campaign.scratch import scratch_workspace
from harness.campaign.token import ReplayRecord
from harness.campaign.work import run_once
from harness.catalog import load_target
from harness.core.fault import CrashPoint, Errno, Fault, FaultPlan, Kill, Short
from harness.core.schedule import Prefix, Search, schedule_of
from harness.core.tree import File
from harness.engines import engine
from harness.export.exporting import exported
from harness.export.sources import NotExportableError
from harness.sandbox.environment import real_python

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason="ptrace is not available"),
]

IN_PLACE = """
import json, os, sys
for number in range(2):
    with open(os.path.join(sys.argv[1], "state.json"), "wb", 0) as stream:
        stream.write(json.dumps({"n": number, "text": "x" * 9000}).encode())
    os.write(1, b"ACK %d\\n" % number)
"""
REPLACED = """
import json, os, sys
path = os.path.join(sys.argv[1], "state.json")
for number in range(2):
    with open(path + ".tmp", "wb", 0) as stream:
        stream.write(json.dumps({"n": number, "text": "x" * 9000}).encode())
    os.replace(path + ".tmp", path)
    os.write(1, b"ACK %d\\n" % number)
"""
RACING = """
import json, os, sys, threading
path = os.path.join(sys.argv[1], "log.jsonl")
lock = threading.Lock()
def add(name):
    with open(path, "rb", 0) as stream:
        before = stream.read()
    with open(path, "wb", 0) as stream:
        stream.write(before + json.dumps({"id": name}).encode() + b"\\n")
    os.write(1, b"ACK %s\\n" % name.encode())
open(path, "wb").close()
threads = [threading.Thread(target=add, args=(f"u{n}",)) for n in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
LOCKED = RACING.replace("    with open(path, \"rb\"", "    lock.acquire()\n    with open(path, \"rb\"").replace(
    "    os.write(1", "    lock.release()\n    os.write(1"
)  # fmt: skip


class Ran(NamedTuple):
    code: int
    lines: list[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(text: str, *words: str) -> Ran:
    """Run an exported file as somebody who has just got it."""
    Path("repro.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [real_python(), "-I", os.path.abspath("repro.py"), *words],
        cwd="elsewhere",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stderr == ""
    return Ran(done.returncode, done.stdout.splitlines())


def with_source(text: str, name: str, source: str) -> str:
    """Return an exported file whose writer was changed."""
    (node,) = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SOURCES"
    ]
    lines = text.splitlines(keepends=True)
    changed = {**ast.literal_eval(node.value), name: source}
    return "".join([*lines[: node.lineno - 1], f"SOURCES = {changed!a}\n", *lines[node.end_lineno :]])


def probed(script: str, plan: FaultPlan, invariant: str, role: str) -> str:
    Path("save.py").write_text(script, encoding="utf-8")
    probe = Probe(command=("python", "save.py", "{dir}"))
    record = ReplayRecord(
        target="probe", kind="probe", plan=plan, fault_class=plan.fault_class, invariant=invariant, role=role
    )
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        made = exported(executor, workspace, record, "tw1.x", probe)
        assert workspace.base not in made.text
    assert not made.same_command and made.said == "REPRODUCED"
    return made.text


def at(operation: str, occurrence: int, phase: str = "before", cut: int = 0) -> CrashPoint:
    return CrashPoint(operation=operation, role="state.json", occurrence=occurrence, phase=phase, bytes=cut)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (Kill(at=at("write", 2, "torn", 4096)), "write number 2 of 'state.json', when 4096 bytes had landed"),
        (Kill(at=at("write", 1)), "SIGKILL before write number 1 of 'state.json'"),
        (Errno(at=at("write", 1), errno=28, persistent=True), "failed: No space left on device"),
        (Short(at=at("write", 2, "torn", 100)), "took 100 bytes"),
    ],
    ids=["torn", "before", "errno", "short"],
)  # fmt: skip
def test_a_fault_strikes_there_and_a_rename_helps(fault: Fault, ends: str) -> None:
    text = probed(IN_PLACE, FaultPlan(faults=(fault,)), "M1", "state.json")
    ran = run(text)
    assert ran.code == 1 and ran.lines[-1] == "REPRODUCED", ran
    assert ran.lines[0].endswith(ends) and any(line.startswith("observed: 'state.json' is ") for line in ran.lines)
    assert ("died of signal 9" in ran.lines[0]) == isinstance(fault, Kill)
    fixed = run(with_source(text, "save.py", REPLACED))
    assert (fixed.code, fixed.lines[-3:]) == (
        3,
        [
            "observed: as expected",
            "CHANGED: the operation at which the fault strikes did not come",
            "to test a fix that writes otherwise, search again: tornwrite probe",
        ],
    )
    alone = run(text, "--undisturbed")
    assert (alone.code, alone.lines[-2:]) == (0, ["observed: as expected", "not reproduced"])


MANIFEST = """
[target]
name = "mine"
story = "two threads, one log"
[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"
[[variant]]
name = "racing"
run = ["{python}", "-BEsS", "{target}/w.py", "{dir}"]
"""


def met(record: ReplayRecord) -> FaultPlan:
    """Search an order in which one of two records is lost."""
    with scratch_workspace() as workspace:
        spec = subject_of(record, workspace).spec
        for seed in range(40):
            recording = run_once("ptrace", spec, FaultPlan(schedule=Search(policy="random", seed=seed)))
            node = recording.final.node_at("log.jsonl")
            assert recording.scheduled is not None and isinstance(node, File)
            if node.content.to_bytes().count(b"\n") == 1:
                return FaultPlan(schedule=recording.scheduled.schedule)
    raise AssertionError("no order of 40 loses a record")


def test_an_order_is_kept_and_a_lock_helps(here: Path, evidence: bool) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "target.toml").write_text(MANIFEST, encoding="utf-8")
    (here / "mine" / "w.py").write_text(RACING, encoding="utf-8")
    record = ReplayRecord(target="./mine", variant="racing", invariant="B5", role="log.jsonl", damage="lost")
    record = msgspec.structs.replace(record, plan=met(record), fault_class="concurrency")
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        text = exported(executor, workspace, record, "tw1.x").text
    for _ in range(20 if evidence else 2):
        ran = run(text)
        assert ran.code == 1 and ran.lines[-1] == "REPRODUCED", ran
        assert "file operations went in the recorded order" in ran.lines[0]
        assert ran.lines[1] == "expected: each record that the writer said to have saved is in its file: log.jsonl"
        assert ran.lines[2].startswith("observed: 1 of 2 are lost: 'u")
    shown = [tuple(line.split()[:2]) for line in run(text, "--operations").lines]
    assert sorted(words[0] for words in shown if words[1:] == ("write",)) == ["p0.t1", "p0.t2"], shown
    assert ("p0", "exit") in shown
    patient = text.replace("PATIENCE_S = 10.0", "PATIENCE_S = 1.0")
    fixed = run(with_source(patient, "w.py", LOCKED))
    assert fixed.code == 3 and fixed.lines[-2].startswith("CHANGED: 'p0"), fixed
    assert "did not come within 1 s, after" in fixed.lines[-2] and "--undisturbed some times" in fixed.lines[-1]
    assert not any(line.startswith("observed") for line in fixed.lines)
    alone = run(with_source(text, "w.py", LOCKED), "--undisturbed")
    assert (alone.code, alone.lines[-2:]) == (0, ["observed: as expected", "not reproduced"])
    broken = run(with_source(text, "w.py", "def (\n"))
    assert (broken.code, broken.lines[1]) == (3, "its last words: 'SyntaxError: invalid syntax'"), broken
    assert broken.lines[-1].startswith("CHANGED: the writer ended before the last turn, after ")
    assert broken.lines[-1].endswith("; the writer ended with exit code 0 when this file was made")
    silent = run(with_source(text, "w.py", "print('ACK u0')\n"), "--undisturbed")
    assert silent.lines[-2:] == [
        "observed: 1 of 1 are lost: 'u0'",
        "CHANGED: the writer did nothing in its state directory",
    ]


def test_a_target_of_the_project_travels_with_its_set_up() -> None:
    target = load_target("registry")
    role = "claude-code-sessions/<uuid>/<uuid>/git-worktrees.json"
    plan = FaultPlan(faults=(Kill(at=CrashPoint(operation="open", role=role, occurrence=1, phase="after")),))
    record = ReplayRecord(
        target="registry",
        variant="in_place",
        workload={"updates": 4},
        plan=plan,
        fault_class="kill",
        invariant="M1",
        role=role,
    )
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        text = exported(executor, workspace, record, "tw1.x").text
    ran = run(text)
    assert ran.code == 1 and f"expected: each of these files is one JSON document: {role}" in ran.lines, ran
    failing = run(with_source(text, "setup.py", "def (\n"))
    assert failing.lines == [
        "CHANGED: the set-up ended with exit code 1; its last words: 'SyntaxError: invalid syntax'"
    ]
    assert failing.code == 3
    for name in ("durable.py", "manual_recovery.py"):
        source = Path(target.directory, name).read_text(encoding="utf-8")
        text = with_source(text, "in_place.py" if name == "durable.py" else name, source)
    assert run(text).code == 3


COPIED = """
import os, sys
with open("whole", "wb") as stream:
    stream.write(b'{"n": "a file"}')
for number in range(2):
    with open("whole", "rb") as whole, open(os.path.join(sys.argv[1], "state.json"), "wb", 0) as stream:
        os.sendfile(stream.fileno(), whole.fileno(), 0, 1 << 20)
"""
SHORT = IN_PLACE.replace("9000", "30")
LENGTH = len(json.dumps({"n": 0, "text": "x" * 30}))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (SHORT, f"is {LENGTH} bytes long"),
        (IN_PLACE.replace("9000", str(4096 - (LENGTH - 30))), "is 4,096 bytes long"),
        (
            SHORT.replace("stream.write(", "os.writev(stream.fileno(), [").replace("e())", "e()])"),
            "is another call, number 20",
        ),
        (COPIED, "returned 15"),
    ],
    ids=["shorter", "equal", "vector", "copy"],
)
@pytest.mark.parametrize("strike", [Kill, Short])
def test_a_write_is_never_made_longer(strike: type[Kill] | type[Short], script: str, why: str) -> None:
    text = probed(IN_PLACE, FaultPlan(faults=(strike(at=at("write", 2, "torn", 4096)),)), "M1", "state.json")
    ran = run(with_source(text, "save.py", script), "--keep")
    kept = Path(ran.lines[-1].removeprefix("kept: "))
    left = (kept / "state.json").read_bytes()
    shutil.rmtree(kept.parent)
    reason = f"CHANGED: write number 2 of 'state.json' {why}: it cannot be cut at 4,096"
    assert ran.code == 3 and reason in ran.lines and "observed: as expected" in ran.lines, ran
    assert "n" in json.loads(left)


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("import nosuch\n", 3, "its last words: \"ModuleNotFoundError: No module named 'nosuch'\""),
        ("import sys\nsys.exit('\\x1b[2J')\n", 3, "its last words: '\\x1b[2J'"),
        ("pass\n", 3, "CHANGED: the operation at which the fault strikes did not come"),
        ("import os, sys\nopen(sys.argv[1] + '/state.json', 'w').write('#')\nos._exit(4)\n", 3, ""),
        (IN_PLACE.replace("x", "y"), 1, "REPRODUCED"),
    ],
    ids=["import", "escape", "nothing", "otherwise", "same"],
)
def test_what_runs_otherwise_says_nothing_of_the_damage(script: str, code: int, says: str) -> None:
    text = probed(IN_PLACE, FaultPlan(faults=(Kill(at=at("write", 2)),)), "M1", "state.json")
    ran = run(with_source(text, "save.py", script))
    assert ran.code == code and "observed: as expected" not in ran.lines, ran
    assert not says or says in ran.lines, ran
    if "nosuch" in script:
        assert run(with_source(text, "save.py", script), "--undisturbed").lines[-1] == (
            "CHANGED: the writer ended with exit code 0 when this file was made"
        )


def test_of_a_writer_that_needs_no_fault_another_exit_code_is_a_change(here: Path) -> None:
    losing = """
import json, os, sys
for name in ("u0", "u1"):
    with open(os.path.join(sys.argv[1], "log.jsonl"), "wb", 0) as stream:
        stream.write(json.dumps({"id": name}).encode() + b"\\n")
    os.write(1, b"ACK %s\\n" % name.encode())
"""
    (here / "mine").mkdir()
    (here / "mine" / "target.toml").write_text(MANIFEST, encoding="utf-8")
    (here / "mine" / "w.py").write_text(losing, encoding="utf-8")
    record = ReplayRecord(target="./mine", variant="racing", invariant="B5", role="log.jsonl", damage="lost")
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        text = exported(executor, workspace, record, "tw1.x").text
    assert run(text).code == run(text, "--undisturbed").code == 1
    failing = run(with_source(text, "w.py", losing + "sys.exit(5)\n"))
    assert (failing.code, failing.lines[-2:]) == (
        3, ["observed: 1 of 2 are lost: 'u0'", "CHANGED: the writer ended with exit code 0 when this file was made"],
    )  # fmt: skip
    fixed = run(with_source(text, "w.py", losing.replace('"wb"', '"ab"')))
    assert (fixed.code, fixed.lines[-2:]) == (0, ["observed: as expected", "not reproduced"])


def test_a_struck_writer_that_leaves_no_damage_is_not_reproduced() -> None:
    text = probed(IN_PLACE, FaultPlan(faults=(Errno(at=at("write", 1), errno=28),)), "M1", "state.json")
    careful = IN_PLACE.replace("        stream.write", "      try:\n        stream.write").replace(
        "    os.write", "      except OSError:\n        stream.write(b'{}'); raise\n    os.write"
    )
    ran = run(with_source(text, "save.py", careful))
    assert (ran.code, ran.lines[-2:]) == (0, ["observed: as expected", "not reproduced"]), ran
    assert "its last words" in ran.lines[1]
    text = probed(IN_PLACE, FaultPlan(faults=(Kill(at=at("write", 2)),)), "M1", "state.json")
    kept = IN_PLACE.replace('"wb"', '"r+b" if number else "wb"')
    ran = run(with_source(text, "save.py", kept))
    assert (ran.code, ran.lines[-2:]) == (0, ["observed: as expected", "not reproduced"]), ran
    assert "SIGKILL before write number 2" in ran.lines[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("platform.machine()", "str(0)"), "needs Linux on x86_64"),
        (("< (3, 11)", "< (9, 11)"), "needs Python 3.11 or later"),
        (("{python}", "no-such-program"), "needs the program 'no-such-program', which is not there"),
        (("SEIZE, self.pid, 0, OPTIONS", "SEIZE, 1 << 30, 0, OPTIONS"), "No such process"),
        (('"package": None', '"package": lambda: package_elsewhere("no-such", "1.0")'), "NameError"),
    ],
    ids=["machine", "version", "program", "ptrace", "bug"],
)
def test_where_it_cannot_run_it_says_so(change: tuple[str, str], says: str) -> None:
    text = probed(IN_PLACE, FaultPlan(faults=(Kill(at=at("write", 1)),)), "M1", "state.json")
    ran = run(text.replace(*change))
    assert ran.code == 2 and len(ran.lines) == 1 and ran.lines[0].startswith("cannot run here: "), ran
    assert says in ran.lines[0]


def test_what_does_not_show_here_is_not_exported() -> None:
    kill = FaultPlan(faults=(Kill(at=at("write", 1)),))
    with pytest.raises(NotExportableError, match="did not show in 3 runs"):
        probed(REPLACED, kill, "M1", "state.json")


def test_a_kill_strikes_in_the_recorded_order(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "target.toml").write_text(MANIFEST, encoding="utf-8")
    (here / "mine" / "w.py").write_text(RACING, encoding="utf-8")
    kill = Kill(at=CrashPoint(operation="open", role="log.jsonl", occurrence=3, phase="after"))
    record = ReplayRecord(target="./mine", variant="racing", invariant="B5", role="log.jsonl", damage="lost")
    with scratch_workspace() as workspace:
        spec = subject_of(record, workspace).spec
        plan = FaultPlan(faults=(kill,), schedule=Prefix(begin=schedule_of(())))
        scheduled = run_once("ptrace", spec, plan).scheduled
    assert scheduled is not None
    plan = FaultPlan(faults=(kill,), schedule=scheduled.schedule)
    record = msgspec.structs.replace(record, plan=plan, fault_class="kill")
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        text = exported(executor, workspace, record, "tw1.x").text
    ran = run(text)
    assert ran.code == 1 and ran.lines[-2:] == ["observed: 1 of 1 are lost: 'u0'", "REPRODUCED"], ran
    assert "died of signal 9: SIGKILL after open number 3 of 'log.jsonl'" in ran.lines[0]


def test_several_of_a_writer_work_on_one_state(here: Path) -> None:
    role = "claude-code-sessions/<uuid>/<uuid>/local_<uuid>.json"
    kill = Kill(at=CrashPoint(operation="write", role=role, occurrence=1, actor="p2"))
    record = ReplayRecord(
        target="registry",
        variant="in_place",
        workload={"sessions": 1, "updates": 1, "instances": 2},
        plan=FaultPlan(faults=(kill,)),
        fault_class="kill",
        invariant="M1",
        role=role,
        damage="empty",
    )
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        text = exported(executor, workspace, record, "tw1.x").text
    ran = run(text)
    assert ran.code == 1 and ran.lines[-1] == "REPRODUCED", ran
    assert "SIGKILL before write number 1" in ran.lines[0]
