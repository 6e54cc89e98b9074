"""Runs made by hand, for reports that hold several against each other."""

from __future__ import annotations

from typing import Any

from harness.core.event import CampaignFinished, CampaignStarted
from harness.core.fault import CrashPoint
from harness.core.shard import Shard
from harness.core.verdict import Confirmation, Finding, fingerprint_of
from harness.report.view import CaseView, ClassLine, RunView

WRITE = CrashPoint(operation="write", role="a.json", occurrence=1, phase="after")


def finding(
    invariant: str = "M1",
    fault_class: Any = "kill",
    *,
    variant: str = "v",
    version: str = "",
    operation: str = "write",
    **more: Any,
) -> Finding:
    phase = "after" if operation != "unattributed" else ""
    name = fingerprint_of(
        target="t",
        variant=variant,
        invariant=invariant,
        fault_class=fault_class,
        operation=operation,
        role="a.json",
        phase=phase,
    )
    values: dict[str, Any] = {
        "crash_point": WRITE if phase else None,
        "states": 4 if phase else 0,
        "damage": "torn",
        "message": "the document is torn",
        "confirmation": Confirmation(attempts=3, confirmed=3),
        **more,
    }
    return Finding(
        fingerprint=name,
        target="t",
        variant=variant,
        version=version,
        invariant=invariant,
        fault_class=fault_class,
        operation=operation,
        role="a.json",
        phase=phase,
        **values,
    )


def line(fault_class: Any = "kill", *, bad: int = 0, runs: int = 0, **more: Any) -> ClassLine:
    violated = bad or more.get("bad_states")
    values: dict[str, Any] = {
        "verdict": "violated" if violated else "held",
        "expected": "held",
        "cut": 0,
        "distinct": 20,
        **more,
    }
    return ClassLine(fault_class=fault_class, bad=bad, runs=runs, **values)


def case(*lines: ClassLine, variant: str = "v", version: str = "", **more: Any) -> CaseView:
    name = f"t/{variant}" + (f"@{version}" if version else "")
    values = {"id": name, "null_verdict": "held", **more}
    return CaseView(target="t", variant=variant, version=version, classes=lines, **values)


def run(*cases: CaseView, findings: tuple[Finding, ...] = (), **more: Any) -> RunView:
    """A run that was carried out to its end."""
    values: dict[str, Any] = {
        "finished": CampaignFinished(verdict="held", exit_code=0),
        "started": started(),
        **more,
    }
    return RunView(cases=cases, findings=findings, **values)


def started(run_id: str = "R", shard: Shard | None = None, **environment: Any) -> CampaignStarted:
    return CampaignStarted(
        run_id=run_id,
        scenario="s",
        targets=("t/v",),
        seed=1,
        directory="",
        planned_trials=0,
        environment=environment,
        shard=shard or Shard(),
    )
