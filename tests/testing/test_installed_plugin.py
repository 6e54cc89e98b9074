"""A project of its own with the built wheel in a fresh environment, the source tree gone: three lines, fail and pass.

Takes the better part of a minute and a package index, so it runs with ``--evidence``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.download]

ROOT = Path(__file__).resolve().parents[2]
MOST_S = 3.0
"""Wall time of one test, pytest's own start included, on a machine with nothing else to do."""

TEARS = """
import json
def save(dir):
    json.dump({"recent": ["x" * 60] * 200}, (dir / "settings.json").open("w"))
def test_save_survives_a_crash(tornwrite):
    tornwrite.check(save, holds=lambda dir: json.loads((dir / "settings.json").read_text()))
"""
DURABLE = """
import json, os
def save(dir):
    with open(dir / "settings.json.tmp", "w") as stream:
        json.dump({"recent": ["x" * 60] * 200}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(dir / "settings.json.tmp", dir / "settings.json")
    directory = os.open(dir, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
def test_durable_save_survives_a_crash(tornwrite):
    tornwrite.check(save, holds=lambda dir: json.loads((dir / "settings.json").read_text()))
"""


def _installed(where: Path) -> Path:
    """Build the wheel from a copy of the source, remove the copy, and return the pytest of a fresh environment."""
    source = where / "source"
    names = ("harness", "scenarios", "targets", "pyproject.toml", "README.md", "LICENSE")
    source.mkdir()
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    wheels = where / "wheels"
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(wheels), str(source)]
    made = subprocess.run(build, capture_output=True, text=True, check=False, timeout=240)
    if made.returncode:
        pytest.skip(f"no wheel can be built here: {made.stdout[-300:]}{made.stderr[-300:]}")
    shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", str(where / "venv")], check=True, timeout=120)
    python = str(where / "venv" / "bin" / "python")
    (wheel,) = wheels.iterdir()
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        str(wheel),
        "pytest",
        "pytest-xdist",
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr[-300:]}")
    return where / "venv" / "bin" / "pytest"


def _run(command: Path, project: Path, *words: str) -> tuple[int, str, float]:
    began = time.monotonic()
    done = subprocess.run(
        [str(command), "-q", *words],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "HOME": str(project)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, time.monotonic() - began


def test_three_lines_with_the_wheel(tmp_path: Path, evidence: bool) -> None:
    if not evidence:
        pytest.skip("--evidence builds the wheel and installs it")
    command = _installed(tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_tears.py").write_text(TEARS)
    (project / "test_durable.py").write_text(DURABLE)
    code, torn, torn_s = _run(command, project, "test_tears.py")
    assert code == 1
    for expected in (
        r"crash point  killed \d[\d,]* bytes into its \d\w\w write",
        "what to do   Write settings.json",
    ):
        assert re.search(expected, torn), torn
    code, out, durable_s = _run(command, project, "test_durable.py")
    assert (code, "1 passed" in out) == (0, True), out
    code, out, _ = _run(command, project, "-n", "2")
    assert code == 1 and "1 failed, 1 passed" in out
    message = re.compile(r"tornwrite: save does not(?:.|\n)*?(?=\n  report)")
    assert message.search(out)[0] == message.search(torn)[0]  # type: ignore[index] -- the same, token included
    print(f"fails in {torn_s:.2f} s, passes in {durable_s:.2f} s (bar on a quiet machine: {MOST_S} s)")
