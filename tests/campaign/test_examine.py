"""What real programs say of states: samples, damage that a check must see, and bounds for slow targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign import examine
from harness.campaign.check import damaged_trees
from harness.campaign.context import Case, Context, Measured
from harness.campaign.examine import (
    check_violations,
    commands_for,
    judging_commands,
    outcome_violations,
    recovery_phase,
    spread,
)
from harness.campaign.executor import Call, Outcome
from harness.campaign.programs import CommandOutcome
from harness.campaign.sharding import Split
from harness.campaign.work import Explored, Judged, describe
from harness.catalog import Subject
from harness.checks import FileBinding
from harness.core.operation import Ack, Write
from harness.core.run import Recording, RunSpec
from harness.core.trace import Trace
from harness.core.tree import EMPTY_TREE, File, Tree, tree_of
from harness.explore import CrashState, crash_states
from harness.explore.script import Script
from harness.sandbox.command import CommandResult

SPEC = RunSpec(argv=("x",), root="/w/state", cwd="/w/cwd", environment={})


@given(st.lists(st.integers(), max_size=70))
def test_spread_loses_nothing(items: list[int]) -> None:
    assert sorted(spread(items)) == sorted(items)


@given(st.integers(2, 200), st.integers(2, 200))
def test_any_beginning_of_a_spread_is_an_even_sample(size: int, taken: int) -> None:
    chosen = sorted(spread(range(size))[:taken])
    assert chosen[0] == 0
    assert chosen[-1] == size - 1
    gaps = [after - before for before, after in pairwise(chosen)]
    assert max(gaps, default=1) <= 2 * -(-size // max(1, min(taken, size) - 1)) + 1


def test_damage_is_emptied_cut_and_nul_filled() -> None:
    tree = tree_of({"a": b"0123456789", "d/b": b"xy"})
    emptied, cut, nul = damaged_trees(tree)
    assert emptied == EMPTY_TREE
    assert {path: file.content.to_bytes() for path, file in cut.files()} == {"a": b"01234", "d/b": b"x"}
    assert {path: file.content.to_bytes() for path, file in nul.files()} == {"a": bytes(10), "d/b": bytes(2)}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (CommandResult(exit_code=3), "exit code 3"),
        (CommandResult(signal=9, timed_out=True), "did not end in time"),
        (CommandResult(signal=11), "died of signal 11"),
        (CommandResult(not_started="no such program"), "no such program"),
    ],
)
def test_how_a_program_ended(result: CommandResult, words: str) -> None:
    assert describe(result) == words


def test_only_exit_code_1_is_a_violation() -> None:
    assert [len(check_violations(CommandResult(exit_code=code))) for code in (0, 1, 2)] == [0, 1, 0]
    assert check_violations(CommandResult(signal=9, timed_out=True)) == ()
    assert check_violations(None) == ()


def trace_of_lines(count: int) -> Trace:
    tree = tree_of({"log": b""})
    operations: list[Any] = []
    for number in range(count):
        operations.append(
            Write(seq=2 * number, ino=tree.names["log"], offset=3 * number, data=b"%d\n\n" % (number % 10))
        )
        operations.append(Ack(seq=2 * number + 1, id=str(number)))
    return Trace(root="/w/state", engine="ptrace", start=tree, operations=tuple(operations))


def measured(trace: Trace, **subject: Any) -> Measured:
    recording = Recording(spec=SPEC, engine="ptrace", final=trace.start, ending="exited", trace=trace)
    judged = Judged(
        bindings=(FileBinding(glob="log", format="log"),), inferred=False, masked=False, invariants=frozenset()
    )
    case = Case(
        subject=Subject(target="t", variant="v", version="", spec=SPEC, **subject), faults=("kill",), sample_max=24
    )
    return Measured(case, Explored(recording=recording, judged=judged))


class Desk:
    """The parts of a campaign's context that the phase uses, and what it said through them."""

    def __init__(self, seconds_per_state: float, clock: list[float]) -> None:
        self.said: list[str] = []
        self.rows: dict[str, Any] = {}
        self.seen: list[Tree] = []
        self.done: dict[str, Any] = {}
        self.executor = self
        self.ledger = self
        self.deadline = math.inf
        self.split = Split()
        self._pace, self._clock = seconds_per_state, clock

    def run(self, calls: Iterator[Call]) -> Iterator[Outcome]:
        for call in calls:
            (request,) = call.args
            self.seen.append(request.state)
            self._clock[0] += self._pace
            answer = CommandResult(exit_code=0)
            yield Outcome(call.key, (CommandOutcome(name="list", result=answer, after=request.state),))

    def record(self, row: Any) -> None:
        self.rows[row.trial_id] = row

    def notice(self, text: str, case: Case) -> None:
        self.said.append(text)

    def expired(self) -> bool:
        return False

    def begin_phase(self) -> None: ...

    def phase(self, *_: object) -> None: ...

    def observe(self, *_: object) -> tuple[str, ...]:
        return ()

    def save(self, *_: object) -> None: ...


def shown(monkeypatch: pytest.MonkeyPatch, seconds_per_state: float) -> Desk:
    clock = [0.0]
    monkeypatch.setattr(examine.time, "monotonic", lambda: clock[0])
    desk = Desk(seconds_per_state, clock)
    recovery_phase(cast(Context, desk), [measured(trace_of_lines(20), list_command=("lister",))])
    return desk


def test_a_fast_target_is_shown_all_of_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = shown(monkeypatch, 0.01)
    assert (len(desk.rows), desk.said) == (24, [])


def test_a_slow_target_is_shown_fewer_states_for_about_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = shown(monkeypatch, 1.4)
    assert len(desk.rows) == 8
    assert desk.said == ["recover and list looked at 8 of 24 states: time used up"]


def test_a_very_slow_target_is_shown_four_states(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(shown(monkeypatch, 60.0).rows) == 4


def test_a_target_without_programs_of_its_own_is_shown_nothing() -> None:
    assert judging_commands(Subject(target="t", variant="v", version="", spec=SPEC)) == ()


def test_the_place_of_a_state_is_where_a_real_run_is_struck() -> None:
    item = measured(trace_of_lines(3))
    states: dict[tuple[int, str], CrashState] = {(s.seq, s.phase): s for s in crash_states(item.trace, "kill")}
    write = item.place_of(states[2, "after"])
    assert write is not None
    assert (write.operation, write.role, write.occurrence, write.phase) == ("write", "log", 2, "after")
    acknowledged = item.place_of(states[3, "after"])
    assert acknowledged is not None
    assert (acknowledged.occurrence, acknowledged.phase) == (3, "before")  # nothing can be struck at an ack
    assert item.place_of(states[5, "after"]) is None  # the end of the undisturbed run
    assert item.has_point(write)


def test_states_hold_files() -> None:
    assert all(
        isinstance(file, File)
        for state in crash_states(trace_of_lines(1), "kill")
        for _, file in state.tree.files()
    )


SESSION = "p/0b0b0b0b-1111-4222-8333-444444444444.jsonl"
NAME = SESSION[2:-6]
PROMPT = b'{"type":"user","uuid":"u","message":{"role":"user","content":"hi"}}\n'
ENTRY = b'{"sessionId":"local_x","cliSessionId":"%s","isPinned":true}' % NAME.encode()


def registry_case() -> Measured:
    """A session acknowledged with its transcript and a pinned registry entry."""
    script = Script()
    for directory in ("p", "r"):
        script.mkdir(directory)
    script.replace(SESSION, PROMPT)
    script.replace("r/local_x.json", ENTRY)
    script.ack("u")
    recording = Recording(spec=SPEC, engine="ptrace", final=script.tree, ending="exited", trace=script.trace())
    bindings = (FileBinding("p/*.jsonl", "transcript", id_key="uuid"), FileBinding("r/*.json", "registry"))
    judged = Judged(bindings=bindings, inferred=False, masked=False, invariants=frozenset({"M9", "M10", "W10"}))
    subject = Subject(target="t", variant="v", version="", spec=SPEC, resume=("resume", "{id}"))
    case = Case(subject=subject, faults=("kill",), invariants=judged.invariants)
    return Measured(case, Explored(recording=recording, judged=judged))


def said(*outcomes: CommandOutcome) -> list[tuple[str, str]]:
    found = outcome_violations(registry_case(), damaged(), 1, outcomes)
    return [(item.invariant, item.damage) for item in found]


def damaged() -> Tree:
    return tree_of({SESSION: PROMPT, "r/local_x.json": bytes(9)})


def outcome(name: str, stdout: bytes = b"", exit_code: int = 0, **more: Any) -> CommandOutcome:
    result = CommandResult(exit_code=exit_code, stdout=stdout)
    return CommandOutcome(name=name, result=result, **{"after": damaged(), **more})


def test_the_sessions_that_must_be_found_are_resumed() -> None:
    assert commands_for(registry_case(), damaged()) == ((f"resume {NAME}", ("resume", NAME)),)


def test_a_session_that_neither_a_lister_nor_a_resume_finds() -> None:
    lister = outcome("list", b"")
    assert said(lister, outcome(f"resume {NAME}", exit_code=1)) == [("M10", "unreadable")]
    assert said(lister, outcome(f"resume {NAME}", b'{"error": "unknown"}')) == [("M10", "unreadable")]
    found = outcome(f"resume {NAME}", b'{"messages": []}')
    assert said(lister, found) == [("M10", "unreadable")]
    assert said(outcome("list", b'{"id": "%s"}' % NAME.encode()), found) == []
    assert said(found) == []
    warned = outcome("list", b'{"warning": "unreadable", "name": "local_x.json"}')
    assert said(warned, found) == []
    assert said(warned, outcome(f"resume {NAME}", exit_code=1)) == [("M10", "unreadable")]


def test_a_resume_that_could_not_be_started_says_nothing() -> None:
    result = CommandResult(not_started="no such program")
    assert said(CommandOutcome(name=f"resume {NAME}", result=result, after=damaged())) == []


def test_what_recovery_lost_is_a_violation_unless_it_said_so() -> None:
    assert said(outcome("recover")) == [("M9", "lost")]
    assert said(outcome("recover", b'{"lost": "pin", "id": "local_x"}\n')) == []


def test_a_second_recovery_is_held_against_the_first() -> None:
    said_so = b'{"lost": "pin", "id": "local_x"}\n'
    more = tree_of({SESSION: PROMPT, "r/local_x.json": bytes(9), "r/local_y.json": ENTRY})
    fine, fails = CommandResult(exit_code=0), CommandResult(exit_code=1)
    assert said(outcome("recover", said_so, second=fine, again=damaged())) == []
    assert said(outcome("recover", said_so, second=fine, again=more)) == [("W10", "extra")]
    assert said(outcome("recover", said_so, second=fails, again=damaged())) == [("W10", "unreadable")]
