"""Scenarios made of other scenarios: ``[[part]]`` tables, or several names on a command line. One campaign, one table.

Each part keeps its own workload, faults, invariants and lives, and may be asked for less of them. The seed and the
budget belong to the campaign. A part names a shipped scenario, or a file, from the directory of the file it stands in.

Non-goals: parts of parts. A scenario that is made of parts is no part itself, so there can be no cycle.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from harness.catalog.data import scenario_files
from harness.catalog.profiles import beside
from harness.catalog.schema import ManifestError, read_toml, suggestion
from harness.catalog.selection import Selected
from harness.core.fault import FaultClass

if TYPE_CHECKING:
    from harness.catalog.scenario import Scenario

PART_KEYS = (
    "targets",
    "faults",
    "profiles",
    "invariants",
    "timed",
    "runs",
    "dialogues",
    "cuts",
    "attempts",
    "samples",
)
"""What a scenario made of parts leaves to them."""
MAX_PARTS = 32


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[part]]``: a scenario, and what to ask for in place of what stands there. What is left out stays as it is.

    The shape that a file must have; what is given counts, not the defaults here.
    """

    scenario: str
    targets: tuple[str, ...] = ()
    faults: tuple[FaultClass, ...] = ()
    profiles: tuple[str, ...] = ()
    timed: int = 0
    runs: int = 0
    dialogues: int = 0
    cuts: int = 0
    attempts: int = 0
    samples: int = 0


def read_part(where: str, name: str, directory: str) -> tuple[str, dict[str, Any]]:
    """Return the path and the tables of the scenario that a part names. Raises :class:`ManifestError`."""
    known = scenario_files()
    if name in known:
        path = known[name]
    elif name.endswith(".toml"):
        path = os.path.join(directory, name)
    else:
        raise ManifestError(f"{where} scenario: no scenario {name!r}{suggestion(name, known)}")
    tables = read_toml(path)
    if "part" in tables:
        raise ManifestError(f"{where} scenario: {name!r} is made of parts itself; name its parts instead")
    return path, tables


def compile_parts(
    shown: str,
    parts: Iterable[Mapping[str, Any]],
    directory: str,
    compile_one: Callable[[str, dict[str, Any], str], Scenario],
    seed: int,
) -> tuple[Scenario, ...]:
    """Return the scenarios of ``parts`` (tables of the shape of :class:`Part`), changed as they say.

    ``compile_one`` (name shown, tables, path) compiles a single scenario and refuses wrong values. Raises
    :class:`ManifestError`.
    """
    out: dict[str, Scenario] = {}
    for number, part in enumerate(parts, 1):
        where = f"{shown}: [part {number}]"
        name = part["scenario"]
        changed = {key: value for key, value in part.items() if key != "scenario"}
        if "profiles" in changed:  # of files: those beside the scenario that asks
            changed["profiles"] = tuple(beside(name, directory) for name in changed["profiles"])
        path, tables = read_part(where, name, directory)
        section = tables.get("scenario")
        if isinstance(section, dict):
            if "power" not in changed.get("faults", ("power",)):
                section.pop("profiles", None)  # it asks for less, and not for what has profiles
            tables = {**tables, "scenario": {**section, **changed, "seed": seed}}
        made = compile_one(f"{where} {name}", tables, path)
        if made.name in out:
            raise ManifestError(f"{where} scenario: {name!r} is a part already")
        out[made.name] = made
    if len(out) > MAX_PARTS:
        raise ManifestError(f"{shown}: {len(out)} parts; at most {MAX_PARTS}")
    return tuple(out.values())


def joined(scenarios: Iterable[Scenario], seed: int | None = None) -> Scenario:
    """Return the scenarios as the parts of one. Raises :class:`ManifestError` where they cannot share a campaign."""
    scenarios = tuple(scenarios)
    if len(scenarios) == 1:
        return scenarios[0]
    parts: dict[str, Scenario] = {}
    for part in (part for each in scenarios for part in each.parts or (each,)):
        if part.name in parts:
            raise ManifestError(f"scenario {part.name!r} is named twice")
        parts[part.name] = part
    seeds = {each.seed for each in scenarios}
    if seed is None and len(seeds) > 1:
        listed = ", ".join(f"{each.name} {each.seed}" for each in scenarios)
        raise ManifestError(f"one campaign has one seed, and these have {listed}; choose one with --seed N")
    budgets = [each.budget_s for each in scenarios]
    return msgspec.structs.replace(
        scenarios[0],
        name=" ".join(each.name for each in scenarios),
        story="",
        seed_story="",
        path="",
        budget_s=sum(budgets) if all(budgets) else 0.0,
        seed=min(seeds) if seed is None else seed,
        parts=tuple(parts.values()),
    )


def narrowed(
    chosen: Mapping[str, tuple[Selected, ...]], selected: Iterable[Selected]
) -> dict[str, tuple[Selected, ...]]:
    """Return of each part the variants that were selected. Raises :class:`ManifestError` where one is in no part."""
    there = {each.label for members in chosen.values() for each in members}
    wanted = {each.label for each in selected}
    for label in sorted(wanted - there):
        raise ManifestError(f"{label} is in none of the parts {', '.join(chosen)}{suggestion(label, there)}")
    return {name: tuple(each for each in members if each.label in wanted) for name, members in chosen.items()}


def refuse_twice(chosen: Mapping[str, tuple[Selected, ...]]) -> None:
    """Raise where a variant stands in two parts: its trials and findings are named after it alone."""
    part_of: dict[str, str] = {}
    for name, members in chosen.items():
        for each in members:
            other = part_of.setdefault(each.label, name)
            if other != name:
                raise ManifestError(
                    f"{each.label} is in {other} and in {name}: in one campaign a variant has one workload"
                )
