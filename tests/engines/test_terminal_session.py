"""Driving a program in a terminal: a small one in raw mode that draws its own input line, and what is typed to it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pyte")

from harness.core.run import Limits, RunSpec
from harness.engines.headless import Moment
from harness.engines.screen import Screen
from harness.engines.strokes import CTRL_C, ESCAPE, SHIFT_TAB, Stroke, command, key, prompt
from harness.engines.terminal import TerminalDeed, TerminalPlan, TerminalSession, run_in_terminals
from harness.sandbox.workspace import Workspace
from tests.survivors import marked, new_mark

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")]

STANDS_IN = r"""
import os, signal, subprocess, sys, time, tty
late, mark = "late" in sys.argv, sys.argv[-1]
said = open(os.environ["HOME"] + "/said", "ab", buffering=0)
if "daemon" in sys.argv:
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)", mark], start_new_session=True)
if "hup" in sys.argv:
    signal.signal(signal.SIGHUP, lambda *_: (said.write(b"hup\n"), os._exit(5)))
def show(text):
    os.write(1, text.encode())
def draw():
    show("\r\x1b[2K> " + line)
show("\x1b[2J\x1b[H\x1b[>4;2m\x1b[?2026hhello, what to do?\r\n")
if late:
    time.sleep(0.3)
tty.setraw(0)
line, lost, stops = "", "deaf" in sys.argv, 0
draw()
while True:
    data = os.read(0, 4096)
    if late:
        time.sleep(0.1)
    if data == b"\x1b":
        said.write(b"escape\n"); show("\r\n(stopped)\r\n")
    elif data == b"\x1b[Z":
        said.write(b"mode\n")
    elif data == b"\x03":
        stops += 1
        if stops == 2:
            sys.exit(9)
        show("\r\n(again to leave)\r\n")
    elif data == b"\x15":
        line = ""
    elif data == b"\r" and line:
        if lost:
            lost = False
            continue
        said.write(line.encode() + b"\n")
        if line == "/exit":
            show("\r\nbye\r\n"); sys.exit(0)
        show("\r\x1b[2Kyou said " + line + "\r\nThe answer is forty-two,\r\n   as ever.\r\n")
        line = ""
    elif data != b"\r":
        line += data.decode(errors="replace")
    draw()
"""
READY = Moment(counted="ready")
ANSWER = "The answer is forty-two, as ever."


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    workspace = Workspace(str(tmp_path / "w"))
    return RunSpec(
        argv=(sys.executable, "-S", "-c", STANDS_IN),
        root=workspace.root,
        cwd=workspace.cwd,
        environment={"HOME": workspace.root, "PATH": os.defpath, "TERM": "xterm"},
        limits=Limits(timeout_s=20.0),
    )


def run(
    spec: RunSpec, *deeds: TerminalDeed, words: tuple[str, ...] = (), timeout_s: float = 20.0
) -> TerminalSession:
    spec = RunSpec(
        argv=(*spec.argv, *words),
        root=spec.root,
        cwd=spec.cwd,
        environment=spec.environment,
        limits=Limits(timeout_s=timeout_s, output_bytes=1 << 20),
    )
    plan = TerminalPlan(spec=spec, deeds=deeds, counters={"said": lambda: len(said(spec))}, watched=(ANSWER, "no"))
    return run_in_terminals([plan])[0]


def said(spec: RunSpec) -> list[str]:
    try:
        return Path(spec.root, "said").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("words", [("plain",), ("late",), ("deaf",)])
def test_a_prompt_is_typed_until_it_is_taken_however_slow_the_program_is(
    spec: RunSpec, words: tuple[str, ...]
) -> None:
    session = run(
        spec,
        TerminalDeed(at=READY, strokes=prompt("What is it?", "said")),
        TerminalDeed(at=Moment(counted="shown"), strokes=key(SHIFT_TAB)),
        TerminalDeed(at=Moment(counted="said", count=2), strokes=command("/exit")),
        words=words,
    )
    assert (session.ending, session.exit_code, session.ending_detail) == ("exited", 0, "")
    assert said(spec) == ["What is it?", "mode", "/exit"]
    assert [text for _, text in session.shown] == [ANSWER]  # wrapped on its screen
    # The last deed took the program with it.
    assert len(session.done) == 2 and "bye" in session.screen and session.cpu_ms > 0


def test_escape_and_what_follows_it_are_two_things(spec: RunSpec) -> None:
    session = run(
        spec,
        TerminalDeed(at=READY, strokes=key(ESCAPE)),
        TerminalDeed(at=Moment(counted="screen", pattern=r"\(stopped\)"), strokes=prompt("Go on.", "said")),
        TerminalDeed(strokes=(*key(CTRL_C), *key(CTRL_C))),
    )
    assert (session.ending, session.exit_code) == ("exited", 9)
    assert said(spec) == ["escape", "Go on."]


@pytest.mark.parametrize(
    ("name", "words", "ended"),
    [("SIGHUP", ("hup",), (5, None)), ("SIGHUP", (), (None, 1)), ("SIGKILL", ("daemon",), (None, 9))],
)
def test_signals_and_what_is_left(
    spec: RunSpec, name: str, words: tuple[str, ...], ended: tuple[int | None, int | None]
) -> None:
    mark = new_mark()
    session = run(spec, TerminalDeed(at=READY, signal=name), words=(*words, mark))
    assert (session.exit_code, session.signal) == ended
    assert session.survivors == ("daemon" in words) and not marked(mark)


def test_two_terminals_at_once_on_one_state(spec: RunSpec) -> None:
    def plan(text: str) -> TerminalPlan:
        first = TerminalDeed(at=READY, strokes=command(text))
        leave = TerminalDeed(at=Moment(counted="shown"), strokes=command("/exit"))
        return TerminalPlan(spec=spec, deeds=(first, leave), watched=(ANSWER,))

    sessions = run_in_terminals([plan("Left."), plan("Right.")])
    assert [(each.exit_code, len(each.shown)) for each in sessions] == [(0, 1), (0, 1)]
    assert sorted(said(spec)) == ["/exit", "/exit", "Left.", "Right."]
    assert "Right." not in sessions[0].screen and "Right." in sessions[1].screen


def test_what_is_not_taken_ends_the_session(spec: RunSpec) -> None:
    never = Stroke(keys=b"x", counted="said", within_ms=150, again=1)
    began = time.monotonic()
    session = run(spec, TerminalDeed(at=READY, strokes=(never,)))
    assert (session.ending, session.done) == ("timeout", ())
    assert session.ending_detail == "did not take what was typed: it brought no said, 2 times"
    assert time.monotonic() - began < 10
    slow = run(spec, TerminalDeed(at=Moment(counted="screen", pattern="never")), timeout_s=0.8)
    assert (slow.ending, slow.ending_detail) == ("timeout", "did not end within 0.8 s; killed")


def test_a_program_that_only_prints_meets_its_limit(spec: RunSpec) -> None:
    endless = RunSpec(
        argv=(sys.executable, "-S", "-c", "import os\nwhile True: os.write(1, b'x\\x1b7' * 20000)"),
        root=spec.root,
        cwd=spec.cwd,
        environment=spec.environment,
        limits=Limits(timeout_s=20.0, output_bytes=40_000),
    )
    session = run_in_terminals([TerminalPlan(spec=endless)])[0]
    assert (session.ending, session.signal) == ("limit", 9)
    assert session.ending_detail.startswith("more than 40000 bytes")


HOSTILE = (
    b"\x1b[>4;2m\x1b[?2026h\x1b[<u\x1b[=1;1u",
    b"\x1b[" + b"9" * 5000 + b"A",
    b"\x1b[9999;9999;9999H\x1b[9999L\x1b[9999@\x1b[9999P\x1b[9999M\x1b[?3h\x1b[?1049h",
    b"a" + "\u0301".encode() * 4000,
    b"\x1b7" * 2000,
    b"\x1b]0;" + b"t" * 5000,
    b"\x07\xff\xfe\x80\x00\x9b\x1b",
    b"\x1b[1;2;3;4;5;6;7;8r\x1b[38;5;m\x1b[38;2;1m\x1b(0\x1b%@\x1b#8",
)


def test_hostile_bytes_leave_the_screen_usable() -> None:
    answered: list[bytes] = []
    screen = Screen(answered.append)
    began = time.process_time()
    for data in HOSTILE:
        for piece in (data, data[::-1], data[1:]):
            screen.feed(piece)
    screen.feed(b"\x07\x18\x1bc\x1b[2J\x1b[Hstill here\x1b[6n")
    assert screen.text.startswith("still here") and len(screen.text) < 40 * 200
    assert answered[-1] == b"\x1b[1;11R"
    screen.feed(b"\x1b[6n" * 1_000)
    assert sum(map(len, answered)) <= 4096
    assert time.process_time() - began < 5
