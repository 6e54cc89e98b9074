"""Ctrl+C and SIGTERM at any moment: 130, nothing left running, the run readable, and the way to go on is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from command_line import WRITER, in_process, start, tornwrite

from tests.survivors import new_mark, survivors

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("traced")]

INTERRUPTED = 130


def _wait_for(process: subprocess.Popen[bytes], here: Path, rows: int) -> None:
    """Wait until the run has as many rows; a command that ends before is a failure of the test."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        for file in here.glob("*/runs/*/trials.jsonl"):
            if file.read_bytes().count(b"\n") >= rows:
                return
        time.sleep(0.01)
    raise AssertionError("the run made no rows")


def _interrupt(here: Path, rows: int, number: int, whole_group: bool, *words: str) -> tuple[int, str]:
    with start(*words, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _wait_for(process, here, rows)
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=60)
    text = err.decode()
    assert "Traceback" not in text
    return process.returncode, text


@pytest.mark.parametrize("rows", [0, 1, 6])
@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_probe_is_interrupted(rows: int, number: int, whole_group: bool, here: Path) -> None:
    mark = new_mark()
    words = ("probe", "--trials", "2000", "--", sys.executable, WRITER, "torn", "{dir}", mark)
    code, err = _interrupt(here, rows, number, whole_group, *words)
    assert survivors(mark, 1.0) == set()
    assert code == INTERRUPTED
    (run,) = (here / "reports" / "runs").iterdir()
    if rows:  # before the first row it may not have a run yet
        assert f"tornwrite: interrupted; what it had measured: tornwrite report {run.name}" in err
    assert err.strip().startswith("tornwrite: interrupted")
    assert "--resume" not in err
    assert not list(Path(tempfile.gettempdir()).glob(f"tornwrite-{run.name}*"))
    ended = in_process("report", run.name)
    assert (ended.exit_code, ended.err) == (0, "")
    assert "interrupted before it had a verdict" in " ".join(ended.out.split())
    assert in_process("report", run.name, "--json").document["result"]["finished"] is False


def test_an_interrupted_run_goes_on(here: Path) -> None:
    words = ("run", "reference/buggy", "--faults", "kill", "--trials", "3", "--out", "o o")
    code, err = _interrupt(here, 8, signal.SIGINT, True, *words)
    assert code == INTERRUPTED
    (run,) = (here / "o o" / "runs").iterdir()
    assert f"to go on: tornwrite run --resume {run.name} --out 'o o'" in err
    before = (run / "trials.jsonl").read_bytes()
    ended = tornwrite("run", "--resume", run.name, "--out", "o o", cwd=here)
    assert ended.exit_code == 0, ended
    assert (run / "trials.jsonl").read_bytes().startswith(before)
    other = tornwrite("run", "reference/durable", "--resume", run.name, "--out", "o o", cwd=here)
    assert other.exit_code == 2
    assert "was a run of reference/buggy" in other.err


def test_interrupts_of_a_command_without_a_run(here: Path) -> None:
    mark = new_mark()
    words = ("trace", "--", sys.executable, WRITER, "hang", "{dir}", mark)
    with start(*words, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not survivors(mark, 0) - {process.pid} and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert survivors(mark, 1.0) == set()
    assert (process.returncode, out) == (INTERRUPTED, b"")
    assert err.decode().strip() == "tornwrite: interrupted"


def test_resume_goes_on_with_the_newest_run_that_was_interrupted(here: Path) -> None:
    words = ("run", "reference/buggy", "--faults", "kill", "--trials", "3")
    _interrupt(here, 8, signal.SIGINT, True, *words)
    (run,) = (here / "reports" / "runs").iterdir()
    assert (
        tornwrite("probe", "--faults", "kill", "--", sys.executable, WRITER, "good", "{dir}", cwd=here).exit_code
        == 0
    )
    ended = tornwrite("run", "--resume", cwd=here)
    assert ended.exit_code == 0, ended
    assert f"run {run.name}" in ended.out
    again = tornwrite("run", "--resume", cwd=here)  # it has its verdict: told again, nothing is run
    assert (again.exit_code, f"run {run.name}" in again.out) == (0, True)
