"""Targets and scenarios are found in a checkout and in an installed package, which carries them itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import harness
from harness.catalog.data import data_directory

PACKAGE = Path(harness.__file__).parent
PROGRAM = """
import harness.catalog as catalog
print(*(target.name for target in catalog.list_targets()), *(scenario.name for scenario in catalog.list_scenarios()))
"""


def names_seen_by(site: Path) -> list[str]:
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(site)}, cwd=site, capture_output=True, text=True, timeout=30, check=True
    )
    return result.stdout.split()


@pytest.mark.real
def test_an_installed_package_carries_its_data(tmp_path: Path) -> None:
    with open(PACKAGE.parent / "pyproject.toml", "rb") as stream:
        wheel = tomllib.load(stream)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["harness"]
    shutil.copytree(PACKAGE, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    for source, place in wheel["force-include"].items():
        shutil.copytree(PACKAGE.parent / source, tmp_path / place)
    # A stranger's directory beside the package, as site-packages has many, is not taken for ours.
    (tmp_path / "targets" / "stranger").mkdir(parents=True)
    (tmp_path / "targets" / "stranger" / "target.toml").write_text("broken", encoding="utf-8")
    assert {"reference", "fork_session", "correct", "demo", "correct_writers"} <= set(names_seen_by(tmp_path))


@pytest.mark.real
def test_without_data_one_line_says_so(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__", "_data"))
    (tmp_path / "targets").mkdir()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        names_seen_by(tmp_path)
    assert "this installation carries no targets; name one by its path" in caught.value.stderr


def test_the_checkout_is_used_where_there_is_no_data() -> None:
    if not (PACKAGE / "_data").exists():
        assert Path(data_directory("targets")) == PACKAGE.parent / "targets"
