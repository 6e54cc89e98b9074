"""What is typed and when, with a clock of the test."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.engines.strokes import CLEAR, ENTER, Stroke, Typing, command, key, prompt, typed


class Program:
    """An input line that takes a key ``delay`` steps after it was typed; the first ``lost`` texts and keys are lost."""

    def __init__(self, delay: int, lost: int) -> None:
        self.line, self.said = "", []  # type: str, list[str]
        self._delay, self._lost = delay, lost
        self._due: list[tuple[int, bytes]] = []

    def type(self, now: int, keys: bytes) -> None:
        if keys and self._lost:
            self._lost -= 1
        elif keys:
            self._due.append((now + self._delay, keys))

    def step(self, now: int) -> None:
        while self._due and self._due[0][0] <= now:
            keys = self._due.pop(0)[1]
            if keys == CLEAR:
                self.line = ""
            elif keys == ENTER:
                self.said += [self.line] if self.line else []
                self.line = ""
            else:
                self.line += keys.decode()


def drive(program: Program, strokes: tuple[Stroke, ...], steps: int = 20_000) -> str:
    """Type all strokes, a step being 10 ms; return why that failed."""
    typing = Typing(strokes)
    for now in range(steps):
        program.step(now)
        keys, over = typing.step(now / 100, f"> {program.line}", lambda _: len(program.said))
        program.type(now, keys)
        if over or typing.failed:
            return typing.failed
    return "never over"


@given(st.integers(0, 150), st.integers(0, 2))
def test_a_prompt_is_said_once_and_whole(delay: int, lost: int) -> None:
    program = Program(delay, lost)
    assert drive(program, prompt("Run the tools.", "requests")) == ""
    assert program.said == ["Run the tools."]


def test_what_stands_in_the_line_is_cleared_first() -> None:
    program = Program(3, 0)
    program.line = "an old prompt"
    assert drive(program, command("/exit")) == ""
    for now in range(4):
        program.step(30_000 + now)
    assert program.said == ["/exit"]


def test_a_program_that_never_takes_it_is_given_up() -> None:
    program = Program(0, 1000)
    assert drive(program, typed("x y")) == "did not take what was typed: the screen did not show it, 5 times"
    assert drive(Program(0, 0), (Stroke(keys=b"x", counted="requests", within_ms=20, again=2),)) == (
        "did not take what was typed: it brought no requests, 3 times"
    )


def test_escape_is_alone_for_a_while() -> None:
    typing = Typing((*key(b"\x1b"), *key(b"x")))
    sent = [(now, keys) for now in range(200) if (keys := typing.step(now / 100, "", lambda _: 0)[0])]
    assert [keys for _, keys in sent] == [b"\x1b", b"x"] and sent[1][0] - sent[0][0] >= 60
