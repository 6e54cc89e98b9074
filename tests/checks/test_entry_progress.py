"""M9, W9 and M3: a registry entry is as new as the newest acknowledged message of its transcript."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions import ALL, T0, entry, prompt, title, written

from harness.checks import Expectation, Judge
from harness.core.fault import FaultClass
from harness.core.tree import tree_of

A, ENTRY = "projects/p/a.jsonl", "registry/local_a.json"
FIRST, SECOND = prompt(1, T0), prompt(1, T0) + prompt(2, T0 + 5000)


def at(moment: int, **more: object) -> bytes:
    return entry(lastActivityAt=moment, **more)


RUN = written((A, FIRST), (ENTRY, at(T0)), "u1", (A, SECOND), (ENTRY, at(T0 + 5000)), "u2")


def wrong(transcript: bytes, registry: bytes, acked: int | tuple[str, ...], fault_class: FaultClass) -> set[str]:
    expectation = Expectation.from_trace(RUN.trace(), ALL)
    judge = Judge(ALL, expectation, ("M9", "W9", "M3"))
    found = judge.judge(tree_of({A: transcript, ENTRY: registry}), acked, fault_class)
    return {item.invariant for item in found if item.path == ENTRY}


@pytest.mark.parametrize(
    ("fault_class", "invariant"), [("kill", {"M9"}), ("signal", {"M9", "W9"}), ("concurrency", {"M3"})]
)
def test_an_entry_behind_an_acknowledged_message(fault_class: FaultClass, invariant: set[str]) -> None:
    assert wrong(SECOND, at(T0), 2, fault_class) == invariant
    assert wrong(SECOND, at(T0 + 5000), 2, fault_class) == set()
    assert wrong(SECOND, at(T0 + 9000), 2, fault_class) == set()


def test_a_writer_that_stamps_its_entry_with_the_prompt_is_not_behind() -> None:
    """The message comes half a minute after the action that the entry is stamped with, in every update."""
    first, second = prompt(1, T0 + 30_000), prompt(1, T0 + 30_000) + prompt(2, T0 + 90_000)
    run = written((A, first), (ENTRY, at(T0)), "u1", (A, second), (ENTRY, at(T0 + 60_000)), "u2")
    judge = Judge(ALL, Expectation.from_trace(run.trace(), ALL), ("M9",))
    assert judge.judge(tree_of({A: second, ENTRY: at(T0 + 60_000)}), 2, "kill") == ()
    assert [v.invariant for v in judge.judge(tree_of({A: second, ENTRY: at(T0)}), 2, "kill")] == ["M9"]


def test_a_message_in_flight_is_not_owed() -> None:
    assert wrong(SECOND, at(T0), 1, "kill") == set()
    assert wrong(FIRST, at(T0), 0, "kill") == set()


def test_an_entry_without_a_time_or_a_transcript_says_nothing() -> None:
    assert wrong(SECOND, entry(), 2, "kill") == set()
    assert wrong(SECOND, entry(cli="other", lastActivityAt=1), 2, "kill") == set()


def test_the_last_title_of_several_writers() -> None:
    named = SECOND + title("Mine")
    assert wrong(named, at(T0 + 5000, title="Mine", titleSource="user"), ("u1", "u2"), "concurrency") == set()
    other = at(T0 + 5000, title="Yours", titleSource="user")
    assert wrong(named, other, ("u1", "u2"), "concurrency") == {"M3"}
    assert wrong(named, other, 2, "kill") == set()  # the entry is written after the title


@given(st.integers(-10_000, 10_000), st.integers(0, 2))
def test_it_is_behind_exactly_if_it_is_older_than_what_was_acknowledged(offset: int, acked: int) -> None:
    owed = {0: None, 1: T0, 2: T0 + 5000}[acked]
    behind = owed is not None and T0 + offset < owed - 1000  # the two stamps of one update
    assert wrong(SECOND, at(T0 + offset), acked, "kill") == ({"M9"} if behind else set())
