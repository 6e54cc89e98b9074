from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sandbox import environment
from harness.sandbox.environment import ProgramNotFoundError, real_node, real_python, resolve_program, scrubbed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    environment.real_node.cache_clear()
    environment.minimal_path.cache_clear()
    yield
    environment.real_node.cache_clear()
    environment.minimal_path.cache_clear()


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_nothing_is_inherited_and_extras_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = scrubbed("/h", "/t", {"LANG": "de", "X": "1"})
    assert set(found) == {
        *("PATH", "HOME", "TMPDIR", "LANG", "TZ", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "X")
    }
    assert (found["HOME"], found["TMPDIR"], found["LANG"], found["X"]) == ("/h", "/t", "de", "1")


def test_the_path_holds_the_real_python_and_no_shims() -> None:
    directories = scrubbed("/h", "/t")["PATH"].split(os.pathsep)
    assert directories[0] == os.path.dirname(real_python())
    assert all(os.path.isabs(directory) and "shims" not in directory for directory in directories)


def test_python_is_the_interpreter_behind_this_one() -> None:
    assert resolve_program("python") == resolve_program("python3") == real_python()
    assert os.path.realpath(real_python()) == real_python()
    assert real_python() == os.path.realpath(sys.executable)


def test_a_name_with_a_slash_is_taken_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = program(tmp_path / "bin" / "real")
    (tmp_path / "bin" / "link").symlink_to("real")
    assert resolve_program(str(tmp_path / "bin" / "link")) == str(tmp_path / "bin" / "link")
    monkeypatch.chdir(tmp_path)
    assert resolve_program("bin/real") == str(real)


def test_shims_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / ".pyenv" / "shims" / "tool")
    real = program(tmp_path / "bin" / "tool")
    monkeypatch.setenv("PATH", f"{tmp_path}/.pyenv/shims:{tmp_path}/bin")
    assert resolve_program("tool") == str(real)


def test_a_node_shim_is_asked_for_the_program_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = program(tmp_path / "versions" / "node")
    program(tmp_path / "shims" / "node", f"#!/bin/sh\necho {real}\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:/usr/bin-nowhere")
    assert real_node() == os.path.realpath(real)
    assert resolve_program("node") == os.path.realpath(real)


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
def test_node_is_a_binary() -> None:
    found = real_node()
    assert found is not None
    with open(found, "rb") as stream:
        assert stream.read(2) != b"#!"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the command is empty"),
        ("a\0b", "the command holds a NUL byte"),
        ("/nowhere/x", "/nowhere/x: no such file"),
        ("/", "/: is a directory, not a program"),
        ("no-such-tornwrite-command", "no-such-tornwrite-command: command not found"),
        ("mycommnd", "mycommnd: command not found; did you mean 'mycommand'?"),
        ("plain", "is not executable"),
        ("./script.py", "./script.py: is not executable; name its interpreter first"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    program(tmp_path / "mycommand")
    for plain in ("plain", "script.py"):
        (tmp_path / plain).touch()
        (tmp_path / plain).chmod(stat.S_IRUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProgramNotFoundError) as caught:
        resolve_program(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
