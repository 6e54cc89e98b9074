"""Whole campaigns: verdicts, exit codes, and what is said of what was not measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.campaign import plan as plan_module
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.scratch import canonical_base, claimed_workspace, sweep
from harness.campaign.store import RunStore
from harness.catalog import Scenario, Workload
from harness.cli.reports import StoredEvidence
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed, Notice, TrialFinished
from harness.sandbox.workspace import Workspace, WorkspaceError
from tests.campaign.conducting import IN_PLACE, REPLACED, conduct_probe

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux"),
]

SMALL = Workload(sessions=1, updates=1, record_bytes=(60, 300))


def conduct(base: Path, scenario: Scenario, **options: object) -> tuple[CampaignFinished, list[AnyEvent]]:
    events: list[AnyEvent] = []
    asked = Options(jobs=2, **options)  # type: ignore[arg-type]
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(
            lambda workspace: plan_scenario(scenario, asked, workspace), store, asked, events.append, "-"
        )
    return finished, events


def said(events: list[AnyEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def gone(base: Path) -> str:
    (base / "target.toml").write_text(
        '[target]\nname = "gone"\nstory = "s"\n[[variant]]\nname = "v"\nrun = ["no-such-program-here", "{dir}"]\n'
    )
    return str(base)


def test_nothing_available_is_5_and_with_require_all_3(tmp_path: Path) -> None:
    scenario = Scenario(name="s", targets=(gone(tmp_path),), faults=("kill",))
    finished, events = conduct(tmp_path, scenario)
    assert (finished.verdict, finished.exit_code) == ("inconclusive", 5)
    assert any(text.startswith("not available: ") for text in said(events))
    assert conduct(tmp_path, scenario, require_all=True)[0].exit_code == 3


def test_what_is_not_available_is_listed_and_only_require_all_minds(tmp_path: Path) -> None:
    scenario = Scenario(
        name="s", targets=(gone(tmp_path), "reference/durable"), faults=("kill",), workload=SMALL, samples=0
    )
    finished, events = conduct(tmp_path, scenario)
    assert (finished.verdict, finished.exit_code) == ("held", 0)
    assert any("gone/v: not available" in text for text in said(events))
    assert conduct(tmp_path, scenario, require_all=True)[0].exit_code == 3


def test_an_invariant_asked_for_and_never_measured_is_inconclusive(tmp_path: Path) -> None:
    scenario = Scenario(
        name="s",
        targets=("reference/durable",),
        faults=("kill",),
        invariants=("B1", "B9"),
        workload=SMALL,
        samples=0,
    )
    finished, events = conduct(tmp_path, scenario)
    assert (finished.verdict, finished.exit_code) == ("inconclusive", 3)
    assert list(finished.summary["never_measured"]) == ["B9"]
    assert any(text.startswith("B9 was asked for and never measured: ") for text in said(events))


def test_all_invariants_by_default_and_some_unmeasured_is_no_reason_to_be_inconclusive(tmp_path: Path) -> None:
    scenario = Scenario(name="s", targets=("reference/durable",), faults=("kill",), workload=SMALL, samples=0)
    finished, events = conduct(tmp_path, scenario)
    assert (finished.verdict, finished.exit_code) == ("held", 0)
    (case,) = [item for item in finished.summary["cases"] if not item["control"]]
    assert case["classes"][0]["not_measured"]
    assert any(text.startswith("not measured: ") for text in said(events))


def test_every_event_comes_after_its_row_is_kept(tmp_path: Path) -> None:
    asked = Options(jobs=2)
    scenario = Scenario(name="s", targets=("reference/buggy",), faults=("kill",), workload=SMALL, samples=2)
    with RunStore.create(str(tmp_path / "out")) as store:

        def emit(event: AnyEvent) -> None:
            if isinstance(event, TrialFinished):
                on_disk = RunStore.open(store.directory, writable=False)
                row = on_disk.row(event.row.trial_id)
                assert row is not None
                assert (row.verdict, row.findings) == (event.row.verdict, event.row.findings)
                assert set(event.row.findings) <= set(on_disk.findings())
            elif isinstance(event, FindingConfirmed):
                assert store.read_finding(event.finding.key).fingerprint == event.finding.fingerprint

        run_campaign(lambda workspace: plan_scenario(scenario, asked, workspace), store, asked, emit, "-")
        _pictures_can_be_drawn(store)


def _pictures_can_be_drawn(store: RunStore) -> None:
    """Hold what a page is drawn from to the rows: a tally per moment of each case, a state behind each finding."""
    kept = StoredEvidence(store)
    row = store.row("reference/buggy/state/kill")
    strip = kept.strip_of("reference/buggy")
    assert row is not None and strip is not None
    assert [each.fault_class for each in strip.rows] == ["kill"]
    assert sum(tally.states for tally in strip.rows[0].tallies) == row.states
    assert any(tally.violated for tally in strip.rows[0].tallies)
    trace = kept.trace("reference/buggy")
    assert not isinstance(trace, str) and len(trace.operations) == strip.operations
    for key, finding in store.findings().items():
        left = kept.left(key)
        if finding.fault_class == "kill":
            assert left is not None and left.entries[0].path == finding.path


def test_a_class_that_cannot_be_tried_makes_a_held_campaign_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "MEASURABLE", ("kill", "short", "errno"))
    script = tmp_path / "save.py"
    script.write_text(REPLACED)
    done = conduct_probe(tmp_path, script, ("kill", "power"))
    assert (done.finished.verdict, done.finished.exit_code) == ("inconclusive", 3)
    script.write_text(IN_PLACE)
    done = conduct_probe(tmp_path, script, ("kill", "power"))
    assert (done.finished.verdict, done.finished.exit_code) == ("violated", 1)


def test_a_writer_that_breaks_without_a_fault_is_said_to_need_none(tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(
        "import os, sys\n"
        "log = os.open(sys.argv[1] + '/log.jsonl', os.O_CREAT | os.O_WRONLY | os.O_APPEND)\n"
        "for number in range(3):\n"
        "    os.write(log, b'{\"id\": %d,' % number)\n"
        "    os.write(log, b'\"x\": 1}\\n')\n"
        "    os.write(1, b'ACK %d\\n' % number)\n"
    )
    done = conduct_probe(tmp_path, script, ("kill",))
    (case,) = [item for item in done.finished.summary["cases"] if not item["control"]]
    none = case["classes"][0]
    assert (none["fault_class"], none["verdict"], none["expected"]) == ("none", "violated", "held")
    finding = next(item for item in done.findings if item.fault_class == "none")
    assert finding.is_confirmed
    assert finding.confirmation.method == "run again without a fault"
    assert done.finished.exit_code == 1


def test_a_base_in_use_is_neither_swept_nor_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    base = canonical_base("20260101T000000Z-abcdef")
    with claimed_workspace(base) as workspace:
        (Path(workspace.root) / "kept").write_text("x")
        assert sweep(str(tmp_path)) == []
        assert os.path.exists(os.path.join(workspace.root, "kept"))
        with pytest.raises(WorkspaceError, match="in use"), claimed_workspace(base, patience_s=0.1):
            pass
        assert os.path.exists(os.path.join(workspace.root, "kept"))
    assert os.listdir(tmp_path) == []


def test_only_marked_directories_of_runs_are_swept(tmp_path: Path) -> None:
    Workspace(str(tmp_path / "tornwrite-20260101T000000Z-abcdef"))
    Workspace(str(tmp_path / "tornwrite-20260101T000000Z-abcdef.worker0"))
    unmarked = tmp_path / "tornwrite-20260101T000000Z-123456"
    unmarked.mkdir()
    (unmarked / "precious").write_text("x")
    Workspace(str(tmp_path / "tornwrite-abc"))  # of a replay, which holds no lock
    assert "tornwrite-20260101T000000Z-abcdef" in sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["tornwrite-20260101T000000Z-123456", "tornwrite-abc"]
    assert (unmarked / "precious").exists()
