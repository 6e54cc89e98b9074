"""A small part of ``make calibrate``: what real file systems leave is in the sets of their profiles."""

from __future__ import annotations

import pytest

from harness.catalog.profiles import load_profile
from tests.block.conftest import require
from tests.calibration.__main__ import dropped, observable, share_of
from tests.calibration.measure import Measured, measure

WRITERS = ("replace", "append_fsync", "3")
"""Two named ones, and a random one."""


@pytest.mark.real
@pytest.mark.parametrize("name", ["ext4", "ext4-writeback-nodelalloc-dioread_lock", "xfs", "btrfs"])
@pytest.mark.parametrize("writer", WRITERS)
def test_every_disk_that_is_seen_is_in_the_set(name: str, writer: str) -> None:
    profile = load_profile(name)
    require(profile.filesystem)
    found = measure(writer, profile, "each")
    assert found.strange == ()
    assert found.unmountable == 0
    assert len(found.observed) > 1
    assert found.observed & found.predicted


def test_what_has_a_file_system_can_be_observed() -> None:
    require("ext4")
    assert {"ext4", "ext4-nodelalloc"} <= {profile.name for profile in observable()}
    assert all(not profile.from_documents for profile in observable())


def run(observed: set[int], predicted: set[int]) -> list[Measured]:
    found = Measured("w", "p", "end", 9, 0, frozenset(observed), frozenset(predicted), ())
    return [found]


def test_a_share_that_falls_by_more_than_a_fifth_is_told() -> None:
    rows = [run({1, 2, 3}, {1, 2, 3, 4})]
    assert share_of(rows[0]) == 0.75
    assert dropped(rows, {"p/w": 0.75}) == []
    assert dropped(rows, {"p/w": 0.9}) == []
    assert dropped(rows, {"p/w": 0.95}) == ["p/w: 0.750 of the predicted trees seen, 0.950 before"]
    assert dropped(rows, {"other/w": 1.0}) == [
        "p/w: 0.750 of the predicted trees seen, and no share is kept to hold it to (--write)"
    ]
