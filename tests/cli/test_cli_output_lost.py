"""Outputs that take nothing: a full disk, a closed descriptor, a reader that goes away. No campaign is lost by them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import environment, in_process, start

from harness.cli.output import open_standard_streams

FULL = Path("/dev/full")


def _ended(*args: str, cwd: Path, redirect: str) -> tuple[int, str]:
    command = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "harness", *args],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    return command.returncode, command.stderr.decode()


@pytest.mark.real
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "args", [("scenarios", "list"), ("engines", "--json"), ("run", "nothing", "--json")], ids=" ".join
)
def test_a_full_disk_behind_the_output(args: tuple[str, ...], here: Path) -> None:
    code, said = _ended(*args, cwd=here, redirect="> /dev/full")
    assert code == 2
    assert said.startswith("tornwrite: ")
    assert said.count("\n") == 1
    assert ("No space left on device" in said) or ("nothing" in said)


@pytest.mark.real
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_campaign_outlives_a_full_disk_behind_its_output(
    form: tuple[str, ...], here: Path, traced: None
) -> None:
    code, said = _ended("run", "reference/durable", "--faults", "kill", *form, cwd=here, redirect="> /dev/full")
    assert code == 2
    assert said.startswith("tornwrite: cannot write to standard output: No space left on device")
    assert said.count("\n") == 1
    document = in_process("report", "--json").document
    assert document["result"]["finished"] is True
    assert document["result"]["verdict"] == "held"


@pytest.mark.real
@pytest.mark.skipif(os.name != "posix", reason="closes descriptors in a shell")
@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_campaign_outlives_a_closed_output(redirect: str, here: Path, traced: None) -> None:
    code, said = _ended("run", "reference/durable", "--faults", "kill", cwd=here, redirect=redirect)
    assert (code, said) == (0, "")
    assert in_process("report", "--json").document["result"]["verdict"] == "held"


def test_an_open_stream_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    open_standard_streams()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


@pytest.mark.real
def test_a_reader_that_takes_one_line(here: Path) -> None:
    read, write = os.pipe()
    with start("targets", "list", cwd=here, stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        os.close(read)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
