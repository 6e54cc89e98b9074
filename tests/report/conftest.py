"""The sample campaign as a fixture."""

from __future__ import annotations

import pytest
from campaign_sample import sample_events

from harness.core.event import AnyEvent


@pytest.fixture
def events() -> list[AnyEvent]:
    return sample_events()
