"""Runs what answers the claims: campaigns over the variants and faults asked about, and the named measurements."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from harness.campaign.plan import Options, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Scenario, Workload, load_scenario, select
from harness.catalog.steps import Tools
from harness.core.dialogue import without_dialogue
from harness.core.event import AnyEvent, FindingConfirmed
from harness.core.fault import FAULT_CLASSES, FaultClass
from harness.core.json_record import parse_json
from harness.core.verdict import Finding
from harness.seeds import conversations, drift, entries, forks, indexes, losses
from harness.seeds.bench import NotThereError, NotThisMachineError
from harness.seeds.claim import Claim, Class, Evidence, Fact, Measured, Setting, Unmeasured

WORKLOADS = {
    "transcript": Workload(sessions=1, updates=3, record_bytes=(200, 9_000), tools=Tools(parallel=3)),
    "registry": Workload(sessions=2, updates=4, record_bytes=(60, 3_000)),
    "sessions_index": Workload(sessions=3, updates=7, record_bytes=(60, 1_500)),
    "fork_session": Workload(sessions=1, updates=40, record_bytes=(600, 12_000)),
}
"""The work of each family: small enough for every state to be explored, large enough for a write to cross pages."""

RACE = Workload(
    sessions=1,
    updates=3,
    record_bytes=(60_000, 120_000),
    tools=Tools(parallel=3, duration_ms=(1, 6), result_bytes=(20, 2_000)),
)
"""Tools that are done within milliseconds of each other, on a large transcript: the rewrites meet again and again."""

RATE = "one_in_ten"
"""The scenario whose workload sets how often rewrites meet by chance; see there."""

RATE_RUNS = 500
RACE_RUNS = 24
SIGNAL_RUNS = 24
SAMPLES = 12
ATTEMPTS = 3
LIVES = "index_drift"
"""The scenario that says how each life of an index keeper ends."""

MEASUREMENTS: Mapping[str, Callable[[Claim], Fact]] = MappingProxyType(
    {**conversations.MEASUREMENTS, **entries.MEASUREMENTS, **indexes.MEASUREMENTS, **forks.MEASUREMENTS}
)
"""What runs the programs of a variant and returns a fact, by name."""


class Group(NamedTuple):
    """Claims that one campaign answers. ``fault`` is empty where its ``scenario`` says what happens."""

    family: str
    setting: Setting
    fault: str
    scenario: str = ""


def family_of(variant: str) -> str:
    """Return the target of ``target/variant[@version]``."""
    return variant.partition("/")[0]


def group_of(claim: Claim) -> Group:
    """Return the campaign that a claim belongs to; what a run without a fault shows is seen under kill too."""
    if claim.setting == "lives":
        return Group(family_of(claim.variant), "lives", "", LIVES)
    if claim.setting == "dialogues":
        return Group(family_of(claim.variant), "dialogues", "", claim.of)
    return Group(family_of(claim.variant), claim.setting, "kill" if claim.fault == "none" else claim.fault)


def measure(claims: Iterable[Claim], reports: str) -> dict[str, Evidence]:
    """Return what was measured for each claim, by its id; the runs of campaigns are kept below ``reports``."""
    found: dict[str, Evidence] = {}
    groups: dict[Group, list[Claim]] = {}
    for claim in claims:
        program = measurement_of(claim)
        if program is not None:
            found[claim.id] = _fact(claim, program)
        elif not claim.is_open:
            groups.setdefault(group_of(claim), []).append(claim)
    for group, mine in groups.items():
        found |= _campaign(group, mine, reports)
    return found


def measurement_of(claim: Claim) -> Callable[[Claim], Fact] | None:
    """Return what answers a claim by itself, without a campaign; ``None`` for others."""
    return MEASUREMENTS.get(claim.measure) or losses.SETTINGS.get(claim.setting)


def _fact(claim: Claim, program: Callable[[Claim], Fact]) -> Evidence:
    try:
        return program(claim)
    except NotThisMachineError as error:
        return Unmeasured(reason=str(error), elsewhere=True)
    except NotThereError as error:
        return Unmeasured(reason=str(error))


def _scenario(group: Group, claims: Iterable[Claim]) -> Scenario:
    variants = tuple(dict.fromkeys(claim.variant for claim in claims))
    if group.setting == "lives":
        return msgspec.structs.replace(load_scenario(LIVES), targets=variants, faults=("kill",), samples=SAMPLES)
    if group.setting == "dialogues":
        return msgspec.structs.replace(load_scenario(group.scenario), targets=variants)
    workload = RACE if group.setting == "race" else WORKLOADS[group.family]
    if group.setting == "rate":
        workload = load_scenario(RATE).workload
    if group.setting == "alone":
        workload = msgspec.structs.replace(workload, tools=msgspec.structs.replace(workload.tools, parallel=1))
    return Scenario(
        name=f"seeds_{group.family}",
        targets=variants,
        faults=_classes(group.fault),
        timed=SIGNAL_RUNS if group.fault == "signal" else 0,
        runs=RATE_RUNS if group.setting == "rate" else RACE_RUNS,
        samples=SAMPLES,
        attempts=ATTEMPTS,
        # What is rare among so many runs would be run again as often, to prove it.
        invariants=tuple({name for claim in claims for name in claim.finds}) if group.setting == "rate" else (),
        workload=workload,
    )


def _classes(fault: str) -> tuple[FaultClass, ...]:
    return tuple(name for name in FAULT_CLASSES if name == fault)


def _campaign(group: Group, claims: list[Claim], reports: str) -> dict[str, Evidence]:
    """Run one campaign and return what it says for each of its claims."""
    seen: list[Finding] = []

    def note(event: AnyEvent) -> None:
        if isinstance(event, FindingConfirmed) and not event.finding.control:
            seen.append(event.finding)

    options = Options()
    scenario = _scenario(group, claims)
    with RunStore.create(reports) as store:
        finished = run_campaign(
            lambda workspace: plan_scenario(scenario, options, workspace, select(scenario.targets)),
            store,
            options,
            note,
            "make seeds",
        )
        told = _lives(store.directory) if group.setting == "lives" else {}
    if finished.verdict == "broken":
        trouble = finished.summary.get("control_problem") or "a recording or a run of the harness failed"
        return {claim.id: Unmeasured(reason=f"the campaign is broken: {trouble}") for claim in claims}
    cases = {}
    for case in finished.summary["cases"]:
        if not case["control"]:
            lines = {line["fault_class"]: msgspec.convert(line, Class) for line in case["classes"]}
            lines.setdefault("none", Class(verdict=case["null_verdict"], runs=1))
            mine = tuple(item for item in seen if _label(item) == case["id"])
            cases[_variant_of(case["id"])] = Measured(classes=lines, findings=mine)
    return {claim.id: _evidence(claim, cases, told) for claim in claims}


def _evidence(claim: Claim, cases: Mapping[str, Measured], told: Mapping[str, Any]) -> Evidence:
    if claim.measure and claim.variant in told:
        return drift.MEASUREMENTS[claim.measure](told[claim.variant], claim)
    return cases.get(claim.variant) or Unmeasured(
        reason=f"{claim.variant} is not available here", elsewhere=claim.setting == "dialogues"
    )


def _lives(directory: str) -> dict[str, Any]:
    """Return what a run kept of the lives of each case, by its id."""
    place = os.path.join(directory, "lives")
    found = {}
    for name in sorted(os.listdir(place)):
        with open(os.path.join(place, name), "rb") as stream:
            document = parse_json(stream.read())
        found[document["case"]] = document["lives"]
    return found


def _variant_of(case_id: str) -> str:
    """Return the variant of a case, without the dialogue that one of a group's scenario is called after."""
    variant, _, version = case_id.partition("@")
    return without_dialogue(variant) + (f"@{version}" if version else "")


def _label(finding: Finding) -> str:
    return f"{finding.target}/{finding.variant}" + (f"@{finding.version}" if finding.version else "")
