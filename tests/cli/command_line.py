"""Runs tornwrite as a user does: as a process, with files for its output; and in this process, where speed counts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from harness.cli.app import run_app
from harness.schemas import schema
from tests.report.json_schema_check import problems
from tests.survivors import new_mark, survivors

ROOT = Path(__file__).resolve().parents[2]
WRITER = str(Path(__file__).with_name("writer.py"))
JUDGE = str(Path(__file__).with_name("judge.py"))
PATIENCE_S = 120.0
"""Longest a command may take, on a loaded machine."""


class Ended(NamedTuple):
    """How a command ended and what it printed."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        assert self.out.count("\n") == 1, self.out
        value = json.loads(self.out)
        shape = schema("result")
        assert list(problems(value, shape, shape)) == []
        assert value["exit_code"] == self.exit_code
        found: dict[str, Any] = value
        return found

    def result(self, name: str) -> dict[str, Any]:
        """The command's own part of the object, which fits the schema of that name."""
        found: dict[str, Any] = self.document["result"]
        shape = schema(name)
        assert list(problems(found, shape, shape)) == []
        return found


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a command: this one's, the project importable, a width of 80 columns."""
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **extra}


def start(*args: str, cwd: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *args],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )


def tornwrite(*args: str, cwd: Path) -> Ended:
    """Run a command to its end."""
    with start(*args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    ended = Ended(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in ended.err, ended.err
    return ended


def probe(behaviour: str, *options: str, cwd: Path) -> Ended:
    """Probe the writer that behaves so, and see that nothing of it lives on."""
    mark = new_mark()
    words = ("probe", *options, "--", sys.executable, WRITER, behaviour, "{dir}", mark)
    ended = tornwrite(*words, cwd=cwd)
    assert survivors(mark, 1.0) == set()
    return ended


def in_process(*args: str) -> Ended:
    """Run a command in this process: for what ends before anything is started."""
    out, err = io.StringIO(), io.StringIO()
    code = -1
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_app(args)
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            code = stop.code
    ended = Ended(code, out.getvalue(), err.getvalue())
    assert "Traceback" not in ended.err, ended.err
    return ended


def one_line(ended: Ended) -> str:
    """Return the single line of an error; nothing else was printed, and nothing in it moves a cursor."""
    assert ended.out == ""
    assert ended.err.startswith("tornwrite: ")
    assert ended.err.count("\n") == 1, ended.err
    line = ended.err.removesuffix("\n")
    assert line.isprintable(), line
    return line.removeprefix("tornwrite: ")
