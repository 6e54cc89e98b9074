"""``tornwrite shrink`` on the command line: what it prints in 80 columns, and what it answers where nothing shows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from command_line import in_process, one_line, tornwrite

from harness.campaign.token import decode, encode
from harness.core.fault import FaultPlan, Timed
from tests.killed_entry import entry_opened, killed_entry

KILLED = killed_entry(sessions=1, updates=2)


@pytest.mark.real
def test_each_step_is_told_and_the_last_line_is_the_replay(here: Path, traced: None) -> None:
    ended = tornwrite("shrink", encode(KILLED), "--times", "2", cwd=here)
    assert (ended.exit_code, ended.err) == (0, "")
    *told, last = ended.out.splitlines()
    assert all(len(line) <= 80 for line in told)
    text = " ".join(" ".join(told).split())
    assert "s updates 2 → 1, record bytes 9,000 → 1, occurrence 2 → 1 smallest updates 1, sessions 1" in text
    assert "verified REPRODUCED 2/2 (registry/in_place, M1, " in text
    token = last.removeprefix("tornwrite replay ")
    assert decode(token).plan == entry_opened(1)


@pytest.mark.real
def test_a_token_that_shows_nothing_is_one_line_and_the_code_of_a_replay(here: Path, traced: None) -> None:
    token = encode(msgspec.structs.replace(KILLED, variant="durable"))
    ended = tornwrite("shrink", token, "--times", "1", "--quiet", cwd=here)
    assert ended.exit_code == 0
    assert one_line(ended).startswith("FIXED: crash point gone; ")
    result = tornwrite("shrink", token, "--times", "1", "--json", cwd=here).result("shrinking")
    assert (result["token"], result["verified"]["answer"], result["before"]) == ("", "FIXED", {})


def test_what_cannot_be_shrunk_and_a_command_that_is_not_asked_for_are_refused(here: Path) -> None:
    timed = msgspec.structs.replace(KILLED, plan=FaultPlan(faults=(Timed(delay_us=1),)))
    for words, fragment in (
        (("shrink", encode(timed)), "chance"),
        (("shrink", encode(KILLED), "--", "x"), "no command"),
    ):
        ended = in_process(*words)
        assert ended.exit_code == 2
        assert fragment in one_line(ended)
