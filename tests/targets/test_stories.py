"""Every vulnerable variant is violated for the reason that its story tells: class, invariants, damage.

One campaign per fault class over small workloads, each finding confirmed by a real run. ``--evidence`` runs all;
else a few variants under kill are. Run with ``-s`` for the table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from harness.campaign.plan import Options, Plan, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import NotAvailableError, Scenario, Workload, install, list_targets, load_target, select
from harness.catalog.steps import Tools
from harness.core.event import AnyEvent, FindingConfirmed
from harness.core.fault import FaultClass
from harness.core.verdict import Finding
from harness.engines import engine
from harness.sandbox.workspace import Workspace

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
SMALL = Workload(
    sessions=2,
    updates=3,
    record_bytes=(60, 5000),
    tools=Tools(parallel=2, duration_ms=(1, 4), result_bytes=(20, 2000)),
)
RACE = Workload(
    sessions=1,
    updates=2,
    record_bytes=(20_000, 60_000),
    tools=Tools(parallel=8, duration_ms=(1, 2), result_bytes=(20, 200)),
)
"""Many tools that are done at about the same time, on a transcript that takes a moment to rewrite."""
RUNS, SAMPLES, ERROR_PLANS = 20, 12, 40


class Told(NamedTuple):
    """What a story tells: under which fault, which invariants it breaks, with one of which kinds of damage."""

    fault: FaultClass
    invariants: tuple[str, ...]
    damage: tuple[str, ...]


LOSES_RESULTS = Told("concurrency", ("B5",), ("lost",))
REFUSED = Told("concurrency", ("T1", "T2"), ("rejected",))
"""What a lost line of a call or of a result makes of the conversation."""
TORN_IN_PLACE = (Told("kill", ("M1",), ("empty",)), Told("kill", ("M1",), ("torn",)))
HIDDEN = Told("kill", ("M10",), ("unreadable",))
NOT_WRITTEN = Told("kill", ("M6",), ("stale",))
EMPTIED = Told("kill", ("M1",), ("empty",))
SHORT_IGNORED = Told("short", ("W1",), ("silent",))

STORIES: dict[str, tuple[Told, ...]] = {
    # who writes last has not seen what the other wrote; a kill between truncating and writing loses what was there
    "transcript/read_modify_write": (LOSES_RESULTS, REFUSED, Told("kill", ("B6",), ("empty",))),
    "transcript/read_modify_write_node": (LOSES_RESULTS, REFUSED, Told("kill", ("B6",), ("empty",))),
    # acknowledged, and only queued
    "transcript/batched": (Told("kill", ("B5",), ("lost", "missing")), Told("kill", ("T1",), ("rejected",))),
    "transcript/batched_node": (Told("kill", ("B5",), ("lost", "missing")), Told("kill", ("T1",), ("rejected",))),
    # nothing is closed, healed or checked
    "transcript/per_record": (
        Told("kill", ("T1",), ("rejected",)),
        Told("kill", ("B2",), ("torn",)),
        SHORT_IGNORED,
    ),
    # a JSON array is made of the JSONL file, whatever happens
    "transcript/seed000_example_moved": (Told("none", ("B2",), ("torn",)), Told("none", ("B5",), ("lost",))),
    "transcript/tmp_fsync_rename": (LOSES_RESULTS,),
    "registry/in_place": (*TORN_IN_PLACE, HIDDEN),
    "registry/in_place_node": (*TORN_IN_PLACE, HIDDEN),
    # one fixed temporary name
    "registry/seed002_fix": (Told("none", ("W3",), ("other",)),),
    # an exit that does not come writes no index; one that comes truncates it first
    "sessions_index/cached_snapshot": (NOT_WRITTEN, EMPTIED),
    "sessions_index/seed003_merge": (NOT_WRITTEN, EMPTIED),
    "sessions_index/seed003_rebuild_24h": (NOT_WRITTEN, EMPTIED),
    # a new name that a lister shows before it is whole; one write, its result ignored
    "fork_session/sdk": (Told("kill", ("W2",), ("empty",)), Told("kill", ("W2",), ("torn",)), SHORT_IGNORED),
    "fork_session/seed004_fix": (SHORT_IGNORED,),
    "fork_session/rename_session": (Told("kill", ("B1",), ("torn",)), SHORT_IGNORED),
    "fork_session/tag_session": (SHORT_IGNORED,),
    "fork_session/delete_session": (Told("errno", ("W8",), ("silent",)),),
    "published/strands_in_place": TORN_IN_PLACE,
    # one fixed temporary name
    "published/lowdb": (Told("none", ("W3",), ("other",)),),
    # the directory first, the file that says that it is a session later: what is between the two "already exists"
    "published/strands_new_session": (Told("kill", ("B7",), ("unreadable",)),),
    "reference/buggy": TORN_IN_PLACE,
}
"""By variant, without its version. What chance decides is confirmed where it came back once."""

NEVER_RUNS = "transcript/seed000_example"
"""As published it fails at its first save: there is no run to interrupt, and nothing is ever saved."""

ONLY_TOGETHER = "published/atomicwrites_caller"
"""It takes a second one to lose anything: :mod:`tests.campaign.test_two_writers`."""

VERSIONS = {
    "fork_session": "0.1.72",
    "published": "1.62.0",
    "published/strands_in_place": "1.14.0",
    "published/lowdb": "7.0.1",
}
"""Of the targets, or variants, that are published packages: which version stands for all."""

QUICK = ("transcript/batched", "registry/in_place", "sessions_index/cached_snapshot")


def campaign(names: Iterable[str], fault: FaultClass, directory: Path) -> dict[str, list[Finding]]:
    """Return the findings of a campaign over variants under one fault class, by variant."""
    chosen = select(list(names))
    work = RACE if fault == "concurrency" else SMALL
    scenario = Scenario(
        name="stories", targets=(), faults=(fault,), workload=work, samples=SAMPLES, attempts=1, runs=RUNS
    )
    options, seen = Options(jobs=2), list[AnyEvent]()

    def make_plan(workspace: Workspace) -> Plan:
        plan = plan_scenario(scenario, options, workspace, chosen)
        few = tuple(msgspec.structs.replace(case, errno_max=ERROR_PLANS) for case in plan.cases)
        return msgspec.structs.replace(plan, cases=few)

    with RunStore.create(str(directory)) as store:
        run_campaign(make_plan, store, options, seen.append, "stories")
    out: dict[str, list[Finding]] = {}
    for event in seen:
        if isinstance(event, FindingConfirmed) and not event.finding.control:
            out.setdefault(f"{event.finding.target}/{event.finding.variant}", []).append(event.finding)
    return out


def version_of(name: str) -> str:
    """Return the selector of a variant: of published ones, one version."""
    version = VERSIONS.get(name) or VERSIONS.get(name.partition("/")[0], "")
    return f"{name}@{version}" if version else name


def shows_under(told: Told) -> FaultClass:
    """Return the class of the campaign that shows it: what needs no fault shows in the run before any."""
    return "kill" if told.fault == "none" else told.fault


def tells(told: Told, found: Iterable[Finding]) -> bool:
    """Whether a confirmed finding is what the story tells."""
    return any(
        item.fault_class == told.fault
        and item.invariant in told.invariants
        and item.damage in told.damage
        and (item.is_confirmed or told.fault == "none")
        for item in found
    )


def test_every_vulnerable_variant_has_a_story() -> None:
    """A variant that its manifest expects to be violated by a process crash, an error or a race stands in the table.

    One that only refuses to start on what others damaged is not vulnerable: it says so. What a power loss alone tells
    is not a story of these: see ``test_power_stories`` and ``test_published_power``.
    """
    vulnerable = {
        f"{target.name}/{variant.name}"
        for target in list_targets()
        for variant in target.variants
        if any(
            word == "violated" and name != "damage" and not name.startswith("power.")
            for name, word in variant.expect.items()
        )
    }
    assert vulnerable == {*STORIES, NEVER_RUNS, ONLY_TOGETHER}


@pytest.mark.timeout(3000)  # three minutes of a processor, and of what a busy machine leaves of it
def test_variants_are_violated_for_the_reason_that_their_story_tells(tmp_path: Path, evidence: bool) -> None:
    if evidence:
        for target, version in VERSIONS.items():
            with contextlib.suppress(NotAvailableError):
                install(load_target(target.partition("/")[0]), version)
    stories = STORIES if evidence else {name: STORIES[name] for name in QUICK}
    found: dict[str, list[Finding]] = {}
    for fault in ("kill", "short", "errno", "concurrency"):
        names = [name for name, tale in stories.items() if any(shows_under(told) == fault for told in tale)]
        if names:
            for name, mine in campaign(map(version_of, names), fault, tmp_path / fault).items():
                found.setdefault(name, []).extend(mine)
    rows = [(name, told, tells(told, found.get(name, ()))) for name, tale in stories.items() for told in tale]
    for name, told, is_so in rows:
        print(f"{name:<34} {told.fault:<12} {' '.join(told.invariants):<6} {'/'.join(told.damage):<20} {is_so}")
    assert [(name, told) for name, told, is_so in rows if not is_so] == []
