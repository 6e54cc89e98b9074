"""REPRODUCED, FIXED and CHANGED, each by replaying a real token against a writer that was changed to deserve it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from harness.campaign.executor import Executor
from harness.campaign.probe import probe_subject
from harness.campaign.replay import Replay, replay
from harness.campaign.token import ReplayRecord, decode
from harness.core.fault import FaultPlan, Timed
from harness.core.verdict import Finding
from harness.sandbox.workspace import Workspace
from tests.campaign.conducting import IN_PLACE, LOOKED_AT, PYTHON, REPLACED, conduct_probe, probe_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="replaying needs the ptrace engine of Linux"),
]

OVERWRITTEN = """
import os, sys
path = os.path.join(sys.argv[1], "state.json")
with open(path + ".tmp", "w") as file:
    file.write("0" * 9000)
os.replace(path + ".tmp", path)
for number in (1, 2):
    os.write(1, b"ACK %d\\n" % number)
    file = os.open(path, os.O_WRONLY)
    os.write(file, str(number).encode() * 9000)
    os.close(file)
"""
"""Makes the document by rename and opens it without truncating: no longer empty after an open, but torn."""

NOW_AND_THEN = """
import sys
flag = sys.argv[0] + ".flag"
other = not __import__("os").path.exists(flag)
(open(flag, "x").close if other else lambda: __import__("os").unlink(flag))()
""" + REPLACED.replace(
    "    os.replace(",
    "    other and os.path.exists(path) and os.close(os.open(path, os.O_WRONLY))\n    os.replace(",
)
"""Takes the old crash point in every second run only."""

SLOW = IN_PLACE.replace("    os.write(file", "    __import__('time').sleep(0.03)\n    os.write(file")


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What a campaign finds of the writer that rewrites in place, each with its token."""
    base = tmp_path_factory.mktemp("found")
    script = base / "save.py"
    script.write_text(IN_PLACE)
    return conduct_probe(base, script, ("kill", "short", "errno")).findings


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[ReplayRecord, str, int], Replay]]:
    """Replay a record against a writer with this source."""
    script = tmp_path / "save.py"
    workspace = Workspace(str(tmp_path / "base"))
    with Executor(2, workspace.base) as executor:

        def go(record: ReplayRecord, source: str, times: int = 3) -> Replay:
            script.write_text(source)
            return replay(executor, probe_subject(probe_of(script), workspace), record, times)

        yield go


def token_of(
    findings: list[Finding], invariant: str, fault_class: str, operation: str, phase: str
) -> ReplayRecord:
    for finding in findings:
        found = (finding.invariant, finding.fault_class, finding.operation, finding.phase)
        if found == (invariant, fault_class, operation, phase) and finding.role == "state.json":
            return decode(finding.token)
    raise AssertionError([(f.invariant, f.fault_class, f.operation, f.phase, f.role) for f in findings])


EXACT = [
    ("M1", "kill", "open", "after"),
    ("M1", "kill", "write", "torn"),
    ("W1", "short", "write", "torn"),
    ("M1", "errno", "write", "before"),
]


@pytest.mark.parametrize("cause", EXACT)
def test_the_same_writer_does_it_again(
    findings: list[Finding], run: Callable[..., Replay], cause: tuple[str, str, str, str]
) -> None:
    result = run(token_of(findings, *cause), IN_PLACE)
    assert (result.answer, result.text, result.reproduced) == ("REPRODUCED", "REPRODUCED 3/3", 3)


@pytest.mark.parametrize("cause", EXACT)
def test_a_fixed_writer_no_longer_has_the_point(
    findings: list[Finding], run: Callable[..., Replay], cause: tuple[str, str, str, str]
) -> None:
    result = run(token_of(findings, *cause), REPLACED)
    assert result.answer == "FIXED", result.text
    assert result.text.startswith("FIXED: crash point gone; ")
    explored = "states explored" if cause[1] == "kill" else "error plans run"
    assert explored in result.text
    assert result.reached == 0


def test_a_fixed_writer_that_passes_the_point_is_fixed_there(
    findings: list[Finding], run: Callable[..., Replay]
) -> None:
    record = token_of(findings, "M1", "kill", "open", "after")
    result = run(record, LOOKED_AT)
    assert (result.answer, result.reached) == ("FIXED", 3), result.text
    assert result.text == "FIXED 0/3, the crash point was reached every time"


def test_the_violation_at_another_point_is_reproduced_there(
    findings: list[Finding], run: Callable[..., Replay]
) -> None:
    record = token_of(findings, "M1", "kill", "open", "after")
    result = run(record, OVERWRITTEN)
    assert result.answer == "REPRODUCED"
    assert result.text.startswith("REPRODUCED at another point: write #")


def test_a_point_that_comes_and_goes_decides_nothing(findings: list[Finding], run: Callable[..., Replay]) -> None:
    result = run(token_of(findings, "M1", "kill", "open", "after"), NOW_AND_THEN, 6)
    assert 0 < result.reached < 6
    assert result.answer == "CHANGED"
    assert result.text == f"CHANGED: the fault struck in {result.reached} of 6 runs"


def test_a_writer_that_fails_by_itself_decides_nothing(
    findings: list[Finding], run: Callable[..., Replay]
) -> None:
    result = run(token_of(findings, "M1", "kill", "open", "after"), "raise SystemExit(7)")
    assert (result.answer, result.text) == ("CHANGED", "CHANGED: the run without a fault failed with exit code 7")


def timed(findings: list[Finding]) -> ReplayRecord:
    record = token_of(findings, "M1", "kill", "open", "after")
    return msgspec.structs.replace(record, plan=FaultPlan(faults=(Timed(delay_us=1),)))


def test_a_timed_violation_is_replayed_as_so_many_timed_kills(
    findings: list[Finding], run: Callable[..., Replay]
) -> None:
    result = run(timed(findings), SLOW, 12)
    assert result.answer == "REPRODUCED"
    assert 0 < result.reproduced <= result.reached <= 12
    assert result.text == f"REPRODUCED {result.reproduced}/12"


def test_timed_kills_cannot_show_that_something_is_fixed(
    findings: list[Finding], run: Callable[..., Replay]
) -> None:
    result = run(timed(findings), REPLACED, 4)
    assert (result.answer, result.reproduced) == ("CHANGED", 0)
    assert "excludes rates above" in result.text


def test_the_token_of_a_probe_takes_another_command_with_a_warning(
    findings: list[Finding], tmp_path: Path
) -> None:
    token = next(item.token for item in findings if (item.fault_class, item.operation) == ("kill", "open"))
    script = tmp_path / "fixed.py"
    script.write_text(REPLACED)
    command = [sys.executable, "-m", "harness", "replay", token, "--", *PYTHON, str(script), "{dir}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("FIXED: crash point gone;")
    assert "not the command and check this token was made for" in done.stderr


LOGGED = """
import os, sys
for number in range(3):
    file = os.open(os.path.join(sys.argv[1], "state.json"), os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.write(file, b'{"n": %d}\\n' % number)
    os.close(file)
    os.write(1, b"ACK %d\\n" % number)
"""
"""Passes the old crash point, and keeps a log where the document was: no version of a document is there to compare."""


def test_a_version_in_which_nothing_judges_the_invariant_is_not_fixed(
    findings: list[Finding], run: Callable[..., Replay]
) -> None:
    result = run(token_of(findings, "M1", "kill", "open", "after"), LOGGED)
    assert (result.answer, result.reached) == ("CHANGED", 3), result.text
    assert "M1 is not measured here" in result.text
