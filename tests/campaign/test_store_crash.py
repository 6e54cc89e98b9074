"""The store, judged by the tool it stores for: no state that a kill or a short write can leave loses a row."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

from harness.campaign.store import RunStore
from harness.core.run import Recording, RunSpec
from harness.core.verdict import TrialRow
from harness.engines import engine
from harness.explore import crash_states
from harness.sandbox.materialise import write_tree
from harness.sandbox.workspace import temporary_workspace

pytestmark = pytest.mark.real
ROWS = 8

_WRITER = f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parents[2])!r})
    from harness.campaign.store import RunStore
    from harness.core.verdict import Finding, TrialRow
    store = RunStore.create(sys.argv[1], run_id="r1", sync_interval_s=0)
    store.write_run({{"name": "crash"}})
    for n in range({ROWS}):
        row = TrialRow(
            trial_id=f"t{{n}}", kind="exact", target="t", variant="v", seed=1, verdict="held", note="x" * 900
        )
        store.append_row(row)
        if n == 2:
            store.write_finding("f" * 32, Finding(
                fingerprint="f" * 32, target="t", variant="v", invariant="B1", fault_class="kill",
                operation="write", role="", phase="torn", damage="torn", message="m" * 5000,
            ))
        print(f"ACK {{n}}", flush=True)
    store.write_run({{"name": "crash", "exit_code": 0}})
    store.close()
"""


def _recorded() -> Recording:
    ptrace = engine("ptrace")
    if ptrace.available():
        pytest.skip(ptrace.available())
    space = temporary_workspace()
    try:
        spec = RunSpec(
            argv=(sys.executable, "-c", textwrap.dedent(_WRITER), space.root),
            root=space.root,
            cwd=space.cwd,
            environment=space.environment({}),
        )
        return ptrace.run(spec)
    finally:
        space.remove()


def _opened(directory: str, acked: int) -> None:
    """Open a state as ``--resume`` does, and see that nothing acknowledged is gone and the next row lands."""
    with RunStore.open(directory) as store:
        found = [row.trial_id for row in store.rows()]
        assert found == [f"t{n}" for n in range(len(found))]
        assert len(found) >= acked
        assert len(store.findings()) == 1 or acked <= 2
        assert store.read_artifact("run.json") is None or store.read_run()["name"] == "crash"
        assert acked == 0 or store.read_run()
        store.append_row(TrialRow(trial_id="new", kind="exact", target="t", variant="v", seed=1, verdict="held"))
    with RunStore.open(directory) as again:
        assert again.notices == []
        assert [row.trial_id for row in again.rows()] == [*found, "new"]
    litter = [name for _, _, files in os.walk(directory) for name in files if name.startswith(".tw-")]
    assert litter == []


@pytest.mark.parametrize("fault_class", ["kill", "short"])
def test_no_crash_state_loses_a_row(tmp_path: Path, fault_class: str) -> None:
    recording = _recorded()
    assert recording.trace is not None
    assert recording.differences == ()
    assert len(recording.acks) == ROWS
    root = tmp_path / "state"
    root.mkdir()
    seen = set()
    for state in crash_states(recording.trace, fault_class, cuts_per_write=8):
        if (state.tree.key, state.acked) in seen:
            continue
        seen.add((state.tree.key, state.acked))
        write_tree(state.tree, str(root))
        directory = root / "runs" / "r1"
        if (directory / "lock").exists():
            _opened(str(directory), state.acked)
        else:
            assert state.acked == 0
    assert len(seen) > 30
