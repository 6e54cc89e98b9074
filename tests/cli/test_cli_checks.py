"""``--check``: it is tested itself, then believed; what it says of a state is kept; what it cannot mean is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_line import JUDGE, WRITER, Ended, in_process, probe, tornwrite

from tests.survivors import new_mark, survivors

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("traced")]


def check(behaviour: str, *more: str) -> str:
    return f"{sys.executable} {JUDGE} {behaviour} {{dir}} " + " ".join(more)


def last_line(ended: Ended, start: str) -> str:
    (line,) = [line for line in ended.out.splitlines() if line.startswith(start)]
    return line


@pytest.mark.parametrize(
    ("behaviour", "code", "start", "words"),
    [
        ("accepts", 3, "Inconclusive: ", "your check accepts an empty directory"),
        (
            "rejects",
            3,
            "Inconclusive: ",
            "your check rejects the state of an undisturbed run, and all on the way there: exit code 1",
        ),
        (
            "crashes",
            4,
            "Broken: ",
            "your check cannot judge the state of an undisturbed run: exit code 9 (--show-content",
        ),
        ("dies", 4, "Broken: ", "your check cannot judge the state of an undisturbed run: died of signal 6"),
    ],
)
@pytest.mark.parametrize("faults", ["kill", "errno"])
def test_a_check_that_can_prove_nothing(
    behaviour: str, code: int, start: str, words: str, faults: str, here: Path
) -> None:
    ended = probe("good", "--faults", faults, "--check", check(behaviour), cwd=here)
    assert ended.exit_code == code, ended.out
    assert words in last_line(ended, start)


def test_a_check_that_rejects_only_the_end_has_found_what_needs_no_fault(here: Path) -> None:
    ended = probe("good", "--json", "--faults", "kill", "--check", check("rejects_the_last", "{acked}"), cwd=here)
    document = ended.document
    assert document["exit_code"] == 1
    found = {item["finding"]["fault_class"]: item["finding"] for item in document["result"]["findings"]}
    assert found["none"]["invariant"] == "check"
    assert found["none"]["confirmation"]["confirmed"] == 3


def test_a_check_that_hangs_is_ended(here: Path) -> None:
    mark = new_mark()
    ended = probe("good", "--faults", "kill", "--check", check("hangs", mark), cwd=here)
    assert survivors(mark, 1.0) == set()
    assert ended.exit_code == 4
    assert "did not end in time" in last_line(ended, "Broken: ")


def test_a_check_judges(here: Path) -> None:
    judges = check("judges", "{acked}", "{acks}")
    assert probe("good", "--faults", "kill", "--check", judges, cwd=here).exit_code == 0
    ended = probe("torn", "--json", "--faults", "kill", "--check", judges, cwd=here)
    document = ended.document
    assert document["exit_code"] == 1
    findings = [item["finding"] for item in document["result"]["findings"]]
    assert {finding["invariant"] for finding in findings} == {"check"}
    for finding in findings:
        assert finding["confirmation"]["confirmed"] == finding["confirmation"]["attempts"] == 3
        for evidence in (finding["evidence"], finding["confirmation"]["evidence"]):
            said = json.loads(evidence["said"])
            assert said["verdict"] == "torn"
            assert said["\x1b[31mname"] == "\u202e"
    report = in_process("report", "--markdown").out
    assert "\x1b" not in report
    assert "\u202e" not in report


def test_a_finding_of_a_check_is_replayed_with_it(here: Path) -> None:
    judges = check("judges", "{acked}", "{acks}")
    document = probe("torn", "--json", "--faults", "kill", "--check", judges, cwd=here).document
    token = document["result"]["findings"][0]["finding"]["token"]
    without = tornwrite("replay", token, "--", sys.executable, WRITER, "torn", "{dir}", cwd=here)
    assert without.exit_code == 2
    assert "--check" in without.err
    words = ("replay", token, "--check", judges, "--times", "2", "--", sys.executable, WRITER)
    again = tornwrite(*words, "torn", "{dir}", cwd=here)
    assert again.exit_code == 1
    assert again.out.startswith("REPRODUCED 2/2")
    fixed = tornwrite(*words, "good", "{dir}", cwd=here)
    assert fixed.out.startswith("FIXED"), fixed
    assert fixed.exit_code == 0
    assert "not the command and check this token was made for" in fixed.err


def test_what_a_check_accepts_is_no_violation(here: Path) -> None:
    """What only the null run suggests (a document rewritten in place is torn) is not held against the check."""
    lenient = f"{sys.executable} -c 'import os,sys; sys.exit(not os.listdir(sys.argv[1]))' {{dir}}"
    document = probe("torn", "--json", "--faults", "kill", "--check", lenient, cwd=here).document
    assert {item["finding"]["invariant"] for item in document["result"]["findings"]} <= {"check"}


def test_the_last_acknowledgement_of_two_actors_is_ambiguous(here: Path) -> None:
    for words in (("--check", check("accepts", "{acked}")), ("--json", "--check", check("accepts", "{acked}"))):
        ended = probe("two_actors", "--faults", "kill", *words, cwd=here)
        assert ended.exit_code == 2
        text = ended.document["errors"][0] if "--json" in words else ended.err
        assert "{acked} is ambiguous, 2 actors acknowledge (p0, p1); use {acks}" in text
    assert probe("two_actors", "--faults", "kill", "--check", check("accepts", "{acks}"), cwd=here).exit_code == 3


def test_a_check_that_did_not_see_every_state_holds_nothing(here: Path) -> None:
    judges = check("judges", "{acked}", "{acks}")
    ended = probe("good", "--faults", "kill", "--budget", "1ms", "--check", judges, cwd=here)
    assert ended.exit_code == 3
    assert "0 of " in last_line(ended, "Inconclusive: ") and "(--budget)" in last_line(ended, "Inconclusive: ")


def test_a_check_is_shown_cut_writes_too(here: Path) -> None:
    judges = check("judges", "{acked}", "{acks}")
    ended = probe("torn", "--faults", "short", "--check", judges, cwd=here)
    assert ended.exit_code == 1
    assert "cuts of its writes were shown to its check" in ended.out
    assert "is cut short after" in ended.out and "a state that its check rejects" in ended.out
