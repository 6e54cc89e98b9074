"""Runs the campaigns that answer the claims: one per family of writers, over the variants and faults asked about."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Scenario, Workload, load_scenario, select
from harness.catalog.steps import Tools
from harness.core.event import AnyEvent, FindingConfirmed
from harness.core.fault import FAULT_CLASSES, FaultClass
from harness.core.verdict import Finding
from harness.seeds.claim import Claim, Class, Measured, Setting

Subject = tuple[str, Setting]
"""A variant, in a setting."""

WORKLOADS = {
    "transcript": Workload(sessions=1, updates=3, record_bytes=(200, 9_000), tools=Tools(parallel=3)),
    "registry": Workload(sessions=2, updates=4, record_bytes=(60, 3_000)),
    "fork_session": Workload(sessions=1, updates=40, record_bytes=(600, 12_000)),
}
"""The work of each family: small enough for every state to be explored, large enough for a write to cross pages."""

LIVES = {"sessions_index": "index_drift"}
"""Families whose writers are followed from start to start: the scenario that says how each life ends."""

RATE = Workload(
    sessions=1,
    updates=1,
    record_bytes=(400_000, 600_000),
    tools=Tools(parallel=3, duration_ms=(20, 800), result_bytes=(20, 2_000)),
)
"""One turn of three tools on a transcript of 1.5 MB, which makes the rewrites meet now and then."""

CONCURRENCY_RUNS = 60
SIGNAL_RUNS = 24
SAMPLES = 12


def family_of(variant: str) -> str:
    """Return the target of ``target/variant[@version]``."""
    return variant.partition("/")[0]


def faults_of(claims: Iterable[Claim]) -> tuple[FaultClass, ...]:
    """Return the fault classes that claims ask about."""
    asked = {claim.fault for claim in claims} - {"none"}
    return tuple(name for name in FAULT_CLASSES if name in asked)


def measure(claims: Iterable[Claim], reports: str) -> dict[Subject, Measured]:
    """Return what campaigns say of every variant that the claims are about; runs are kept below ``reports``."""
    found: dict[Subject, Measured] = {}
    asked: dict[tuple[str, Setting], list[Claim]] = {}
    for claim in claims:
        if not claim.is_open:
            asked.setdefault((family_of(claim.variant), claim.setting), []).append(claim)
    for (family, setting), mine in asked.items():
        measured = _campaign(_scenario(family, setting, mine), reports)
        found |= {(variant, setting): value for variant, value in measured.items()}
    return found


def _scenario(family: str, setting: Setting, claims: list[Claim]) -> Scenario:
    variants = tuple(dict.fromkeys(claim.variant for claim in claims))
    base = load_scenario(LIVES[family]) if family in LIVES else Scenario(name=f"seeds_{family}", targets=variants)
    workload = RATE if setting == "rate" else WORKLOADS.get(family, base.workload)
    if setting == "alone":
        workload = msgspec.structs.replace(workload, tools=msgspec.structs.replace(workload.tools, parallel=1))
    return msgspec.structs.replace(
        base,
        targets=variants,
        faults=faults_of(claims),
        timed=SIGNAL_RUNS,
        runs=CONCURRENCY_RUNS,
        samples=SAMPLES,
        invariants=(),
        workload=workload,
    )


def _campaign(scenario: Scenario, reports: str) -> dict[str, Measured]:
    seen: list[Finding] = []

    def note(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed) and not event.finding.control:
            seen.append(event.finding)

    options = Options()
    with RunStore.create(reports) as store:
        finished = run_campaign(
            lambda workspace: plan_scenario(scenario, options, workspace, select(scenario.targets)),
            store,
            options,
            note,
            "make seeds",
        )
    out = {}
    for case in finished.summary["cases"]:
        if case["control"]:
            continue
        lines = {line["fault_class"]: msgspec.convert(line, Class) for line in case["classes"]}
        if "none" not in lines:
            lines["none"] = Class(verdict=case["null_verdict"], runs=1)
        mine = tuple(item for item in seen if _label(item) == case["id"])
        out[case["id"]] = Measured(classes=lines, findings=mine)
    return out


def _label(finding: Finding) -> str:
    return f"{finding.target}/{finding.variant}" + (f"@{finding.version}" if finding.version else "")
