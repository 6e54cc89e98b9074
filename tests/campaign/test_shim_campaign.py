"""Campaigns of the shim engine say what those of ptrace say, and how they came to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from conducting import IN_PLACE, Conducted, conduct_probe

from harness.campaign import plan as planning
from harness.campaign.plan import NoEngineError, Options, choose_engine, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import load_scenario
from harness.core.fault import FaultClass
from harness.engines import engine
from harness.engines.shim.blind import sentence

SCENARIOS = (
    "registry_crash",
    "one_in_ten",
    "interrupted_turn",
    "index_drift",
    "demo",
    "reference",
    "parallel_tools",
    "fork_session",
    "published_power",
    "correct_writers",
)
"""All that are shipped, but for those made of parts of these, and those of power losses and schedules alone."""
UNSEEN = ("correct/sqlite_wal", "correct/sqlite_journal")
"""SQLite writes from native code: a blind spot that the engine names, so its verdict is *inconclusive*."""
EXACT: tuple[FaultClass, ...] = ("kill", "short", "errno")


def refusing(*names: str) -> Any:
    def require(name: str = "ptrace") -> None:
        if name in names:
            raise NoEngineError(f"no engine can watch file operations here: {name}: not available: hidden")

    return require


def test_the_first_engine_that_works_is_used_and_the_second_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "require_engine", refusing())
    assert choose_engine() == ("ptrace", "") and choose_engine("shim") == ("shim", "")
    monkeypatch.setattr(planning, "require_engine", refusing("ptrace"))
    assert choose_engine() == ("shim", "ptrace is not available here (hidden); the shim engine is used")
    with pytest.raises(NoEngineError):
        choose_engine("ptrace")
    monkeypatch.setattr(planning, "require_engine", refusing("ptrace", "shim"))
    with pytest.raises(NoEngineError, match="ptrace: not available: hidden; shim: not available: hidden"):
        choose_engine()


def skip_unless_both() -> None:
    for name in ("ptrace", "shim"):
        reason = engine(name).available()
        if reason:
            pytest.skip(f"{name}: {reason}")


def keys(conducted: Conducted) -> dict[str, str]:
    return {item.key: item.fault_class for item in conducted.findings}


@pytest.mark.real
def test_a_probe_finds_the_same_and_says_what_it_could_not_see(tmp_path: Path) -> None:
    skip_unless_both()
    script = tmp_path / "save.py"
    script.write_text(IN_PLACE)
    traced = conduct_probe(tmp_path / "ptrace", script, ("kill", "short"))
    shimmed = conduct_probe(tmp_path / "shim", script, ("kill", "short"), engine="shim")
    assert shimmed.finished.verdict == traced.finished.verdict == "violated"
    assert keys(shimmed) == keys(traced) and keys(shimmed)
    killed = [item for item in shimmed.findings if item.fault_class == "kill"]
    assert killed and all(item.is_confirmed for item in killed)
    assert {item.confirmation.method for item in killed} == {
        "killed again at the same operation, forked from a preloaded process"
    }
    assert f"not seen: {sentence('python')}" in shimmed.notices
    assert not any("shim" in text for text in traced.notices)
    assert {row.engine for row in shimmed.rows.values()} <= {"shim", "forked", ""}


def verdicts(name: str, engine_name: str, base: Path) -> dict[str, dict[str, Any]]:
    options = Options(engine=engine_name, faults=EXACT, timed=0, jobs=2, budget_s=240.0)
    with RunStore.create(str(base / engine_name)) as store:
        finished = run_campaign(
            lambda workspace: plan_scenario(load_scenario(name), options, workspace),
            store,
            options,
            lambda _: None,
            "-",
        )
    found: dict[str, dict[str, Any]] = {}
    for item in msgspec.to_builtins(finished.summary)["cases"]:
        found[item["id"]] = {line["fault_class"]: (line["verdict"], line["distinct"]) for line in item["classes"]}
    return found


@pytest.mark.real
@pytest.mark.timeout(1200)  # two campaigns of up to four minutes and more, one after the other
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_has_the_verdicts_that_it_has_under_ptrace(name: str, evidence: bool, tmp_path: Path) -> None:
    if not evidence:
        pytest.skip("ten scenarios under two engines, one after the other: --evidence")
    skip_unless_both()
    traced, shimmed = (
        {
            case: {cls: line[0] for cls, line in lines.items() if cls != "none"}  # one run: a race in it is chance
            for case, lines in verdicts(name, engine_name, tmp_path).items()
        }
        for engine_name in ("ptrace", "shim")
    )
    for case in traced:
        if case in UNSEEN:
            assert set(shimmed[case].values()) == {"inconclusive"}
            shimmed[case] = traced[case]
    assert shimmed == traced
