"""What the words after ``tornwrite run`` mean: scenarios, scenario files, targets; and what a resumed run was asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from harness.campaign.durable import StoreError
from harness.campaign.plan import Options, Plan, plan_scenario
from harness.campaign.store import RunStore
from harness.catalog import (
    ManifestError,
    NotAvailableError,
    Scenario,
    Selected,
    install_package,
    is_installed,
    joined,
    list_scenarios,
    load_scenario,
    select,
)
from harness.catalog.data import target_directories
from harness.catalog.schema import suggestion
from harness.catalog.selection import at_versions
from harness.cli.output import say
from harness.sandbox.workspace import Workspace

DEFAULT_NAME = "five_stories"


def _is_scenario(name: str) -> bool:
    return name.endswith(".toml") or any(item.name == name for item in list_scenarios())


def _checked(name: str) -> str:
    """Return a name that can be a target's; else say what is near, among scenarios and targets."""
    head = name.partition("@")[0].partition("/")[0]
    known = {*target_directories(), *(item.name for item in list_scenarios())}
    if head not in known and not any(mark in name for mark in "*?./\\"):
        file = f"{name}.toml"
        hint = f"; did you mean the file {file!r}?" if os.path.isfile(file) else suggestion(head, known)
        raise ManifestError(f"no scenario or target {name!r}{hint}")
    return name


def scenario_of(
    names: tuple[str, ...], targets: tuple[str, ...], seed: int | None = None
) -> tuple[Scenario, tuple[Selected, ...] | None]:
    """Return the scenario to run and, where targets were named, which variants of it.

    A scenario's name wins over a target's. Several scenarios are the parts of one campaign. Targets without a scenario
    run under the default workload.
    """
    scenarios = [load_scenario(name) for name in names if _is_scenario(name)]
    wanted = [_checked(name) for name in (*names, *targets) if name in targets or not _is_scenario(name)]
    if not scenarios and not wanted:
        scenarios = [load_scenario(DEFAULT_NAME)]
    chosen = select(wanted) if wanted else None
    if scenarios:
        return joined(scenarios, seed), chosen
    return Scenario(name=" ".join(wanted), targets=tuple(wanted)), chosen


def planner(names: tuple[str, ...], targets: tuple[str, ...], options: Options) -> Callable[[Workspace], Plan]:
    """Return what makes the plan of a command line. Raises :class:`ManifestError` for a name that is none."""
    scenario, selected = scenario_of(names, targets, options.seed)
    named = [each for each in (*names, *targets) if "@" in each and not _is_scenario(each)]
    if options.versions and named:
        raise ManifestError(f"--versions: {named[0]!r} names a version itself; give one or the other")

    def make_plan(workspace: Workspace) -> Plan:
        return plan_scenario(scenario, options, workspace, selected, (names, targets))

    return make_plan


def install_versions(names: tuple[str, ...], targets: tuple[str, ...], versions: tuple[str, ...]) -> None:
    """Put the versions that were asked for into the cache; one that cannot be had is not available to the campaign."""
    scenario, selected = scenario_of(names, targets)
    chosen = selected or select(name for part in scenario.parts or (scenario,) for name in part.targets)
    packages = {each.variant.package for each in at_versions(chosen, versions) if each.variant.package is not None}
    for package in sorted(packages, key=str):
        if is_installed(package):
            continue
        say(f"installing {package.name} {package.version} …")
        try:
            install_package(package)
        except NotAvailableError as error:
            say(f"not available: {error}")


def run_to_resume(reports: str) -> str:
    """Return the directory of the newest run without a verdict, else of the newest run.

    Raises :class:`ManifestError` where there is none that could be resumed.
    """
    runs = os.path.join(os.path.abspath(reports), "runs")
    finished = ""
    for name in sorted(os.listdir(runs) if os.path.isdir(runs) else (), reverse=True):
        directory = os.path.join(runs, name)
        try:
            kept = RunStore.open(directory, writable=False).read_run()
        except StoreError:
            continue  # killed before it had written down what it was asked
        if kept.get("kind", "run") != "run":
            continue
        if not _has_verdict(kept):
            return directory
        finished = finished or directory
    if finished:
        return finished
    raise ManifestError(f"no run yet below {runs!r} that could be resumed")


def _has_verdict(kept: dict[str, Any]) -> bool:
    events = kept.get("events")
    return isinstance(events, list) and any(
        isinstance(event, dict) and event.get("event") == "campaign_finished" for event in events
    )


def restore(
    store: RunStore, names: tuple[str, ...], targets: tuple[str, ...], options: Options
) -> tuple[tuple[str, ...], tuple[str, ...], Options]:
    """Return what an interrupted run was asked, so that it goes on as it began.

    Raises :class:`ManifestError` when the command line asks for something else.
    """
    kept = store.read_run()
    kind = kept.get("kind", "run")
    if kind != "run":
        raise ManifestError(f"{store.run_id} is a {kind}: only what 'tornwrite run' began can be resumed")
    try:
        asked = msgspec.convert(kept["options"], Options)
        old_names, old_targets = tuple(kept["names"]), tuple(kept["selectors"])
    except (KeyError, TypeError, msgspec.ValidationError):
        raise ManifestError(f"{store.run_id}: not a run that can be resumed") from None
    if (names or targets) and (names, targets) != (old_names, old_targets):
        raise ManifestError(f"{store.run_id} was a run of {' '.join((*old_names, *old_targets)) or DEFAULT_NAME}")
    changed = [
        name
        for name in ("seed", "faults", "profiles", "timed", "content", "shard", "versions")
        if getattr(options, name) != getattr(Options(), name) and getattr(options, name) != getattr(asked, name)
    ]
    if changed:
        raise ManifestError(f"--resume goes on with the same campaign: {', '.join(changed)} cannot change")
    return old_names, old_targets, msgspec.structs.replace(asked, jobs=options.jobs, budget_s=options.budget_s)
