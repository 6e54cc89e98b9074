"""The store, judged by the tool it stores for: no sequence of writes, kills, power losses and reopenings loses
what was written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from harness.campaign.store import RunStore
from harness.core.verdict import Finding, TrialRow
from harness.strategies import CrashConsistency

pytestmark = pytest.mark.real


def _row(number: int) -> TrialRow:
    return TrialRow(
        trial_id=f"t{number}", kind="exact", target="t", variant="v", seed=1, verdict="held", note="x" * 5000
    )


def _finding(number: int) -> Finding:
    return Finding(
        fingerprint=f"{number:032}",
        target="t",
        variant="v",
        invariant="B1",
        fault_class="kill",
        operation="write",
        role="",
        phase="torn",
        damage="torn",
        message="m" * 5000,
    )


def _opened(directory: Path) -> RunStore:
    """Take up the newest run, as ``--resume`` does; begin another where there is none that can be."""
    runs = directory / "runs"
    numbers = sorted(int(name[1:]) for name in os.listdir(runs)) if runs.exists() else []
    if numbers and (runs / f"r{numbers[-1]}" / "lock").exists():
        return RunStore.open(str(runs / f"r{numbers[-1]}"), sync_interval_s=0)
    return RunStore.create(str(directory), run_id=f"r{len(numbers)}", sync_interval_s=0)


def stores(directory: Path, ack: Callable[[object], None], update: str) -> None:
    with _opened(directory) as store:
        if update == "row":
            number = len(store.rows())
            store.append_row(_row(number))
        elif update == "finding":
            number = len(store.findings())
            store.write_finding(f"{number:032}", _finding(number))
        else:
            number = store.read_run()["number"] + 1 if store.read_artifact("run.json") else 0
            store.write_run({"number": number})
        ack(f"{update}-{number}")


class Store(CrashConsistency):
    """Whatever has happened, the newest run opens, has all that was acknowledged, and nothing that is half there."""

    writer = stores
    updates = st.sampled_from(["row", "finding", "run"])
    profile = "ext4"

    def check(self, directory: Path, acknowledged: list[str]) -> None:
        owed = {kind: sum(name.startswith(kind) for name in acknowledged) for kind in ("row", "finding", "run")}
        if not acknowledged and not (directory / "runs").exists():
            return
        with _opened(directory) as store:
            assert store.rows() == tuple(_row(number) for number in range(len(store.rows())))
            assert len(store.rows()) >= owed["row"]
            found = store.findings()
            assert found == {f"{number:032}": _finding(number) for number in range(len(found))}
            assert len(found) >= owed["finding"]
            number = store.read_run()["number"] if store.read_artifact("run.json") else -1
            assert number + 1 >= owed["run"]
        litter = [name for _, _, names in os.walk(store.directory) for name in names if name.startswith(".tw-")]
        assert litter == []


TestStore = Store.TestCase
TestStore.settings = settings(TestStore.settings, derandomize=True, database=None, max_examples=15)
