"""``tornwrite export``: where the file goes, and what is refused before or instead of it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from command_line import WRITER, in_process, one_line, tornwrite

from harness.campaign.token import ReplayRecord, encode
from harness.core.fault import CrashPoint, FaultPlan, Kill, PowerLoss

KILL = FaultPlan(faults=(Kill(at=CrashPoint(operation="write", role="state.json", occurrence=1)),))
TARGET = encode(ReplayRecord(target="reference", variant="buggy", plan=KILL, fault_class="kill"))
PROBE = encode(
    ReplayRecord(target="probe", kind="probe", plan=KILL, fault_class="kill", invariant="M1", role="state.json")
)
POWER = encode(
    ReplayRecord(
        target="reference",
        variant="buggy",
        plan=FaultPlan(faults=(PowerLoss(at=None, profile="ext4"),)),
        fault_class="power",
    )
)
WRONG = [
    (("--to", "there.py", TARGET), ["'there.py' is there already", "--force"]),
    (("--to", "directory", TARGET), ["'directory' is no name of a file"]),
    (("--to", "", TARGET), ["is no name of a file"]),
    (("--to", "no/where.py", TARGET), ["'no/where.py': its directory does not exist"]),
    ((TARGET,), ["--to"]),
    (("--to", "r.py"), ["TOKEN"]),
    (("--to", "-", "--json", TARGET), ["--json", "--to -"]),
    (("--to", "r.py", "tw9.x"), ["version tw9"]),
    (("--to", "r.py", PROBE), ["of a probe", "after '--'"]),
    (("--to", "r.py", TARGET, "--", "python", "w.py", "{dir}"), ["'reference'", "no command"]),
    (("--to", "r.py", POWER), ["cannot be exported: a power loss is no kill", "tornwrite replay"]),
    (
        ("--to", "r.py", PROBE, "--", sys.executable, "./there.bin", "{dir}"),
        ["cannot be exported", "not UTF-8 text"],
    ),
    (("--too", "r.py", TARGET), ["--too", "--to"]),
]


@pytest.mark.parametrize(("args", "fragments"), WRONG, ids=lambda item: " ".join(item)[:40])
def test_what_is_refused(args: tuple[str, ...], fragments: list[str], here: Path) -> None:
    (here / "there.py").write_text("mine", encoding="utf-8")
    (here / "there.bin").write_bytes(b"\xff\xfe")
    (here / "directory").mkdir()
    ended = in_process("export", *args)
    assert ended.exit_code == 2, ended
    line = one_line(ended) if "--json" not in args else ended.document["errors"][0]
    assert all(fragment in line for fragment in fragments), line
    assert sorted(os.listdir(here)) == ["directory", "there.bin", "there.py"]
    assert (here / "there.py").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])
def test_only_a_regular_file_is_written_over(force: tuple[str, ...], here: Path) -> None:
    os.mkfifo(here / "fifo")
    (here / "there.py").write_text("mine", encoding="utf-8")
    (here / "link").symlink_to("there.py")
    (here / "dangling").symlink_to("nowhere")
    for name in ("fifo", "link", "link/", "dangling"):
        ended = in_process("export", *force, "--to", name, TARGET)
        assert ended.exit_code == 2 and f"{name!r} is there and is no regular file" in one_line(ended), ended
    assert sorted(os.listdir(here)) == ["dangling", "fifo", "link", "there.py"]
    assert stat.S_ISFIFO(os.lstat(here / "fifo").st_mode) and os.readlink(here / "link") == "there.py"
    assert (here / "there.py").read_text(encoding="utf-8") == "mine"


def test_a_device_is_not_written_over(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No device is near this test: a file of a temporary directory says that it is one."""
    (here / "device").write_text("mine", encoding="utf-8")
    seen = os.lstat

    def lstat(path: str) -> os.stat_result:
        found = seen(path)
        return os.stat_result((stat.S_IFCHR | 0o666, *found[1:])) if str(path).endswith("device") else found

    monkeypatch.setattr("harness.cli.export.os.lstat", lstat)
    ended = in_process("export", "--force", "--to", "device", TARGET)
    assert ended.exit_code == 2 and "'device' is there and is no regular file" in one_line(ended), ended
    assert (here / "device").read_text(encoding="utf-8") == "mine"


@pytest.mark.real
def test_it_writes_a_file_or_to_standard_output(here: Path) -> None:
    words = ("--", "python", WRITER, "torn", "{dir}")
    (here / "r.py").write_text("mine", encoding="utf-8")
    made = tornwrite("export", PROBE, "--to", "r.py", "--force", *words, cwd=here)
    assert (made.exit_code, made.out) == (0, ""), made
    assert "lines, run here: REPRODUCED" in made.err
    text = (here / "r.py").read_text(encoding="utf-8")
    assert (
        text.startswith("#!/usr/bin/env python3\n")
        and str(here) not in text
        and os.path.dirname(WRITER) not in text
    )
    assert os.listdir(here) == ["r.py"]
    shown = tornwrite("export", PROBE, "--to", "-", *words, cwd=here)
    assert (shown.exit_code, shown.out) == (0, text)
    told = tornwrite("export", PROBE, "--to", "j.py", "--json", *words, cwd=here)
    assert told.document["result"]["said"] == "REPRODUCED"
    assert (here / "j.py").read_text(encoding="utf-8") == text
