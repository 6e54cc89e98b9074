"""Findings do not depend on the order in which trials end, nor on how far an interrupted run came."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from harness.campaign.context import Case
from harness.campaign.ledger import Ledger
from harness.campaign.observe import UNATTRIBUTED, Observation
from harness.campaign.store import RunStore, StoreError
from harness.campaign.trials import serious
from harness.catalog import Subject
from harness.core.fault import NO_FAULTS, CrashPoint, FaultClass
from harness.core.json_record import decode_record, encode_record
from harness.core.run import RunSpec
from harness.core.verdict import Confirmation, Finding, TrialRow, Violation

SPEC = RunSpec(argv=("x",), root="/w/state", cwd="/w/cwd", environment={})
CASE = Case(subject=Subject(target="t", variant="v", version="", spec=SPEC), faults=("errno",))


def saw(
    invariant: str, trial: int, *, states: int = 0, fault_class: FaultClass = "errno", point: bool = True
) -> Observation:
    return Observation(
        violation=Violation(invariant=invariant, path="a.json", damage="torn", message=f"as trial {trial} saw it"),
        fault_class=fault_class,
        point=CrashPoint(operation="write", role="a.json", occurrence=trial + 1) if point else None,
        states=states,
        runs=0 if states else 1,
    )


SEEN = {0: ("B1",), 1: (), 2: ("M1", "B1"), 3: ("M1",), 4: ("B1", "W8"), 5: ("W8",)}
"""What each trial of one phase sees."""


def row_of(trial: int, names: tuple[str, ...]) -> TrialRow:
    return TrialRow(
        trial_id=f"t/v/errno/{trial}",
        kind="errno",
        target="t",
        variant="v",
        seed=1,
        verdict="violated" if names else "held",
        findings=names,
    )


def play(store: RunStore, order: list[int], stop: int | None = None) -> dict[str, Finding]:
    """Let the trials end in ``order``, the first ``stop`` of them; those with a row are counted again, as planned."""
    ledger = Ledger(store)
    ledger.begin_phase()
    for trial in SEEN:
        row = store.row(f"t/v/errno/{trial}")
        if row is not None:
            ledger.restore(row, trial)
    for trial in [trial for trial in order if store.row(f"t/v/errno/{trial}") is None][:stop]:
        names = ledger.observe(CASE, [saw(name, trial) for name in SEEN[trial]], f"t/v/errno/{trial}", trial)
        ledger.save(names)
        store.append_row(row_of(trial, names))
    # Through JSON, as everybody else reads them: on disk a tuple is a list.
    return {key: decode_record(encode_record(finding), Finding) for key, finding in ledger.by_key().items()}


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    with RunStore.create(str(tmp_path_factory.mktemp("whole")), sync_interval_s=60) as store:
        return play(store, list(SEEN))


@pytest.mark.parametrize("seed", range(12))
def test_the_order_of_completion_changes_nothing(tmp_path: Path, in_order: dict[str, Finding], seed: int) -> None:
    order = list(SEEN)
    random.Random(seed).shuffle(order)
    with RunStore.create(str(tmp_path), sync_interval_s=60) as store:
        assert play(store, order) == in_order
    assert [finding.invariant for finding in in_order.values()] == ["B1", "M1", "W8"]


@pytest.mark.parametrize("stop", range(len(SEEN) + 1))
@pytest.mark.parametrize("seed", range(3))
def test_an_interruption_changes_nothing(
    tmp_path: Path, in_order: dict[str, Finding], seed: int, stop: int
) -> None:
    order = list(SEEN)
    random.Random(seed).shuffle(order)
    with RunStore.create(str(tmp_path), sync_interval_s=60) as store:
        play(store, order, stop)
        directory = store.directory
    with RunStore.open(directory) as store:
        assert play(store, order[::-1]) == in_order


def test_counts_and_evidence(in_order: dict[str, Finding]) -> None:
    known = {finding.invariant: finding for finding in in_order.values()}
    assert {name: finding.runs for name, finding in known.items()} == {"B1": 3, "M1": 2, "W8": 2}
    assert known["M1"].message == "as trial 2 saw it"
    assert known["M1"].evidence["trial"] == "t/v/errno/2"
    assert known["W8"].crash_point == CrashPoint(operation="write", role="a.json", occurrence=5)


def test_a_trial_counts_once_for_a_finding_it_shows_twice(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store:
        ledger = Ledger(store)
        (key,) = ledger.observe(CASE, [saw("M1", 0), saw("M1", 0)], "x", 0)
        assert ledger[key].runs == 1


def test_what_an_exploration_saw_first_stays_first(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store:
        ledger = Ledger(store)
        ledger.begin_phase()
        (key,) = ledger.observe(CASE, [saw("M1", 9, states=7, fault_class="short")], "t/v/state/short", 40)
        ledger.begin_phase()
        ledger.observe(CASE, [saw("M1", 0, fault_class="short")], "t/v/errno/0", 0)
        finding = ledger[key]
    assert (finding.states, finding.runs, finding.evidence["trial"]) == (7, 1, "t/v/state/short")


def timed(trial: int) -> Observation:
    return saw("M1", trial, fault_class="kill", point=False)


def test_a_joined_finding_leaves_no_file_and_can_be_joined_again_after_an_interruption(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store:
        for interrupted in (True, False):
            ledger = Ledger(store)
            ledger.begin_phase()
            (home,) = ledger.observe(CASE, [saw("M1", 0, states=3, fault_class="kill")], "t/v/state/kill", 0)
            ledger.begin_phase()
            if interrupted:
                (key,) = ledger.observe(CASE, [timed(0)], "t/v/timed/0", 0)
                ledger.save([key])
            else:
                ledger.restore(row_of(0, (key,)), 0)
            assert ledger[key].operation == UNATTRIBUTED
            ledger.settle({key: home})
            ledger.save([home])
            assert (ledger[home].states, ledger[home].runs) == (3, 1)
            assert set(store.findings()) == {home}


def test_a_timed_finding_that_is_like_no_other_is_kept(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store:
        ledger = Ledger(store)
        (key,) = ledger.observe(CASE, [timed(0)], "t/v/timed/0", 0)
        ledger.save([key])
        assert store.findings() == {}
        ledger.settle({})
        assert set(store.findings()) == {key}


def test_proofs_of_an_interrupted_run_outlive_the_rebuilding_of_its_findings(tmp_path: Path) -> None:
    proof = Confirmation(attempts=3, confirmed=3, evidence={"pid": 4711})
    with RunStore.create(str(tmp_path)) as store:
        ledger = Ledger(store)
        (key,) = ledger.observe(CASE, [saw("M1", 0)], "x", 0)
        store.write_finding(key, msgspec.structs.replace(ledger[key], confirmation=proof))
        again = Ledger(store)
        again.observe(CASE, [saw("M1", 0)], "x", 0)
        again.save([key])
        assert store.read_finding(key).confirmation.attempts == 0
        kept = again.kept(key)
    assert kept is not None
    assert kept.confirmation == proof


def test_a_row_whose_finding_is_nowhere_is_an_error(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store, pytest.raises(StoreError, match="no finding"):
        Ledger(store).restore(row_of(0, ("0" * 32,)), 0)


def test_what_a_trial_saw_does_not_depend_on_what_its_judge_saw_before() -> None:
    seen = [saw(name, 0).violation for name in ("W8", "B1", "M1")]
    litter = msgspec.structs.replace(seen[0], invariant="W3", severity="information")
    assert serious([*seen, litter]) == serious([litter, *seen[::-1]])
    assert [item.invariant for item in serious([*seen, litter])] == ["B1", "M1", "W8"]


def test_the_undisturbed_run_has_no_operation(tmp_path: Path) -> None:
    observation = Observation(
        violation=Violation(invariant="W6", path="a", damage="torn", message=""),
        fault_class="none",
        plan=NO_FAULTS,
        runs=1,
    )
    with RunStore.create(str(tmp_path)) as store:
        ledger = Ledger(store)
        (key,) = ledger.observe(CASE, [observation], "t/v/null", 0)
        assert (ledger[key].operation, ledger[key].fault) == ("run", {})
