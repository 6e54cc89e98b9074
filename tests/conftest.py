"""Options every test may ask for: ``--evidence`` turns the long statistics on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_NEEDS_LINUX = frozenset(
    {"block", "calibration", "campaign", "cli", "engines", "export", "planted", "seeds", "targets", "testing"}
)
"""Folders whose tests start real writers under an exact engine of Linux."""

# The same examples in every ordinary run, so that a red change is about the change; --evidence draws anew, and more.
settings.register_profile(
    "default", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "evidence", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--evidence", action="store_true", help="run the long statistics in full")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--evidence"):
        os.environ["TORNWRITE_EVIDENCE"] = "1"  # reaches the workers of pytest-xdist
    settings.load_profile("evidence" if os.environ.get("TORNWRITE_EVIDENCE") else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On other systems the tests of an exact Linux engine are counted as skipped, not failed."""
    if sys.platform == "linux":
        return
    skip = pytest.mark.skip(reason="needs an engine of Linux")
    for item in items:
        below = Path(str(item.path)).relative_to(Path(__file__).parent).parts
        if below[0] in _NEEDS_LINUX:
            item.add_marker(skip)


@pytest.fixture
def evidence() -> bool:
    """Whether the long statistics were asked for."""
    return bool(os.environ.get("TORNWRITE_EVIDENCE"))
