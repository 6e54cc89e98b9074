"""``check_writer`` without pytest: acknowledgements, commands, starting files, what cannot be judged."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.testing import NotCrashSafeError, NotMeasuredError, UsageError, check_writer
from tests.survivors import new_mark, survivors

pytestmark = pytest.mark.real
KILL = ("kill",)


def append_then_say(dir: Path, ack: Callable[[object], None]) -> None:
    for number in range(3):
        with open(dir / "log", "a") as stream:
            stream.write(f"{number}\n")
        ack(number)


def say_then_append(dir: Path, ack: Callable[[object], None]) -> None:
    for number in range(3):
        ack(number)
        with open(dir / "log", "a") as stream:
            stream.write(f"{number}\n")


def holds_all(dir: Path, acked: list[str]) -> None:
    lines = (dir / "log").read_text().split() if (dir / "log").exists() else []
    assert set(acked) <= set(lines), f"{sorted(set(acked) - set(lines))} were acknowledged and are gone"


def test_acknowledged_updates_are_held_against_the_states() -> None:
    held = check_writer(append_then_say, holds_all, faults=KILL)
    assert held.states > 3
    assert held.text.startswith("held under kill: ")
    with pytest.raises(NotCrashSafeError) as caught:
        check_writer(say_then_append, holds_all, faults=KILL)
    message = " ".join(str(caught.value).split())
    assert "crash point killed before its 2nd opening of log" in message
    assert "AssertionError: ['1'] were acknowledged and are gone" in message


def test_without_a_check_files_are_judged_by_what_the_run_did() -> None:
    def rewrites(dir: Path) -> None:
        (dir / "a.json").write_text(json.dumps([1] * 3000))

    with pytest.raises(NotCrashSafeError, match=r"leaves a\.json torn \(M1\)"):
        check_writer(rewrites, faults=KILL)


def test_a_full_disk_is_another_fault() -> None:
    def careless(dir: Path) -> None:
        with contextlib.suppress(OSError):  # and renamed all the same
            (dir / "new").write_text("whole")
        (dir / "new").replace(dir / "a")

    def whole(dir: Path) -> bool:
        return not (dir / "a").exists() or (dir / "a").read_text() == "whole"

    with pytest.raises(NotCrashSafeError, match="fails with ENOSPC"):
        check_writer(careless, whole, faults=("kill", "errno"))


def test_commands_write_and_judge(tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text("import sys, json\njson.dump(['x' * 60] * 99, open(sys.argv[1] + '/a.json', 'w'))\n")
    judge = tmp_path / "judge.py"
    judge.write_text(
        "import sys, json\ntry: json.load(open(sys.argv[1] + '/a.json'))\nexcept ValueError: sys.exit(1)\n"
        "except OSError: sys.exit(1)\n"
    )
    with pytest.raises(NotCrashSafeError, match=r"save\.py does not survive a crash"):
        check_writer(
            [sys.executable, script, "{dir}"],
            [sys.executable, str(judge), "{dir}"],
            faults=KILL,
            start={"a.json": "[]"},
        )


def test_what_is_there_before_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "kept").write_text("kept")

    def kept(dir: Path) -> bool:
        return (dir / "sub" / "kept").read_text() == "kept"

    def writes(dir: Path) -> None:
        (dir / "more").write_text("x")

    for start in ({"sub/kept": "kept"}, tmp_path):
        assert check_writer(writes, kept, start=start, faults=KILL).states
    with pytest.raises(UsageError, match=r"start: '\.\./x' is not a path inside the state directory"):
        check_writer(append_then_say, start={"../x": ""})


def _never(dir: Path) -> bool:
    return False


@pytest.mark.parametrize(
    ("writer", "holds", "more", "said"),
    [
        (
            lambda dir: 1 / 0,
            None,
            {},
            "fails with no fault at all: exit code 1: ZeroDivisionError: division by zero",
        ),
        (lambda dir: 1 / 0, _never, {}, "fails with no fault at all: exit code 1: ZeroDivisionError"),
        (
            append_then_say,
            _never,
            {},
            "your check rejects what the writer leaves with no fault at all: it returned False",
        ),
        (append_then_say, _never, {"start": {}}, "your check rejects the files that are there before (start)"),
        (append_then_say, lambda dir: sys.exit("no"), {}, "SystemExit: no"),
        (lambda dir: None, None, {}, "changed nothing in its state directory"),
    ],
)
def test_not_measured_is_not_held(writer: Any, holds: Any, more: dict[str, Any], said: str) -> None:
    with pytest.raises(NotMeasuredError) as caught:
        check_writer(writer, holds, faults=KILL, **more)
    assert said in " ".join(str(caught.value).split())


def test_a_check_that_hangs_or_leaves_processes_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.campaign.programs.COMMAND_TIMEOUT_S", 0.3)
    mark = new_mark()

    def hangs(dir: Path) -> None:
        if not os.fork():
            os.setsid()
            os.execv("/bin/sh", ["sh", "-c", f"sleep 60 # {mark}"])
        time.sleep(60)

    with pytest.raises(NotMeasuredError, match="did not end in time"):
        check_writer(append_then_say, hangs, faults=KILL)
    assert survivors(mark, 1.0) == set()
