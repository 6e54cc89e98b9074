"""Programs that misbehave: one clear line, the right exit code, nothing left running, the run readable afterwards."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import Ended, in_process, one_line, probe, start, tornwrite

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("traced")]

INCONCLUSIVE = 3


class Bad(NamedTuple):
    """A behaviour of the writer, and the words of the line that must say what happened."""

    behaviour: str
    words: str
    timeout_s: str = "20"


UNMEASURED = [
    Bad("hang", "did not end within 0.5 s", "0.5"),
    Bad("stubborn", "did not end within 0.5 s", "0.5"),
    Bad("spin", "did not end within 0.5 s", "0.5"),
    Bad("forks", "more than 256 processes"),
    Bad("sparse", "made a file of 1099511627776 bytes; the most is"),
    Bad("prints", "printed more than 16777216 bytes"),
    Bad("fails", "failed with exit code 7"),
    Bad("dies", "died of signal 11"),
    Bad("nothing", "changed nothing in its state directory"),
    Bad("buffered", "stdout looks block-buffered"),
]


def last_line(ended: Ended, start: str) -> str:
    """Return the line of the output that begins so; there must be one."""
    (line,) = [line for line in ended.out.splitlines() if line.startswith(start)]
    return line


def readable(here: Path) -> None:
    """The run that was just made can be read again, in every form."""
    assert in_process("report").exit_code == 0
    assert in_process("report", "--markdown").exit_code == 0
    assert in_process("report", "--json").document["result"]["finished"] is True
    assert (here / "reports" / "latest" / "report.md").stat().st_size > 0
    assert (here / "reports" / "latest" / "junit.xml").stat().st_size > 0


@pytest.mark.parametrize("bad", UNMEASURED, ids=lambda bad: bad.behaviour)
def test_what_cannot_be_measured_is_inconclusive(bad: Bad, here: Path) -> None:
    ended = probe(bad.behaviour, "--faults", "kill", "--timeout", bad.timeout_s, cwd=here)
    line = last_line(ended, "Inconclusive: ")
    assert ended.exit_code == INCONCLUSIVE
    assert "probe/writer.py" in line
    assert bad.words in line
    assert ended.err == ""
    assert "\x1b" not in ended.out
    readable(here)


def test_a_full_disk_is_a_bound_of_the_run(here: Path) -> None:
    ended = probe("fills", "--faults", "kill", "--timeout", "120", cwd=here)
    assert ended.exit_code == INCONCLUSIVE
    assert "the most is" in last_line(ended, "Inconclusive: ")


def test_the_reason_stands_in_the_json_object(here: Path) -> None:
    document = probe("fails", "--json", "--faults", "kill", cwd=here).document
    assert document["exit_code"] == INCONCLUSIVE
    told = "the run without a fault failed with exit code 7 (tornwrite trace shows what it prints)"
    assert document["errors"] == [f"probe/writer.py: {told}"]
    assert document["result"]["verdict"] == "inconclusive"


def test_a_writer_that_is_well_holds(here: Path) -> None:
    ended = probe("good", "--faults", "kill", cwd=here)
    assert ended.exit_code == 0
    assert last_line(ended, "Held: ")
    readable(here)


def test_a_budget_that_is_too_short_tries_the_most_telling_plans_all_the_same(here: Path) -> None:
    ended = probe("good", "--faults", "errno", "--budget", "1ms", cwd=here)
    assert ended.exit_code == 0, ended.out
    assert re.search(r"12 of \d+ error plans were run: the budget is used up", ended.out)


def test_writes_outside_the_state_directory_are_said(here: Path) -> None:
    ended = probe("outside", "--faults", "kill", cwd=here)
    assert ended.exit_code == 0
    assert "not seen: what was written to" in ended.out
    assert "home/elsewhere, which is outside the state directory" in ended.out


def test_a_daemon_does_not_outlive_its_run(here: Path) -> None:
    ended = probe("daemon", "--faults", "kill", cwd=here)  # probe() looks for survivors
    assert ended.exit_code in (0, INCONCLUSIVE)


def test_a_state_that_is_made_unreadable(here: Path) -> None:
    ended = probe("unreadable", "--faults", "kill", cwd=here)
    assert ended.exit_code in (0, 1, INCONCLUSIVE)
    readable(here)


def test_a_state_directory_that_is_deleted(here: Path) -> None:
    ended = probe("leaves", "--faults", "kill", cwd=here)
    assert ended.exit_code == INCONCLUSIVE
    readable(here)


def test_a_run_that_ends_before_its_fault_is_counted_apart(here: Path) -> None:
    document = probe("moody", "--json", "--faults", "errno", cwd=here).document
    assert document["exit_code"] in (0, 1)
    (line,) = document["result"]["cases"][0]["case"]["classes"]
    assert line["runs"] > 0
    assert document["result"]["inconclusive"] == line["inconclusive"]


def test_hostile_names_move_no_cursor(here: Path) -> None:
    ended = probe("hostile", "--faults", "kill", cwd=here)
    assert ended.exit_code == 1
    assert all(line.isprintable() for line in ended.out.splitlines())
    assert "\\x1b" in ended.out
    readable(here)
    for path in (here / "reports" / "latest").rglob("*"):
        if path.suffix in (".md", ".xml", ".json", ".jsonl"):
            assert b"\x1b" not in path.read_bytes(), path
            assert "\u202e" not in path.read_text(encoding="utf-8"), path


def _program(here: Path, text: str) -> str:
    path = here / "program"
    path.write_text(text)
    path.chmod(0o755)
    return "./program"


def test_a_program_whose_interpreter_is_missing(here: Path) -> None:
    program = _program(here, "#!/no/such/interpreter\n")
    ended = tornwrite("probe", "--", program, "{dir}", cwd=here)
    assert ended.exit_code == 2
    assert "tornwrite: cannot run" in ended.err
    assert ended.err.count("\n") == 1
    assert tornwrite("trace", "--", program, "{dir}", cwd=here).exit_code == 2


def test_a_program_that_is_none(here: Path) -> None:
    ended = tornwrite("probe", "--json", "--", _program(here, "hello\n"), "{dir}", cwd=here)
    document = ended.document
    assert ended.exit_code == 2
    assert "not a program this system can run" in document["errors"][0]
    assert ended.err == ""


def test_a_reader_that_goes_away_ends_no_campaign(here: Path) -> None:
    read, write = os.pipe()
    writer = str(Path(__file__).with_name("writer.py"))
    words = ("probe", "--faults", "kill", "--", sys.executable, writer, "good", "{dir}")
    with start(*words, cwd=here, stdout=write) as process:
        os.close(write)
        os.read(read, 1)
        os.close(read)
        assert process.wait(120) == 0
    readable(here)


def test_a_target_that_fails_is_quoted_by_trace(here: Path) -> None:
    writer = str(Path(__file__).with_name("writer.py"))
    ended = tornwrite("trace", "--", sys.executable, writer, "fails", "{dir}", cwd=here)
    assert "the program ended with exit code 7" in ended.out
    assert "it said: \\x1b[31mno \\u202econfiguration\\x1b[0m" in ended.out
    assert all(line.isprintable() for line in ended.out.splitlines())


def test_a_trace_of_hostile_names(here: Path) -> None:
    writer = str(Path(__file__).with_name("writer.py"))
    ended = tornwrite("trace", "--", sys.executable, writer, "hostile", "{dir}", cwd=here)
    assert ended.exit_code == 0
    rows = [line for line in ended.out.splitlines() if "durable" not in line]
    assert len(rows) == 5 * 4 + 1
    assert all(line.isprintable() for line in ended.out.splitlines())
    document = tornwrite("trace", "--json", "--", sys.executable, writer, "hostile", "{dir}", cwd=here).document
    assert "\x1b[2Jx" in {row["path"] for row in document["result"]["operations"]}


def test_a_trace_that_hangs(here: Path) -> None:
    writer = str(Path(__file__).with_name("writer.py"))
    ended = tornwrite("trace", "--timeout", "0.5", "--", sys.executable, writer, "hang", "{dir}", cwd=here)
    assert ended.exit_code == INCONCLUSIVE
    assert "the program did not end by itself: did not end within 0.5 s" in ended.out


def test_a_trace_of_a_death(here: Path) -> None:
    writer = str(Path(__file__).with_name("writer.py"))
    document = tornwrite("trace", "--json", "--", sys.executable, writer, "dies", "{dir}", cwd=here).document
    assert document["exit_code"] == INCONCLUSIVE
    assert document["errors"] == ["the program did not end by itself: it died of signal 11"]
    assert document["result"]["verified"] is True


def test_a_trace_of_several_processes(here: Path) -> None:
    writer = str(Path(__file__).with_name("writer.py"))
    words = ("trace", "--json", "--", sys.executable, writer, "two_actors", "{dir}")
    document = tornwrite(*words, cwd=here).document
    rows = document["result"]["operations"]
    assert document["exit_code"] == 0
    assert [(row["actor"], row["detail"]) for row in rows if row["kind"] == "ack"] == [("p0", "p1"), ("p1", "c1")]
    assert {row["path"] for row in rows if row["actor"] == "p1"} == {"c.json", "c.json.tmp", ""}


def test_an_error_inside_a_worker_carries_no_traceback(here: Path) -> None:
    ended = in_process("trace", "--", _program(here, "#!/no/such/interpreter\n"), "{dir}")
    assert ended.exit_code == 2
    assert "cannot run" in one_line(ended)
