"""Shell completion: scripts for three shells, and what they get when they ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT, tornwrite


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_that_its_shell_can_read(shell: str, tmp_path: Path) -> None:
    result = tornwrite("completion", shell, cwd=tmp_path)
    assert result.exit_code == 0, result
    assert "_TORNWRITE_COMPLETE" in result.out
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(result.out)
        read = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False, timeout=30)
        assert (read.returncode, read.stderr) == (0, "")


def test_another_shell_is_refused_with_what_is_valid(tmp_path: Path) -> None:
    result = tornwrite("completion", "tcsh", cwd=tmp_path)
    assert result.exit_code == 2
    assert "'bash', 'fish', 'zsh'" in result.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [("tornwrite pro", {"probe", "profiles"}), ("tornwrite probe --bud", {"--budget"})],
)
def test_what_a_shell_gets_when_it_asks(words: str, expected: set[str]) -> None:
    environment = {
        **os.environ,
        "_TORNWRITE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "harness"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert {line.partition(",")[2] for line in result.stdout.splitlines()} == expected
