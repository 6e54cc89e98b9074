"""Every command of the README and of ``docs/`` is run; every link leads somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pages import COMMANDS, LINKING, PAGES, ROOT, Block, anchors, blocks, links

SAMPLES = Path(__file__).with_name("samples")
PATIENCE_S = 240.0
INSTALLED = bool(entry_points(group="pytest11", name="tornwrite"))
HINTS = {"file", "skip", "slow", "exit", "with"}


def _environment(where: Path) -> dict[str, str]:
    """Return an environment in which ``tornwrite``, ``python`` and ``pytest`` are this project's."""
    tools = where / "bin"
    tools.mkdir()
    for name, words in (
        ("tornwrite", "-m harness"),
        ("python", ""),
        ("pytest", "-m pytest" if INSTALLED else "-m pytest -p harness.pytest_plugin"),
    ):
        file = tools / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
        file.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "VIRTUAL_ENV"))}
    return {**kept, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "80"}


def _run(block: Block, command: str, where: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-c", block.with_words(command)],
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    told = f"line {block.line}: {command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert done.returncode == int(block.hints.get("exit", "0")), told
    assert "Traceback" not in done.stderr, told


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="most commands need an exact engine of Linux")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_does_what_it_says(page: Path, tmp_path: Path, evidence: bool) -> None:
    where = tmp_path / "here"
    shutil.copytree(SAMPLES, where)
    (where / "local_1.json").write_bytes(b"\0" * 144_258)
    (where / "workload.json").write_text('{"updates": 2}', encoding="utf-8")
    environment = _environment(tmp_path)
    for block in blocks(page.read_text(encoding="utf-8")):
        if "file" in block.hints:
            file = where / block.hints["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.tag in COMMANDS and "skip" not in block.hints and (evidence or "slow" not in block.hints):
            for command in block.commands:
                _run(block, command, where, environment)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_escapes_the_test_and_every_hint_is_known(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        place = f"{page.name} line {block.line}"
        assert set(block.hints) <= HINTS, place
        assert block.hints.get("skip", "why"), f"{place}: skipped without a reason"
        typed = re.search(r"^(\$ |tornwrite |pytest |make |python -m |uv |pipx )", block.text, re.MULTILINE)
        assert block.tag in COMMANDS or not typed, (
            f"{place}: a command in a block that is not tagged sh or console"
        )


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page.name}: {link}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES[1:] if page.name != "README.md" and f"({page.name})" not in index]
    assert missing == []
