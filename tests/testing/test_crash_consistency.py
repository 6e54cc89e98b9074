"""The state machine over planted writers: what only a sequence shows is found and shrunk, a correct one stays clean."""

from __future__ import annotations

import os
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from sequence_writers import (
    appends,
    does_nothing,
    fails,
    fails_on_what_it_finds,
    lets_a_shell_write,
    recovers,
    repairs_into_what_a_crash_left,
    saves,
    waits_for_what_it_finds,
)

from harness.campaign.plan import NoEngineError as NoEngineHere
from harness.engines import engine
from harness.strategies import CrashConsistency
from harness.testing import UsageError
from harness.testing.runner import Runner
from tests.survivors import new_mark, survivors

pytestmark = pytest.mark.real


def outcome(machine: type[CrashConsistency], **more: Any) -> str:
    """Run the test of a machine as a runner would; return how it failed, an empty string if it did not."""
    test = machine.TestCase
    test.settings = settings(test.settings, database=None, derandomize=True, **more)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(test).run(result)
    assert result.testsRun == 1 and not result.skipped
    return "".join(text for _, text in result.failures + result.errors)


def steps(text: str) -> list[str]:
    """Return the steps that the message of a failure lists."""
    told = text.rpartition("NotCrashSafeError: ")[2].partition("Failing")[0].splitlines()
    return [line.strip().partition(". ")[2] for line in told if line.strip()[:1].isdigit()]


class Journal(CrashConsistency):
    """A torn last line is healed by the next start, so it is no damage; anything else is."""

    writer = appends

    def check(self, directory: Path, acknowledged: list[str]) -> object:
        journal = directory / "journal"
        lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
        assert lines == [f"{number} record" for number in range(1, len(lines) + 1)]
        return [f"{name} is gone" for name in acknowledged if int(name) > len(lines)]


class Careless(Journal):
    writer = repairs_into_what_a_crash_left


def test_damage_of_a_second_crash_is_found_with_the_fewest_steps() -> None:
    text = outcome(Careless, max_examples=300)
    assert steps(text) == [
        "update; acknowledged 1",
        "update, killed after its 1st write to journal",
        "update, killed after its 1st write to journal.new",
        "update; acknowledged 3",
    ]
    assert "your check rejects the state: AssertionError" in text


def test_a_correct_journal_stays_clean() -> None:
    mark = new_mark()

    class Marked(Journal):
        env: ClassVar[dict[str, str]] = {"MARK": mark}

    assert outcome(Marked) == ""
    assert survivors(mark, 1.0) == set()
    assert Marked._shared is None


def appends_here(directory: Path, ack: Callable[[object], None]) -> None:
    """A writer of a module that takes long to import; it says who forked it."""
    appends(directory, ack)
    (directory / "parent").write_text(str(os.getppid()))


def test_runs_are_forked_from_a_process_that_has_the_modules() -> None:
    with Runner() as runner:
        program = runner.program(appends_here, "writer")
        first = runner.run(program, runner.tree_of(None))
        second = runner.run(program, first.final)
        assert (first.engine, second.engine, second.acks) == ("forked", "forked", ("2",))
        assert runner.run(program, first.final) is second  # asked for again, not made again
        shown = runner.show(second.final)
        assert (shown / "journal").read_text() == "1 record\n2 record\n"
        server = (shown / "parent").read_text()
        assert (runner.show(first.final) / "parent").read_text() == server
        assert os.path.exists(f"/proc/{server}")
    assert not os.path.exists(f"/proc/{server}")


def test_what_the_shim_cannot_see_is_run_by_an_engine_that_can() -> None:
    if engine("ptrace").available():
        pytest.skip(engine("ptrace").available())
    with Runner() as runner:
        run = runner.run(runner.program(lets_a_shell_write, "writer"), runner.tree_of(None))
    assert run.engine == "ptrace" and run.trace is not None and "f" in run.final.names


def test_where_there_is_no_engine_the_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise NoEngineHere("no engine can watch file operations here: the test says so")

    monkeypatch.setattr("harness.testing.runner.choose_engine", none)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Journal.TestCase).run(result)
    ((_, reason),) = result.skipped
    assert (result.testsRun, reason) == (
        0,
        "tornwrite: no engine can watch file operations here: the test says so",
    )


class Document(CrashConsistency):
    """Written whole beside the old one; the recovery takes what is there for whole, which it need not be."""

    writer = staticmethod(saves)
    updates = st.sampled_from("abc")
    recovery = recovers

    def check(self, directory: Path, acknowledged: list[str]) -> bool:
        files = [path.read_text() for path in directory.iterdir()]
        return all(text == text[:1] * 3000 and text for text in files) and bool(files) >= bool(acknowledged)


def test_what_is_drawn_reaches_the_writer_and_a_recovery_comes_before_all_else() -> None:
    text = outcome(Document)
    *_, crash, recovery = steps(text)
    assert "', killed after its 1st opening of new" in crash and recovery == "recovery"
    assert "it returned False" in text


SCRIPT = """
import os, sys
path, text = sys.argv[1] + "/document", sys.argv[2]
with open(path + ".new", "w") as stream:
    stream.write(text * 9)
    {sync}
os.rename(path + ".new", path)
{sync_directory}
os.write(1, b"ACK " + text.encode() + b"\\n")
"""
SYNC = "stream.flush(); os.fsync(stream.fileno())"
SYNC_DIRECTORY = "fd = os.open(sys.argv[1], os.O_RDONLY); os.fsync(fd); os.close(fd)"


@pytest.mark.parametrize("durable", [True, False])
def test_the_power_goes_during_a_command(tmp_path: Path, durable: bool) -> None:
    script = tmp_path / "save.py"
    script.write_text(SCRIPT.format(sync=SYNC if durable else "pass", sync_directory=SYNC_DIRECTORY * durable))

    class Saved(CrashConsistency):
        writer: ClassVar[list[str]] = [sys.executable, str(script), "{dir}", "{update}"]
        updates = st.sampled_from("xyz")
        start: ClassVar[dict[str, str]] = {"document": "-" * 9}
        profile = "posix"

        def check(self, directory: Path, acknowledged: list[str]) -> None:
            text = (directory / "document").read_text()
            assert text and text == text[0] * 9
            assert text[0] in {*(acknowledged[-1:] or "-"), *self.pending}

    text = outcome(Saved, max_examples=12)
    assert (text == "") == durable, text
    if not durable:
        (step,) = steps(text)
        assert step.startswith("update 'x', the power cut on posix after ")


def _machine(writer: Any, check: Callable[[Any, Path, list[str]], object] | None, **more: Any) -> Any:
    return type("Made", (CrashConsistency,), {"writer": writer, **({"check": check} if check else {}), **more})


def whole(self: object, directory: Path, acknowledged: list[str]) -> bool:
    return (directory / "journal").exists() or not acknowledged


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (_machine(appends, lambda self, directory, acknowledged: True), "your check accepts an empty directory"),
        (_machine(fails, whole), "the update fails with no fault at all: exit code 1: OSError: no"),
        (_machine(does_nothing, whole), "no update of Made left a file: not measured is not held"),
        (_machine(appends, None), "Made has no check(self, directory, acknowledged)"),
        (_machine(None, whole), "Made has no writer: a callable (dir) or (dir, ack), or a command with {dir}"),
        (_machine(lambda self, dir: None, whole), "Made.writer runs in a process of its own, without self"),
        (_machine(["true"], whole), "the writer does not mention {dir}, the state directory: true"),
        (
            _machine(appends, lambda *_: False, start={}),
            "your check rejects the files that are there before (start)",
        ),
        (_machine(appends, whole, profile="ext5"), "no profile 'ext5'; did you mean 'ext4'?"),
    ],
)
def test_what_cannot_be_measured_is_one_line(machine: type[CrashConsistency], said: str) -> None:
    assert said in outcome(machine, max_examples=5)


@pytest.mark.parametrize(
    ("writer", "said"),
    [
        (fails_on_what_it_finds, "it fails: exit code 1: AssertionError: locked"),
        (waits_for_what_it_finds, "it fails: it does not end in time"),
    ],
)
def test_an_update_that_a_crash_keeps_from_starting_is_a_finding(writer: Any, said: str) -> None:
    def check(self: object, directory: Path, acknowledged: list[str]) -> bool:
        return not (directory / "data").exists() or (directory / "data").read_text() in ("", "x")

    text = outcome(_machine(writer, check, start={"data": "x"}, timeout=3.0), max_examples=10)
    assert steps(text) == ["update, killed after its 1st opening of data", "update"]
    assert said in text


def test_a_machine_runs_without_its_test_case() -> None:
    machine = Journal()
    try:
        machine.run("graceful", None)
        assert machine.acknowledged == ["1"]
    finally:
        machine.teardown()
    with pytest.raises(UsageError, match="has no writer"):
        _machine(None, whole)()
