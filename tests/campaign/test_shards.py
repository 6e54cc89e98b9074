"""Shards of a run add up to the run: the same trials, each once, the same totals and findings. With real processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conducting import DURABLE, IN_PLACE, probe_of
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign.durable import StoreError
from harness.campaign.executor import Executor
from harness.campaign.merging import MergeError, merge_shards
from harness.campaign.plan import Options, Plan, plan_probe
from harness.campaign.rejudging import case_of_probe, rejudge
from harness.campaign.run import run_campaign
from harness.campaign.scratch import scratch_workspace
from harness.campaign.sharding import Split, split_of
from harness.campaign.store import RunStore
from harness.cli.stored import events_of
from harness.core.event import AnyEvent, CampaignFinished
from harness.core.json_record import encode_record
from harness.core.shard import Shard
from harness.report.compare import compare
from harness.report.view import RunView, collect
from harness.sandbox.workspace import Workspace

FAULTS = ("kill", "errno", "concurrency")
TRIALS = 5


def conduct(base: Path, name: str, text: str, shard: Shard | None = None) -> RunStore:
    """Probe a writer, or one shard of the probe, and return what it left on disk."""
    script = base / f"{name}.py"
    script.write_text(text)
    options = Options(faults=FAULTS, timed=TRIALS, jobs=2, budget_s=600.0, seed=7, shard=shard or Shard())
    probe = probe_of(script)

    def make_plan(workspace: Workspace) -> Plan:
        plan = plan_probe(probe, options, workspace)
        return msgspec.structs.replace(
            plan, cases=tuple(msgspec.structs.replace(c, errno_max=9) for c in plan.cases)
        )

    with RunStore.create(str(base / "out")) as store:
        run_campaign(make_plan, store, options, store.keep, "-")
    return RunStore.open(store.directory, writable=False)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunStore]:
    base = tmp_path_factory.mktemp("shards")
    return {
        "whole": conduct(base, "in_place", IN_PLACE),
        "1/2": conduct(base, "in_place", IN_PLACE, Shard(1, 2)),
        "2/2": conduct(base, "in_place", IN_PLACE, Shard(2, 2)),
        "durable": conduct(base, "durable", DURABLE),
    }


def shards(stores: dict[str, RunStore]) -> list[list[AnyEvent]]:
    return [events_of(stores[name]) for name in ("2/2", "1/2")]


def view(events: list[AnyEvent]) -> RunView:
    return collect(events)


def trials(store: RunStore) -> set[str]:
    """The trials of the writer that are counted: not its recording, not the proofs, not the controls."""
    return {
        row.trial_id
        for row in store.rows()
        if row.kind not in ("null", "exact", "control") and not row.trial_id.startswith("control:")
    }


pytestmark = pytest.mark.real


def test_the_same_trials_and_none_twice(stores: dict[str, RunStore]) -> None:
    one, two = trials(stores["1/2"]), trials(stores["2/2"])
    assert one | two == trials(stores["whole"])
    assert not one & two
    assert abs(len(one) - len(two)) <= 3
    merged = view(merge_shards(shards(stores)))
    ids = [row.trial_id for row in merged.rows]
    assert len(ids) == len(set(ids))


def by_chance(row: Any) -> bool:
    return row.kind in ("timed", "schedule")


def test_the_same_totals_and_findings(stores: dict[str, RunStore]) -> None:
    whole, merged = view(events_of(stores["whole"])), view(merge_shards(shards(stores)))
    assert (merged.verdict, merged.finished and merged.finished.exit_code) == (
        whole.verdict,
        whole.finished and whole.finished.exit_code,
    )
    (case,), (same,) = whole.cases, merged.cases
    assert [line.under for line in same.classes] == [line.under for line in case.classes]
    for line, other in zip(case.classes, same.classes, strict=True):
        counted = (line.states, line.distinct, line.bad_states, line.runs + line.inconclusive)
        assert counted == (other.states, other.distinct, other.bad_states, other.runs + other.inconclusive), line
        assert (line.verdict, line.expected) == (other.verdict, other.expected)
        if line.fault_class == "errno":
            assert (line.bad, line.inconclusive) == (other.bad, other.inconclusive)
    assert (case.null_verdict, case.timed_window is None) == (same.null_verdict, same.timed_window is None)
    assert {case.id for case in merged.controls} == {case.id for case in whole.controls}
    # What was met at random moments joins what the exploration found, so chance adds none here.
    mine, others = ({item.key: item for item in each.findings} for each in (whole, merged))
    assert set(mine) == set(others)
    for key, finding in mine.items():
        other = others[key]
        assert (finding.crash_point, finding.message, finding.states) == (
            other.crash_point,
            other.message,
            other.states,
        )
        assert finding.confirmation.attempts == other.confirmation.attempts
        if finding.fault_class == "errno":
            assert finding.runs == other.runs


def test_compared_they_are_unchanged_and_the_durable_writer_is_fixed(stores: dict[str, RunStore]) -> None:
    whole, merged = view(events_of(stores["whole"])), view(merge_shards(shards(stores)))
    assert compare(whole, merged).answer == "unchanged"
    assert compare(merged, whole).answer == "unchanged"
    fixed = compare(merged, view(events_of(stores["durable"])))
    assert fixed.answer == "fixed", fixed.sentence
    assert fixed.matched == ("probe/in_place.py with probe/durable.py",)
    assert compare(view(events_of(stores["durable"])), whole).answer == "worse"
    half = compare(whole, view(events_of(stores["1/2"])))
    assert half.answer == "undecided"
    assert not any(item.status == "gone" for item in half.findings)


def test_a_missing_shard_is_said_and_nothing_holds(stores: dict[str, RunStore]) -> None:
    for name in ("1/2", "2/2"):
        events = merge_shards([events_of(stores[name])])
        merged = view(events)
        assert any(item.text == f"shard {'2/2' if name == '1/2' else '1/2'}: missing" for item in merged.notices)
        assert merged.verdict != "held"
        assert merged.finished is not None
        assert merged.finished.exit_code in (1, 3)
    events = [event for event in events_of(stores["1/2"]) if not isinstance(event, CampaignFinished)]
    merged = view(merge_shards([events, events_of(stores["2/2"])]))
    assert any("interrupted" in item.text for item in merged.notices)


def test_what_cannot_be_added_up(stores: dict[str, RunStore]) -> None:
    one = events_of(stores["1/2"])
    with pytest.raises(MergeError, match="shard 1/2 is there twice"):
        merge_shards([one, one])
    other = [msgspec.structs.replace(one[0], plan="other", shard=Shard(2, 2)), *one[1:]]
    with pytest.raises(MergeError, match="not shards of one run"):
        merge_shards([one, other])


def test_judged_again_it_is_as_it_was_and_what_differs_is_said(
    stores: dict[str, RunStore], tmp_path: Path
) -> None:
    store = stores["whole"]
    with scratch_workspace() as workspace:
        case = case_of_probe(store.read_run(), store.rows(), workspace)
        assert case is not None
        plan = Plan(name="p", cases=(case,), controls=(), seed=7)
        with Executor(1, workspace.base) as executor:
            same = rejudge(store, plan, executor)
            # As if an older version had not known what M1 knows.
            old = tmp_path / "old"
            old.mkdir()
            for name in ("run.json", "traces"):
                (old / name).symlink_to(Path(store.directory) / name)
            rows = [
                msgspec.structs.replace(row, verdict="held", findings=()) if row.kind == "state" else row
                for row in store.rows()
            ]
            (old / "trials.jsonl").write_text("".join(encode_record(row) + "\n" for row in rows))
            newer = rejudge(RunStore.open(str(old), writable=False), plan, executor)
            case_gone = msgspec.structs.replace(plan, cases=())
            nothing = rejudge(store, case_gone, executor)
    assert [(item.fault_class, item.stored, item.differs) for item in same.classes] == [
        ("none", "held", False),
        ("kill", "violated", False),
    ]
    assert not same.not_judged
    (changed,) = [item for item in newer.classes if item.differs]
    assert (changed.stored, changed.now, changed.bad_now) == ("held", "violated", changed.bad_stored)
    assert {item.key for item in newer.findings} == set(changed.new) != set()
    assert nothing.not_judged == ("probe/in_place.py: today's manifests and scenarios do not have it",)


@given(of=st.integers(1, 7), cases=st.integers(1, 5), trials=st.integers(0, 30))
def test_every_trial_has_one_shard(of: int, cases: int, trials: int) -> None:
    template = _case()
    many = [_case(str(number)) for number in range(cases)]
    splits = [split_of(many, Shard(number + 1, of)) for number in range(of)]
    names = [
        "state/kill",
        "state/power/ext4",
        "recover/3",
        "recover/power/xfs/1",
        "recover/damage/a.json/0",
        "life/0",
    ]
    names += ["sync/0/ext4", "check/power/ext4/2", "canary/check", "null"]
    names += [f"{phase}/{n}" for phase in ("errno", "timed", "signal", "schedule", "check") for n in range(trials)]
    for case in many:
        for name in names:
            assert sum(split.takes(case, f"{case.id}/{name}") for split in splits) == 1
    assert template.id and Split().takes(template, f"{template.id}/errno/0")


def _case(name: str = "0") -> Any:
    class Stub(msgspec.Struct):
        id: str
        control: str = ""
        faults: tuple[str, ...] = (*FAULTS, "power", "damage")
        profiles: tuple[str, ...] = ("ext4", "xfs")
        sample_max: int = 24
        lives: tuple[str, ...] = ()

    return Stub(id=f"t/{name}")


def test_a_run_that_lacks_a_finding_is_damaged(stores: dict[str, RunStore], tmp_path: Path) -> None:
    whole = stores["whole"]
    finished = events_of(whole)[-1]
    assert isinstance(finished, CampaignFinished)
    assert finished.summary["findings"] == sorted(whole.findings())
    copy = shutil.copytree(whole.directory, tmp_path / "copy")
    # A row may name a finding that was joined with another: chance met again what an exact run had shown.
    joined = msgspec.structs.replace(whole.rows()[0], trial_id="t/timed/0", findings=("0" * 32,))
    with open(copy / "trials.jsonl", "a", encoding="ascii") as stream:
        stream.write(encode_record(joined) + "\n")
    events_of(RunStore.open(str(copy), writable=False))
    shutil.rmtree(min((copy / "findings").iterdir()))
    with pytest.raises(StoreError, match="is damaged: findings/"):
        events_of(RunStore.open(str(copy), writable=False))
