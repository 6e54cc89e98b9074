"""Callables on their way into a child process: what travels, what does not and why, how many arguments."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.testing.callables import CHILD, arguments_of, identity, name_of, pack
from harness.testing.errors import UsageError
from harness.testing.program import program_of


def plain(dir: Path) -> None:
    (dir / "a").write_text("plain")


def spoken(dir: Path, ack: Any) -> None:
    (dir / "a").write_text("spoken")
    ack(1)
    ack("two")


class Store:
    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, dir: Path) -> None:
        (dir / "a").write_text(self.text)

    def __call__(self, dir: Path) -> None:
        self.save(dir)


def closure(text: str) -> Callable[[Path], None]:
    def save(dir: Path) -> None:
        (dir / "a").write_text(json.dumps(text))

    return save


def in_a_child(function: Callable[..., object], where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    arguments = arguments_of(function, "writer", "ack")
    pack(function, arguments, "writer", str(where / "payload"))
    state = where / "state"
    state.mkdir()
    command = [sys.executable, CHILD, "write", str(where / "payload"), str(state), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, timeout=60)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (plain, "plain"),
        (Store("bound").save, "bound"),
        (Store("called"), "called"),
        (functools.partial(Store.save, Store("partial")), "partial"),
        (lambda dir: (dir / "a").write_text("lambda"), "lambda"),
        (closure("closed"), '"closed"'),
    ],
)
def test_what_can_be_pickled_runs_in_a_child(function: Callable[..., object], text: str, tmp_path: Path) -> None:
    result = in_a_child(function, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "state" / "a").read_text() == text


def test_acknowledgements_are_lines_on_standard_output(tmp_path: Path) -> None:
    assert in_a_child(spoken, tmp_path).stdout == "ACK 1\nACK two\n"


def test_an_acknowledgement_is_one_word(tmp_path: Path) -> None:
    result = in_a_child(lambda dir, ack: ack("two words"), tmp_path)
    assert result.returncode == 1
    assert "ValueError: ack('two words'): an acknowledgement is one word" in result.stderr


def test_a_writer_that_raises_says_what(tmp_path: Path) -> None:
    result = in_a_child(lambda dir: 1 / 0, tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_a_function_of_a_module_that_no_path_finds_is_loaded_from_its_file(tmp_path: Path) -> None:
    """As pytest imports tests with ``--import-mode=importlib``: under a name that leads nowhere."""
    file = tmp_path / "strange.py"
    file.write_text("KEY = 'found'\n\ndef save(dir):\n    (dir / 'a').write_text(KEY)\n")
    name = "no_such_package.strange"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        result = in_a_child(module.save, tmp_path)
    finally:
        del sys.modules[name]
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "state" / "a").read_text() == "found"


def test_what_cannot_travel_is_named(tmp_path: Path) -> None:
    lock = threading.Lock()

    def save(dir: Path) -> None:
        with lock:
            plain(dir)

    save.stuck = sys._getframe()  # type: ignore[attr-defined] -- a frame can never travel
    with pytest.raises(
        UsageError, match=r"the writer save cannot be run in a child process: .*use a function of a"
    ):
        pack(save, 1, "writer", str(tmp_path / "payload"))


def test_the_thing_that_it_refers_to_is_named(tmp_path: Path) -> None:
    frame = sys._getframe()
    with pytest.raises(UsageError, match=r"it refers to 'frame', a builtins\.frame: "):
        pack(lambda dir: frame.f_lineno, 1, "writer", str(tmp_path / "payload"))


@pytest.mark.parametrize(
    ("function", "number"),
    [
        (plain, 1),
        (spoken, 2),
        (lambda dir, indent=2: None, 1),
        (lambda dir, ack=None: None, 2),
        (lambda *words: None, 1),
        (functools.partial(lambda size, dir: None, 3), 1),
    ],
)
def test_the_signature_says_whether_it_acknowledges(function: Callable[..., object], number: int) -> None:
    assert arguments_of(function, "writer", "ack") == number


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: None, "takes no argument"),
        (lambda a, b, c: None, r"takes the arguments \(a, b, c\)"),
        (lambda dir, *, path: None, r"takes the arguments \(dir\)"),
    ],
)
def test_another_signature_is_refused(function: Callable[..., object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        arguments_of(function, "writer", "ack")


def test_names_and_identities() -> None:
    assert name_of(closure("x")) == "save"
    assert name_of(Store("x").save) == "Store.save"
    assert name_of(functools.partial(plain)) == "plain"
    assert identity(closure("x")) == identity(closure("y")) != identity(plain)


async def _coroutine(dir: Path) -> None:
    (dir / "f").write_text("never")


def _generator(dir: Path) -> Iterator[None]:
    yield


@pytest.mark.parametrize("writer", [_coroutine, _generator])
def test_what_a_call_does_not_run_is_refused(writer: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runs none of it"):
        program_of(writer, "writer", str(tmp_path))
