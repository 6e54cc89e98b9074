"""Fixtures of the target tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.catalog import Workload
from tests.targets.plain_run import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """Make a :class:`Bench` for a selector; several in one test have workspaces of their own."""
    made: list[Bench] = []

    def make(selector: str, seed: int = 1, **workload: object) -> Bench:
        base = str(tmp_path / f"workspace{len(made)}")
        made.append(Bench(selector, base, Workload(**workload), seed))  # type: ignore[arg-type]
        return made[-1]

    return make
