"""compare, baseline and merged reports on the command line, on runs that were written by hand."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.campaign.store import RunStore
from harness.catalog.baseline import load_baseline
from harness.cli import campaigns
from harness.cli.campaigns import Baseline, campaign
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed, TrialFinished
from harness.core.shard import Shard
from harness.core.verdict import Finding, TrialRow
from tests.cli.command_line import Ended, in_process, one_line
from tests.report.two_runs import case, finding, line, started

TORN = finding()


def row(name: str = "errno/0", **more: Any) -> TrialRow:
    values = {"kind": "errno", "verdict": "held", "fault_class": "errno", **more}
    return TrialRow(trial_id=f"t/v/{name}", target="t", variant="v", seed=1, **values)


NULL = row("null", kind="null", fault_class="none")


def events(
    run_id: str, *findings: Finding, rows: tuple[TrialRow, ...] = (), code: int = 0, shard: Shard | None = None
) -> list[AnyEvent]:
    violated = bool(findings)
    lines = [line(bad_states=4 * violated, findings=tuple(item.key for item in findings))] if not rows else []
    lines += [line("errno", runs=sum(row.kind == "errno" for row in rows), distinct=0)] if rows else []
    told = msgspec.to_builtins(case(*lines))
    begun = started(run_id, shard, system="Linux", kernel=run_id, engine="ptrace")
    return [
        msgspec.structs.replace(begun, plan="p"),
        *(TrialFinished(row=item) for item in rows),
        *(FindingConfirmed(finding=item) for item in findings),
        CampaignFinished(
            verdict="violated" if violated else "held",
            exit_code=code,
            summary={"cases": [told], "control_problem": ""},
        ),
    ]


def stored(run_id: str, *findings: Finding, **more: Any) -> str:
    with RunStore.create(run_id=run_id) as store:
        store.write_run({"format_version": 1})
        for event in events(run_id, *findings, **more):
            if isinstance(event, TrialFinished):
                store.append_row(event.row)
            elif isinstance(event, FindingConfirmed):
                store.write_finding(event.finding.key, event.finding)
            store.keep(event)
    return run_id


def test_compare_says_fixed_unchanged_and_worse() -> None:
    stored("bad", TORN)
    stored("good")
    fixed = in_process("compare", "bad", "good")
    assert (fixed.exit_code, fixed.err) == (0, "")
    assert fixed.out.splitlines()[-1].startswith("Fixed: the one finding of A")
    assert in_process("compare", "bad", "latest").out == fixed.out
    assert in_process("compare", "bad", "bad").out.splitlines()[-1] == "Unchanged: 1 unchanged."
    worse = in_process("compare", "good", "bad", "--json")
    assert worse.exit_code == 1
    assert worse.result("comparison")["answer"] == "worse"
    pasted = in_process("compare", "bad", "good", "--markdown")
    assert pasted.out.startswith("# tornwrite compare: fixed\n")


def test_compare_cannot_decide_what_was_not_measured() -> None:
    stored("bad", TORN)
    stored("errno", rows=(row(),))
    ended = in_process("compare", "bad", "errno", "--json")
    assert ended.exit_code == 3
    assert ended.result("comparison")["findings"][0]["status"] == "not measured in B"
    assert ended.document["errors"]


def test_shards_and_systems_in_one_report() -> None:
    stored("one", rows=(NULL, row("errno/0")), shard=Shard(1, 2))
    stored("two", rows=(NULL, row("errno/1")), shard=Shard(2, 2))
    merged = in_process("report", "one", "two", "--json")
    assert merged.exit_code == 0
    result = merged.result("campaign")
    assert result["run_id"] == "one+two"
    assert result["cases"][0]["case"]["classes"][0]["runs"] == 2
    assert in_process("report", "two", "one", "--json").document["result"]["run_id"] == "one+two"
    assert "0/2" in in_process("report", "one", "two").out
    assert in_process("report", "one", "two", "--junit").out.startswith("<?xml")
    assert in_process("compare", "one,two", "two,one").out.splitlines()[-1].startswith("Unchanged")
    stored("other", TORN, code=1)
    systems = in_process("report", "one", "two", "other", "--json")
    assert systems.exit_code == 1
    assert len(systems.result("pooled")["systems"]) == 2
    assert in_process("report", "one", "two", "other", "--markdown").out.startswith("# tornwrite: several systems")
    missing = in_process("report", "one", "other")
    assert "shard 2/2: missing" in missing.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "bad"), "Missing argument 'RUN_B'"),
        (("compare", "bad", "nothing"), "no run 'nothing'"),
        (("compare", "bad,good", "good"), "'bad,good': not shards of one run"),
        (("compare", "one,one", "good"), "'one' is named twice"),
        (("report", "bad", "bad"), "'bad' is named twice"),
        (("report", "one", "again"), "shard 1/2 is there twice: "),
        (("report", "bad", "good", "--junit"), "--junit: these are runs of several systems"),
        (("report", "bad", "--markdown", "--junit"), "one of them at a time"),
        (("report", "bad", "good", "--rejudge"), "--rejudge takes one run"),
        (("report", "bad", "--rejudge", "--markdown"), "--rejudge prints text"),
        (("report", "bad", "--rejudge"), "bad: does not say what it was asked"),
        (("baseline", "nothing"), "no run 'nothing'"),
        (("run", "--shard", "3/2"), "'3/2': the shards of 2 are 1/2 to 2/2"),
        (("run", "--shard", "x"), "'x' is not a shard; valid: K/N"),
        (("run", "--baseline", "none.toml"), "none.toml: cannot be read"),
    ],
)
def test_wrong_words(words: tuple[str, ...], said: str) -> None:
    for name in ("bad", "good"):
        stored(name)
    stored("one", shard=Shard(1, 2))
    stored("again", shard=Shard(1, 2))
    ended = in_process(*words)
    assert ended.exit_code == 2
    assert said in one_line(ended)


def test_a_baseline_from_a_run_to_a_run(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    stored("bad", TORN, code=1)
    text = in_process("baseline", "bad").out
    assert fits_toml(in_process("baseline", "bad", "--json")) == text
    known = here / "known.toml"
    known.write_text(text)
    assert "[known 1] link: not filled in" in one_line(in_process("run", "--baseline", "known.toml"))
    known.write_text(text.replace('link = "FILL IN"', 'link = "#7"').replace('"FILL IN"', '"2027-01-31"'))
    assert with_today(monkeypatch, date(2027, 1, 31), TORN) == (0, ["known"])
    assert with_today(monkeypatch, date(2027, 2, 1), TORN) == (1, ["expired"])
    assert with_today(monkeypatch, date(2027, 1, 31), TORN, finding("B1")) == (1, ["new", "known"])
    assert with_today(monkeypatch, date(2027, 1, 31)) == (0, ["gone"])


def fits_toml(ended: Ended) -> str:
    return str(ended.document["result"]["toml"])


def with_today(monkeypatch: pytest.MonkeyPatch, today: date, *findings: Finding) -> tuple[int, list[str]]:
    """Return the exit code of a campaign under the baseline on a day, and what its stored run says of the baseline."""

    def made(plan: Any, store: RunStore, options: Any, emit: Any, command: str) -> None:
        store.write_run({"format_version": 1})
        for event in events(store.run_id, *findings, code=int(bool(findings))):
            emit(event)

    monkeypatch.setattr(campaigns, "run_campaign", made)
    known = Baseline(load_baseline("known.toml"), today, "known.toml")
    with RunStore.create() as store:
        finished, collected = campaign(
            "run", store, lambda _: _, campaigns.Options(), False, "reports", known=known
        )
    kept = json.loads((Path(store.directory) / "run.json").read_text())["events"][-1]
    assert kept["exit_code"] == finished.exit_code
    baseline = collected.view().baseline
    assert baseline is not None
    assert kept["summary"]["baseline"]["today"] == today.isoformat()
    return finished.exit_code, [item.standing for item in baseline.judged]
