"""How the shim gets into a command, and the frames on its line: the pure parts."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.fault import CrashPoint, Errno, FaultPlan, Short, Signal
from harness.core.tree import EMPTY_TREE
from harness.engines import UnsupportedFaultError
from harness.engines.inject import Injector
from harness.engines.shim import serving
from harness.engines.shim.doors import BadFrameError, Frame, Parser, QueueDoors, QueueLine
from harness.engines.shim.launch import NODE_SHIM, RUNTIME, PythonCommand, booted, environment, is_python
from harness.engines.shim.places import Root, spelled

BOOT = os.path.join(RUNTIME, "boot.py")


@pytest.mark.parametrize(
    ("argv", "boots"),
    [
        (("/usr/bin/python3", "save.py", "x"), False),
        (("/usr/bin/python3", "-u", "save.py"), False),
        (("/usr/bin/python3", "-X", "importtime", "save.py", "-I"), False),
        (("/usr/bin/python3", "-W", "ignore::EncodingWarning", "save.py"), False),
        (("/usr/bin/python3", "-ISE", "save.py", "x"), True),
        (("/usr/bin/python3", "-B", "-sS", "-c", "print()", "-x"), True),
        (("/usr/bin/python3.12", "-EmI", "json.tool"), False),
        (("/usr/bin/python3.12", "-Em", "json.tool"), True),
        (("/usr/bin/python3", "-I", "-"), False),
        (("/usr/bin/python3", "--version"), False),
        (("/usr/bin/node", "-ISE", "save.js"), False),
        (("/bin/sh", "-c", "python -S x.py"), False),
    ],
)
def test_only_flags_that_keep_the_shim_out_change_a_command(argv: tuple[str, ...], boots: bool) -> None:
    made = booted(argv)
    if "-EmI" in argv:  # all that follows -m is the module's name
        assert PythonCommand(argv).what == "I" and made[1:4] == ("-E", BOOT, "-m")
    elif boots:
        assert BOOT in made and made[-1] == argv[-1]
    else:
        assert made == argv


def test_a_command_is_taken_apart_as_the_interpreter_does() -> None:
    python = PythonCommand(("python", "-BEsS", "-Xdev", "-W", "error", "save.py", "-c", "y"))
    assert python.flags == ["-BEsS", "-Xdev", "-W", "error"]
    assert (python.kind, python.what, python.rest) == ("file", "save.py", ["-c", "y"])
    assert PythonCommand(("python", "-Sc", "code", "a")).flags == ["-S"]
    assert (PythonCommand(("python", "-ccode")).kind, PythonCommand(("python", "-ccode")).what) == ("-c", "code")
    assert PythonCommand(("python",)).kind == "" and PythonCommand(("python", "-c")).kind == ""


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=6), max_size=6))
def test_any_command_is_taken_apart_without_losing_its_program(words: list[str]) -> None:
    made = booted(("python3", *words))
    assert made[0] == "python3" and (made == ("python3", *words) or BOOT in made)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("python", True),
        ("/x/python3.13", True),
        ("PYTHON.EXE", True),
        ("pypy3", True),
        ("pythonista", False),
        ("node", False),
    ],
)
def test_an_interpreter_is_known_by_its_name(name: str, is_one: bool) -> None:
    assert is_python(name) is is_one


def test_what_a_target_had_in_its_environment_stays() -> None:
    made = environment({"PYTHONPATH": "/mine", "NODE_OPTIONS": "--no-warnings", "A": "b"}, "/address")
    assert made["PYTHONPATH"].split(os.pathsep) == [RUNTIME, "/mine"]
    assert made["NODE_OPTIONS"] == f'"--require={NODE_SHIM}" --no-warnings'
    assert made["A"] == "b" and made["TORNWRITE_SHIM"] == "/address"


frames = st.tuples(st.lists(st.binary(max_size=9).filter(lambda f: b"\0" not in f), min_size=1), st.binary())


def packed(fields: list[bytes], payload: bytes) -> bytes:
    head = b"\0".join(fields)
    return struct.pack("<II", len(head), len(payload)) + head + payload


@given(st.lists(frames, max_size=5), st.integers(1, 7))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[tuple[list[bytes], bytes]], step: int
) -> None:
    raw = b"".join(packed(*item) for item in sent)
    parser, found = Parser(), []
    for start in range(0, len(raw), step):
        parser.feed(raw[start : start + step])
        while (frame := parser.take()) is not None:
            found.append(frame)
    assert found == [Frame(tuple(fields), payload) for fields, payload in sent]


def test_what_is_no_frame_is_refused() -> None:
    parser = Parser()
    parser.feed(b"\xff" * 12)
    with pytest.raises(BadFrameError):
        parser.take()


def test_a_path_is_what_the_process_means_by_it() -> None:
    assert spelled(b"/srv", b"a/../b", 7) == "/srv/a/../b"
    assert spelled(b"", b"/proc/self/fd/3", 7) == "/proc/7/fd/3"
    assert spelled(b"", b"/dev/fd/3", 7) == "/proc/7/fd/3"
    root = Root("/state")
    assert root.relative("/state/a/b") == "a/b"
    assert root.relative("/state") is None and root.relative("/stateful/a") is None and root.relative(None) is None


# -- Windows: decided here, never run here -------------------------------------------------------------------------


class Pipe:
    """A connection as ``multiprocessing`` makes them, with what the other end says."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = list(messages)
        self.sent: list[bytes] = []

    def recv_bytes(self) -> bytes:
        if not self.messages:
            raise EOFError
        return self.messages.pop(0)

    def send_bytes(self, data: bytes) -> None:
        self.sent.append(data)


class Listener:
    """One process knocks, then nobody."""

    address = r"\\.\pipe\tornwrite"

    def __init__(self, pipe: Pipe) -> None:
        self.pipes = [pipe]

    def accept(self) -> Pipe:
        if not self.pipes:
            raise OSError
        return self.pipes.pop()

    def close(self) -> None:
        self.pipes.clear()


def test_doors_of_windows_bring_the_same_frames() -> None:
    pipe = Pipe(packed([b"hello", b"1"], b""), packed([b"write", b"2"], b"data"))
    doors = QueueDoors(Listener(pipe))
    line = None
    while line is None or not line.ended:
        for found in doors.arrived():
            line = found
            line.pull()
    assert isinstance(line, QueueLine)
    assert line.take() == Frame((b"hello", b"1"), b"") and line.take() == Frame((b"write", b"2"), b"data")
    line.answer(b"g")
    assert pipe.sent == [b"g"]
    assert doors.address.startswith(r"\\.\pipe") and line.wait(0) is None


def test_on_windows_no_signal_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    at = CrashPoint(operation="write", role="x", occurrence=1, phase="after")
    assert serving.refuse_on_windows((Signal(at=at),)) == ""
    monkeypatch.setattr(serving.os, "name", "nt")
    assert "Windows" in serving.refuse_on_windows((Signal(at=at),))
    assert serving.refuse_on_windows((Short(at=at),)) == ""


def test_the_plan_is_refused_by_the_name_of_the_engine() -> None:
    at = CrashPoint(operation="write", role="x", occurrence=1, phase="after")
    with pytest.raises(UnsupportedFaultError, match="errno needs a crash point of phase before"):
        Injector(FaultPlan(faults=(Errno(at=at, errno=5),)), EMPTY_TREE, "shim")
