"""Every test of the command line starts in an empty directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engines import engine


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of the test: empty."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.delenv("TORNWRITE_NO_SUCH_VARIABLE", raising=False)
    return directory


@pytest.fixture
def traced() -> None:
    """Skip where no engine of this machine can watch file operations."""
    reason = engine("ptrace").available()
    if reason:
        pytest.skip(f"ptrace: {reason}")
