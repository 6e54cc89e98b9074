"""What commands print: the demo, lists, traces, replays; text in 80 columns and one JSON object each."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import PATIENCE_S, ROOT, WRITER, Ended, environment, in_process, probe, tornwrite

from harness import __version__
from harness.campaign.token import decode
from harness.cli.targets import expected_in_words
from harness.engines import ENGINES
from harness.schemas import schema
from tests.report.json_schema_check import problems

real = pytest.mark.real


def lines_over(ended: Ended, width: int) -> list[str]:
    return [line for line in ended.out.splitlines() if len(line) > width and not line.startswith("  /")]


def campaign_of(ended: Ended) -> dict[str, Any]:
    result: dict[str, Any] = ended.document["result"]
    shape = schema("campaign")
    assert list(problems(result, shape, shape)) == []
    return result


@real
@pytest.mark.usefixtures("traced")
def test_the_demo_catches_proves_and_replays(here: Path) -> None:
    ended = tornwrite("demo", cwd=here)
    assert (ended.exit_code, ended.err) == (0, "")
    assert lines_over(ended, 80) == []
    for word in (
        "explored ",
        "caught ",
        "proven ",
        "Confirmed in 3/3",
        "REPRODUCED 3/3",
        "held ",
        "tornwrite probe",
    ):
        assert word in ended.out
    assert (here / "reports" / "latest" / "report.md").is_file()
    second = campaign_of(tornwrite("demo", "--json", cwd=here))
    assert second["control_problem"] == ""
    runs = sorted(path.name for path in (here / "reports" / "runs").iterdir())
    assert len(runs) == 2
    assert in_process("report").out.count(runs[1]) >= 1, "latest is the second run"
    assert tornwrite("report", runs[0], cwd=here).exit_code == 0


@real
@pytest.mark.usefixtures("traced")
def test_a_directory_on_a_read_only_file_system(here: Path) -> None:
    script = f'mount -t tmpfs -o ro none "{here}" && cd "{here}" && exec "$@"'
    enter = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if (
        os.name != "posix"
        or not shutil.which("unshare")
        or subprocess.run([*enter, "true"], check=False).returncode
    ):
        pytest.skip("cannot mount a read-only file system here")
    for words in (["demo"], ["probe", "--", sys.executable, WRITER, "good", "{dir}"], ["run", "reference/buggy"]):
        ended = subprocess.run(
            [*enter, sys.executable, "-m", "harness", *words],
            capture_output=True,
            env=environment(),
            timeout=PATIENCE_S,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("tornwrite: cannot make ")
        assert "reports" in ended.stderr
        assert "Read-only file system" in ended.stderr
        assert ended.stderr.count("\n") == 1
    trace = [*enter, sys.executable, "-m", "harness", "trace", "--", sys.executable, WRITER, "good", "{dir}"]
    assert (
        subprocess.run(trace, capture_output=True, env=environment(), timeout=PATIENCE_S, check=False).returncode
        == 0
    )


@real
@pytest.mark.usefixtures("traced")
def test_a_probe_as_text_file_and_json(here: Path) -> None:
    ended = probe("torn", "--faults", "kill", cwd=here)
    assert ended.exit_code == 1
    assert ended.out.count("report.md") == 1
    assert "\x1b" not in ended.out
    result = campaign_of(probe("torn", "--json", "--faults", "kill", cwd=here))
    assert result["verdict"] == "violated"
    assert result["findings"][0]["replay"].startswith("tornwrite replay tw1.")
    (here / "out.txt").write_text("")
    with (here / "out.txt").open("w") as stream:
        code = subprocess.run(
            [sys.executable, "-m", "harness", "report"], cwd=here, env=environment(), stdout=stream, check=False
        ).returncode
    assert code == 0
    assert "probe/writer.py" in (here / "out.txt").read_text()
    assert campaign_of(in_process("report", "--json"))["finished"] is True


def on_a_terminal(words: list[str], here: Path, columns: int) -> tuple[int, str]:
    """Run a command on a terminal of that width; return its exit code and what the terminal got."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    clean = {name: value for name, value in environment(TERM="xterm").items() if name not in ("COLUMNS", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], cwd=here, env=clean, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    data = b""
    with contextlib.suppress(OSError):  # the terminal is gone: EIO
        while part := os.read(ours, 65536):
            data += part
    os.close(ours)
    return process.wait(PATIENCE_S), data.decode()


@real
@pytest.mark.usefixtures("traced")
def test_a_terminal_of_80_columns(here: Path) -> None:
    words = ["probe", "--faults", "kill", "--", sys.executable, WRITER, "hostile", "{dir}"]
    code, text = on_a_terminal(words, here, 80)
    assert code == 1
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "\x1b" not in bare, "only rich's own colours and cursor moves"
    assert "\u202e" not in bare
    lines = [line.split("\r")[-1].rstrip() for line in bare.replace("\r\n", "\n").split("\n")]
    wide = [line for line in lines if len(line) > 80 and "tornwrite replay" not in line and "/report." not in line]
    assert wide == []
    assert any("probe/writer.py" in line and "violated" in line for line in lines)


@real
@pytest.mark.usefixtures("traced")
def test_replays(here: Path) -> None:
    result = campaign_of(probe("torn", "--json", "--faults", "kill", cwd=here))
    token = result["findings"][0]["finding"]["token"]
    record = decode(token)
    assert (record.kind, record.target) == ("probe", "probe")
    assert WRITER not in str(record), "a token carries no command"
    missing = in_process("replay", token)
    assert (missing.exit_code, missing.out) == (2, "")
    assert "give its command again after '--'" in missing.err
    command = ("--", sys.executable, WRITER)
    again = tornwrite("replay", token, "--times", "2", *command, "torn", "{dir}", cwd=here)
    assert again.exit_code == 1
    assert again.out.startswith("REPRODUCED 2/2")
    fixed = tornwrite("replay", "--json", token, *command, "good", "{dir}", cwd=here)
    assert (fixed.exit_code, fixed.result("replay")["answer"]) == (0, "FIXED")
    assert fixed.document["errors"] == [
        "note: not the command and check this token was made for, or another --torn-tail, --instances or --readers"
    ]
    changed = tornwrite("replay", token, *command, "fails", "{dir}", cwd=here)
    assert changed.exit_code == 3
    assert changed.out.startswith("CHANGED: the run without a fault failed with exit code 7")
    for cut in (len(token) // 2, len(token) - 1):
        assert in_process("replay", token[:cut], *command, "torn", "{dir}").exit_code == 2


@real
@pytest.mark.usefixtures("traced")
def test_a_token_of_a_target_takes_no_command(here: Path) -> None:
    result = campaign_of(tornwrite("demo", "--json", cwd=here))
    token = next(
        item["finding"]["token"] for item in result["findings"] if item["finding"]["fault_class"] == "kill"
    )
    for more in (("--", "python", "{dir}"), ("--check", "true {dir}"), ("--env", "PATH"), ("--ack", "(?P<id>x)")):
        ended = in_process("replay", token, *more)
        assert ended.exit_code == 2
        assert "names the target 'reference': no command" in ended.err
    assert tornwrite("replay", token, "--times", "1", cwd=here).out.startswith("REPRODUCED 1/1")


@real
@pytest.mark.usefixtures("traced")
def test_a_trace_is_a_list_for_people(here: Path) -> None:
    ended = tornwrite("trace", "--", sys.executable, WRITER, "good", "{dir}", cwd=here)
    assert (ended.exit_code, ended.err) == (0, "")
    assert lines_over(ended, 100) == []
    kinds = [line.split()[4].removeprefix("<<") for line in ended.out.splitlines() if " ms  " in line]
    assert kinds[:5] == ["open", "write", "sync", "rename", "close"] or "rename" in kinds
    assert kinds.count("ack") == 2
    assert ended.out.splitlines()[-1].startswith("verified: ")


def test_engines() -> None:
    ended = in_process("engines")
    assert [line.split()[0] for line in ended.out.splitlines()] == list(ENGINES)
    document = in_process("engines", "--json").document
    assert all(item["available"] is not bool(item["reason"]) for item in document["result"])


def test_the_targets_stand_in_columns() -> None:
    ended = in_process("targets", "list")
    assert lines_over(ended, 80) == []
    lines = [line for line in ended.out.splitlines() if not line.startswith(" ")]  # the others go on with one
    starts = {line.index("  ") for line in lines if line.split()[0] == max((x.split()[0] for x in lines), key=len)}
    assert len(starts) == 1
    column = starts.pop() + 2
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    document = in_process("targets", "list", "--json").document
    assert len(document["result"]) == len(lines)
    assert "reference/durable" in ended.out


def test_expectations_are_said_by_verdict() -> None:
    told = expected_in_words({"kill": "held", "errno": "violated", "power.ext4": "held", "power.posix": "held"})
    assert told == "held: kill power; violated: errno"
    told = expected_in_words({"power.ext4": "held", "power.posix": "violated"})
    assert told == "held: power.ext4; violated: power.posix"


def test_scenarios() -> None:
    listed = in_process("scenarios", "list")
    assert lines_over(listed, 80) == []
    names = [item["name"] for item in in_process("scenarios", "list", "--json").document["result"]]
    assert {"demo", "fork_session"} <= set(names)
    for name in names:
        shown = in_process("scenarios", "show", name)
        assert shown.exit_code == 0
        assert lines_over(shown, 80) == []
        assert not set("{}'\"") & set(shown.out.replace("'s ", "").replace("{cwd}", "")), shown.out
        assert in_process("scenarios", "show", name, "--json").document["result"]["name"] == name


def test_nothing_to_install() -> None:
    assert (
        in_process("targets", "install", "reference").out
        == "nothing to install: these targets come with tornwrite\n"
    )
    assert in_process("targets", "install", "reference", "--json").document["result"] == []


def test_the_version_as_a_module(here: Path) -> None:
    ended = tornwrite("--version", cwd=here)
    assert (ended.exit_code, ended.out) == (0, f"tornwrite, version {__version__}\n")


def test_help_needs_no_engine_and_no_campaign(here: Path) -> None:
    code = "import sys; from harness.cli.app import run_app\ntry: run_app(['--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in sys.modules if name.split('.')[:2] in (['harness', 'campaign'], ['rich'])])"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env=environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout.splitlines()[-1].replace("'", '"')) == []
    assert ROOT.is_dir()
