"""A function in place of a command: how it ends, what is kept of its output, that nothing of it lives on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.sandbox.forked import run_function, stand_in, standing_in
from tests.survivors import new_mark, survivors

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="functions stand in on Linux")]


@pytest.mark.parametrize(("value", "code"), [(0, 0), (1, 1), (3, 3), (256 + 7, 7)])
def test_what_it_returns_is_the_exit_code(value: int, code: int, tmp_path: Path) -> None:
    result = run_function(lambda argv: value, (), cwd=str(tmp_path))
    assert (result.exit_code, result.signal, result.timed_out) == (code, None, False)


def test_it_gets_the_words_the_directory_and_streams_of_its_own(tmp_path: Path) -> None:
    def says(argv: Sequence[str]) -> int:
        print(*argv, os.getcwd(), len(sys.stdin.read()))
        print("error", file=sys.stderr)
        return 0

    result = run_function(says, ("a", "b"), cwd=str(tmp_path))
    assert result.stdout.decode().split() == ["a", "b", str(tmp_path), "0"]
    assert result.stderr == b"error\n"


def test_what_it_raises_is_no_exit_code_of_a_check(tmp_path: Path) -> None:
    result = run_function(lambda argv: 1 // 0, (), cwd=str(tmp_path))
    assert result.exit_code == 70
    assert b"ZeroDivisionError" in result.stderr


def test_what_it_does_to_this_process_is_done_to_a_copy(tmp_path: Path) -> None:
    seen: list[int] = []
    assert run_function(lambda argv: seen.append(1) or len(seen), (), cwd=str(tmp_path)).exit_code == 1
    assert seen == []


def test_more_output_than_is_kept_does_not_hold_it_up(tmp_path: Path) -> None:
    def much(argv: Sequence[str]) -> int:
        os.write(1, b"x" * 300_000)
        return 0

    result = run_function(much, (), cwd=str(tmp_path), output_bytes=100)
    assert (result.exit_code, result.stdout, result.truncated) == (0, b"x" * 100, True)


def test_it_is_ended_at_its_deadline_with_what_it_started(tmp_path: Path) -> None:
    mark = new_mark()

    def hangs(argv: Sequence[str]) -> int:
        if not os.fork():
            os.setsid()
            os.execv("/bin/sh", ["sh", "-c", f"sleep 60 # {mark}"])
        time.sleep(60)
        return 0

    began = time.monotonic()
    result = run_function(hangs, (), cwd=str(tmp_path), timeout_s=0.3)
    assert result.timed_out and result.signal == 9
    assert time.monotonic() - began < 30
    assert survivors(mark, 1.0) == set()


def test_a_function_stands_in_for_one_word_and_only_inside(tmp_path: Path) -> None:
    def one(argv: Sequence[str]) -> int:
        return 1

    with standing_in("/payload", one):
        assert stand_in(("python", "/payload", "x")) is one
        assert stand_in(("python", "/other")) is None
    assert stand_in(("python", "/payload")) is None
