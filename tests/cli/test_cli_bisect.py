"""``replay --target`` and ``--bisect``: versions of a package of an index in a directory, installed by the real pip."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import msgspec
import pytest
from command_line import Ended, in_process, one_line, start, tornwrite

from harness.campaign.token import ReplayRecord, encode
from harness.catalog import Workload
from harness.core.fault import CrashPoint, FaultPlan, Kill, Timed
from harness.schemas import schema
from tests.report.json_schema_check import problems
from tests.survivors import new_mark, survivors

IN_PLACE = """
def save(path, text):
    with open(path, "w") as file:
        file.write(text)
"""
BY_RENAME = """
import os
def save(path, text):
    with open(path + ".tmp", "w") as file:
        file.write(text)
    os.replace(path + ".tmp", path)
"""
NO_SUCH_FUNCTION = "def keep(path, text): pass\n"
VERSIONS = {"1.0": IN_PLACE, "1.1": IN_PLACE, "1.2": NO_SUCH_FUNCTION, "1.3": BY_RENAME, "1.4": BY_RENAME}

MANIFEST = """
[target]
name = "notes"

[[file]]
glob = "*.tmp"
litter = true

[[file]]
glob = "notes.json"
format = "document"

[[variant]]
name = "saved"
run = ["{python}", "-BEsS", "{target}/driver.py", "{dir}"]
environment = { PACKAGE = "{package}", MARK = "MARKED" }
package = { registry = "pypi", name = "sample-notes", version = "1.0" }
"""
DRIVER = """
import json, os, sys
sys.path.append(os.environ["PACKAGE"])
import sample_notes
for number in range(2):
    sample_notes.save(os.path.join(sys.argv[1], "notes.json"), json.dumps({"n": number, "text": "x" * 5000}))
    os.write(1, b"ACK %d\\n" % number)
"""
POINT = CrashPoint(operation="open", role="notes.json", occurrence=2, phase="after")
RECORD = ReplayRecord(
    target="notes",
    variant="saved",
    version="1.0",
    workload={},
    plan=FaultPlan(faults=(Kill(at=POINT),)),
    fault_class="kill",
    invariant="M1",
    role="notes.json",
    damage="empty",
)
TOKEN = encode(RECORD)
DOES = "leaves notes.json empty when it is killed after its 2nd opening of notes.json (M1)"


def wheel(directory: Path, version: str, source: str) -> None:
    info = f"sample_notes-{version}.dist-info"
    with zipfile.ZipFile(directory / f"sample_notes-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("sample_notes.py", source)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: sample-notes\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def mark(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An index in a directory, a target whose package is in it, an empty cache; the mark of the target's processes."""
    found = new_mark()
    (here / "wheels").mkdir()
    for version, source in VERSIONS.items():
        wheel(here / "wheels", version, source)
    (here / "notes").mkdir()
    (here / "notes" / "target.toml").write_text(MANIFEST.replace("MARKED", found))
    (here / "notes" / "driver.py").write_text(DRIVER)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(here / "wheels"))
    monkeypatch.setenv("TORNWRITE_CACHE", str(here / "cache"))
    return found


@pytest.mark.real
@pytest.mark.usefixtures("traced")
def test_the_first_fixed_version_is_found_with_one_that_does_not_run_beside_it(here: Path, mark: str) -> None:
    ended = tornwrite("replay", TOKEN, "--bisect", "sample-notes", "--times", "1", cwd=here)
    assert ended.exit_code == 0, ended
    first, *lines, last = ended.out.splitlines()
    assert first == "sample-notes: 5 versions from 1.0 to 1.4, at most 5 installs; the token was made"
    assert last == (
        f"sample-notes: 1.1 {DOES}, 1.3 does not: fixed after 1.1, in 1.3 at the latest "
        "(5 versions, 5 installs; could not be run to an answer: 1.2)"
    )
    tried = [line.split("  ")[0] for line in lines if line.startswith("1.")]
    assert tried == ["1.4", "1.0", "1.2", "1.1", "1.3"]
    assert "\n1.1  REPRODUCED 1/1 (" in ended.out
    assert "\n1.2  skipped: the run without a fault failed with exit code 1" in ended.out
    assert "\n1.3  FIXED 0/1: crash point gone; " in ended.out
    assert max(map(len, (first, *lines))) <= 80
    assert ended.err.count("installing sample-notes 1.") == 5
    assert f"what was installed stays in {here / 'cache'}" in ended.err
    assert survivors(mark, 1.0) == set()

    # All of them are in the cache now, and answer again from there.
    words = ("replay", TOKEN, "--bisect", "notes/saved", "--to", "1.1", "--times", "1", "--json")
    again = tornwrite(*words, cwd=here)
    assert (again.exit_code, again.err) == (5, "")
    result, shape = again.document["result"], schema("bisection")
    assert list(problems(result, shape, shape)) == []
    assert (result["search"]["turn"], result["installs"]) == ("same", 0)
    assert result["search"]["versions"] == ["1.0", "1.1"]
    assert f"1.1 {DOES}, and so does 1.0: the ends of the range answer the same" in result["text"]

    one = tornwrite("replay", TOKEN, "--target", "Sample_Notes@1.3", "--times", "1", cwd=here)
    assert (one.exit_code, one.err) == (0, "")
    assert one.out.startswith("sample-notes 1.3, with a token made with 1.0:\nFIXED: crash point gone; ")
    assert "(notes/saved@1.3, M1, " in one.out


@pytest.mark.real
@pytest.mark.usefixtures("traced")
def test_a_version_is_installed_and_replayed(here: Path, mark: str) -> None:
    ended = tornwrite("replay", TOKEN, "--target", "notes@latest", "--times", "1", "--json", cwd=here)
    assert (ended.exit_code, ended.document["result"]["version"]) == (0, "1.4")
    assert ended.document["result"]["made_with"] == "1.0"
    wrong = tornwrite("replay", TOKEN, "--target", "notes@1.4.1", cwd=here)
    assert (wrong.exit_code, wrong.out) == (2, "")
    assert wrong.err.splitlines() == [
        "tornwrite: installing sample-notes 1.4.1 …",
        "tornwrite: sample-notes has no version '1.4.1'; did you mean '1.4'?",
    ]


@pytest.mark.real
@pytest.mark.usefixtures("traced")
def test_a_search_is_interrupted(here: Path, mark: str) -> None:
    words = ("replay", TOKEN, "--bisect", "sample-notes", "--times", "1")
    with start(*words, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"1.4 "):
            assert process.poll() is None
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted; versions tried: 1; " in err and b"Traceback" not in err
    assert b"fixed" not in out
    assert survivors(mark, 1.0) == set()
    assert not [name for name in os.listdir(here / "cache" / "targets") if "building" in name]


PROBE = encode(ReplayRecord(target="probe", kind="probe", digest="0" * 32, invariant="M1"))
BUGGY = encode(ReplayRecord(target="reference", variant="buggy", plan=RECORD.plan, fault_class="kill"))
STRANDS = ReplayRecord(
    target="published", variant="strands_messages", version="1.62.0", plan=RECORD.plan, fault_class="kill"
)
TIMED = encode(
    ReplayRecord(
        target="published",
        variant="strands_messages",
        version="1.62.0",
        plan=FaultPlan(faults=(Timed(delay_us=5),)),
        fault_class="kill",
    )
)
WRONG = [
    ((PROBE, "--target", "x@1", "--", "python", "x"), ["--target", "of a probe"]),
    ((PROBE, "--bisect", "x"), ["--bisect", "of a probe"]),
    (
        (PROBE, "--bisect", "x", "--", "python", "x"),
        ["of a probe: its versions are commands; replay it with another"],
    ),
    ((BUGGY, "--target", "reference@2"), ["reference/buggy is no published package"]),
    ((BUGGY, "--bisect", "reference"), ["reference/buggy is no published package"]),
    ((BUGGY, "--from", "1.0"), ["--from, --to and --pre go with --bisect"]),
    ((BUGGY, "--target", "reference@1", "--pre"), ["go with --bisect"]),
    ((encode(STRANDS), "--target", "strands-agents"), ["names no version", "give strands-agents@VERSION"]),
    ((encode(STRANDS), "--target", "strands-agent@1.15.0"), ["did you mean 'strands-agents'?"]),
    ((encode(STRANDS), "--target", "server_memory@1.15.0"), ["the token is of published/strands_messages"]),
    ((encode(STRANDS), "--target", "published@1 --pre"), ["'1 --pre' is not a version"]),
    ((encode(STRANDS), "--target", "published@1", "--bisect", "published"), ["either --target", "or --bisect"]),
    ((encode(STRANDS), "--target", "published@1", "--", "python"), ["names the target 'published'", "no command"]),
    ((encode(STRANDS), "--bisect", "strands-agents@1.14.0"), ["--bisect takes no version", "--to 1.14.0"]),
    ((encode(STRANDS), "--bisect", "strand-agents"), ["did you mean 'strands-agents'?"]),
    ((encode(STRANDS), "--bisect", ""), ["not of ''"]),
    ((TIMED, "--bisect", "strands-agents"), ["cannot be bisected", "at a random moment"]),
]


@pytest.mark.parametrize(("args", "fragments"), WRONG, ids=lambda item: " ".join(item)[-40:])
def test_a_wrong_word_is_one_line(args: tuple[str, ...], fragments: list[str], here: Path) -> None:
    ended = in_process("replay", *args)
    assert ended.exit_code == 2
    line = one_line(ended)
    assert not [fragment for fragment in fragments if fragment not in line], line


@pytest.mark.skipif(sys.platform != "linux", reason="the exact engine of Linux")
def test_a_registry_that_cannot_be_asked_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(here))
    ended = in_process("replay", encode(STRANDS), "--bisect", "strands-agents")
    assert ended.exit_code == 2
    assert one_line(ended) == ("strands-agents: its versions cannot be listed: the package index does not have it")


@pytest.mark.real
@pytest.mark.download
@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("traced")
def test_strands_agents_was_fixed_in_1_15(here: Path, evidence: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own history: up to 1.14 a session's files are rewritten in place, from 1.15 on replaced."""
    if not evidence:
        pytest.skip("nine installations: --evidence makes them")
    monkeypatch.setenv("TORNWRITE_CACHE", str(here / "cache"))
    role = "session_importer/agents/agent_default/agent.json"
    point = CrashPoint(operation="open", role=role, occurrence=1, phase="after")
    record = ReplayRecord(
        target="published",
        variant="strands_in_place",
        version="1.14.0",
        workload=msgspec.to_builtins(Workload(sessions=1, updates=3)),
        plan=FaultPlan(faults=(Kill(at=point),)),
        fault_class="kill",
        invariant="M1",
        role=role,
        damage="empty",
    )
    with start(
        "replay", encode(record), "--bisect", "strands-agents", "--json", cwd=here, stdout=subprocess.PIPE
    ) as it:
        out, _ = it.communicate(timeout=2800)
    ended = Ended(it.returncode, out.decode(), "")
    result = ended.document["result"]
    search = result["search"]
    print(result["text"], *(f"{item['version']} {item['seconds']:.0f} s" for item in search["tried"]), sep="\n")
    assert ended.exit_code == 0
    assert (search["turn"], search["before"], search["after"], search["between"]) == (
        "fixed",
        "1.14.0",
        "1.15.0",
        [],
    )
    assert result["installs"] <= search["limit"] == (len(search["versions"]) - 1).bit_length() + 2
