"""Options every test may ask for: ``--evidence`` turns the long statistics on."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "evidence", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--evidence", action="store_true", help="run the long statistics in full")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--evidence"):
        os.environ["TORNWRITE_EVIDENCE"] = "1"  # reaches the workers of pytest-xdist
    settings.load_profile("evidence" if os.environ.get("TORNWRITE_EVIDENCE") else "default")


@pytest.fixture
def evidence() -> bool:
    """Whether the long statistics were asked for."""
    return bool(os.environ.get("TORNWRITE_EVIDENCE"))
