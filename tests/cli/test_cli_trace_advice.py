"""``tornwrite trace``: from when on operations are durable, the audit of barriers and the advice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.catalog.profiles import DEFAULT_PROFILES, list_profiles
from harness.schemas import schema
from tests.cli.command_line import Ended, in_process, tornwrite
from tests.report.json_schema_check import problems

WRITER = """
import os, sys
place, *words = sys.argv[1:]
path = os.path.join(place, "state.json")
for number in range(2):
    name = path if "in_place" in words else path + ".tmp"
    file = os.open(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    os.write(file, b'{"n": %d, "text": "%s"}' % (number, b"x" * 6000))
    if "fsync" in words:
        os.fsync(file)
    os.close(file)
    if name != path:
        os.rename(name, path)
    if "directory" in words:
        directory = os.open(place, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    os.write(1, b"ACK %d\\n" % number)
if "hangs" in words:
    sys.stdin.close()
    import signal
    signal.pause()
"""
pytestmark = pytest.mark.usefixtures("traced")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "save.py"
    path.write_text(WRITER)
    return path


def trace(script: Path, *words: str, options: tuple[str, ...] = ()) -> Ended:
    return tornwrite(
        "trace", *options, "--", sys.executable, "-S", str(script), "{dir}", *words, cwd=script.parent
    )


def folded(ended: Ended) -> str:
    return " ".join(ended.out.split())


@pytest.mark.real
def test_each_operation_says_from_when_on_it_is_durable(script: Path) -> None:
    ended = trace(script, "fsync", "directory")
    assert (ended.exit_code, ended.err) == (0, "")
    assert [line for line in ended.out.splitlines() if len(line) > 80] == []
    assert "durable after 2 (ext4, xfs, btrfs), after 5 (posix)" in folded(ended)
    assert folded(ended).count("all before it durable already") == 2
    assert "advice:" not in ended.out
    ended = trace(script, options=("--profile", "ext4"))
    assert folded(ended).count("not all before it is durable by the end") == 2


@pytest.mark.real
def test_advice_and_audit_for_people(script: Path) -> None:
    ended = trace(script, options=("--advise", "--audit"))
    assert (ended.exit_code, ended.err) == (0, "")
    text = folded(ended)
    assert "Fsync state.json.tmp before the rename at operation 3 (at 2 places) and the directory after it" in text
    assert "states under posix, ext4, xfs, btrfs and a kill are violated; without the fsync" in text
    assert "rename over state.json (operation 8): load-bearing under a kill" in text
    assert [line for line in ended.out.splitlines() if len(line) > 80] == []
    ended = trace(script, "fsync", "directory", options=("--advise", "--audit"))
    assert "Nothing to advise: 0 of" in folded(ended)
    assert "fsync of state.json.tmp before its rename, 2 times from operation 2: load-bearing" in folded(ended)


@pytest.mark.real
def test_advice_and_audit_for_machines(script: Path) -> None:
    document = trace(script, "in_place", options=("--json", "--advise", "--audit")).document
    shape = schema("trace_result")
    assert list(problems(document["result"], shape, shape)) == []
    result = document["result"]
    assert result["profiles"] == list(DEFAULT_PROFILES)
    assert result["advice"]["outcome"] == "repaired"
    assert [step["kind"] for step in result["advice"]["steps"]] == ["replace_in_place"]
    assert result["advice"]["steps"][0]["edits"][0]["edit"] == "replace_in_place"
    assert result["audit"]["barriers"] == []
    assert len(result["advice_text"]) >= 2
    write = result["operations"][1]
    assert write["durable_after"] == dict.fromkeys(DEFAULT_PROFILES, -1)
    assert result["operations"][2]["durable_after"] == {}


@pytest.mark.real
def test_all_profiles_and_one_of_a_file(script: Path) -> None:
    (script.parent / "mine.toml").write_text('extends = "ext4"\ntitle = "mine"\nsource = "a test"\n')
    document = trace(script, options=("--json", "--profile", "all,mine.toml")).document
    assert document["result"]["profiles"] == [*list_profiles(), "mine"]
    assert document["result"]["advice"] is None


@pytest.mark.real
def test_a_run_that_cannot_be_built_upon_gets_no_advice(script: Path) -> None:
    ended = trace(script, "hangs", options=("--timeout", "1", "--advise"))
    assert ended.exit_code == 3
    assert "no advice: the run" in ended.out
    assert "advice:\n" not in ended.out


@pytest.mark.parametrize(
    ("profiles", "told"),
    [
        ("xt4", "no profile 'xt4'; did you mean 'ext4'?"),
        ("ext4,,btrf", "no profile 'btrf'; did you mean 'btrfs'?"),
        (",", "an empty list; valid: apfs, btrfs, ext4"),
        ("missing.toml", "missing.toml"),
    ],
)
def test_a_profile_that_is_none_is_one_line(profiles: str, told: str) -> None:
    ended = in_process("trace", "--profile", profiles, "--", "python", "{dir}")
    assert ended.exit_code == 2
    assert told in ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("\n") == 1
