"""Two programs on one state: what one of them was told is saved is lost, found on demand and replayed; locks help."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from harness.campaign.schedules import PREEMPTIONS, ScheduleSearch
from harness.catalog import NotAvailableError, find_installed, find_variant, load_target
from harness.core.fault import FaultPlan
from tests.schedules.measure import Bench, measure

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="schedules need the ptrace engine of Linux"),
]

LOSSES = {
    "registry/in_place": "title",
    "registry/seed002_fix": "title",
    "sessions_index/cached_snapshot": "have none",
    "sessions_index/cached_snapshot rollback": "went back",
    "published/lowdb@7.0.1": "acknowledged ids are not in it",
    "published/atomicwrites_caller@1.4.1": "acknowledged ids are not in it",
}


def skip_unless_installed(selector: str) -> None:
    name, _, version = selector.partition("@")
    if not version:
        return
    target, _, variant = name.partition("/")
    package = find_variant(load_target(target), f"{variant}@{version}").package
    assert package is not None
    try:
        find_installed(package)
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", LOSSES)
def test_an_update_is_lost_on_demand_and_again(case: str, evidence: bool) -> None:
    """Bar B: found within 10 s, replayed 200 times; without ``--evidence`` one writer, and a few replays."""
    selector, words = case.split(maxsplit=1)[0], LOSSES[case]
    if not evidence and case != "registry/in_place":
        pytest.skip("one writer is shown in every run, the others under --evidence")
    skip_unless_installed(selector)
    seeds, replays = (20, 200) if evidence else (1, 2)
    found = measure(selector, seeds, replays, 0, "pct", most=40, scenario="two_writers", words=words)
    print(found)
    assert found["found"] == seeds, found
    for load in ("idle", "loaded"):
        same = found[load]
        assert (same["reproduced"], same["decisions"], same["operations"]) == (replays,) * 3, found
    if evidence:
        assert found["s_to_the_first"] <= 10, found


@pytest.mark.timeout(600)
def test_a_merge_without_a_lock_loses_an_entry_by_one_preemption(evidence: bool) -> None:
    """Seed 003's second request, which chance shows in 1 of 100 runs: read and write are two operations."""
    if not evidence:
        pytest.skip("some fifty interleavings come before it: --evidence")
    found = measure(
        "sessions_index/seed003_merge", 1, 20, 0, "systematic", most=100, scenario="two_writers", words="have none"
    )
    print(found)
    assert (found["found"], found["idle"]["reproduced"], found["loaded"]["reproduced"]) == (1, 20, 20), found
    assert found["switches"] <= 4


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("selector", ["registry/durable", "sessions_index/durable"])
def test_one_lock_and_no_interleaving_loses_anything(selector: str, tmp_path: Path, evidence: bool) -> None:
    """Bar B: every interleaving with at most two preemptions; without ``--evidence`` the first few of them.

    A run that meets others than an earlier one after the same decisions would be followed too, and be said.
    """
    bench = Bench(selector, os.path.join(os.path.realpath(tmp_path), "base"), 1, "two_writers")
    search, begun = ScheduleSearch("systematic", 1, selector), time.monotonic()
    most = 1_000_000 if evidence else 6
    while search.tried < most and (orders := list(search.orders(1))):
        recording, violations = bench.run(FaultPlan(schedule=orders[0]))
        assert recording.scheduled is not None
        assert (violations, recording.scheduled.problem) == ((), ""), orders[0]
        search.ran(orders[0], recording.scheduled)
    print(f"{selector}: {search.spelt()}; {time.monotonic() - begun:.0f} s")
    assert f"at most {PREEMPTIONS} preemptions" in search.spelt()
    if evidence:
        assert ", all there are" in search.spelt()
    else:
        assert search.tried == most
