"""Scenario files: targets × workload × faults × invariants, as ``scenarios/<name>.toml``.

A scenario says what is done; what is expected stands with the target. One that is made of ``[[part]]`` tables takes
other scenarios into one campaign, each with its own workload, faults and invariants (:mod:`harness.catalog.parts`).
"""

from __future__ import annotations

import math
import os
import re
from typing import Any

import msgspec

from harness.catalog.data import scenario_files
from harness.catalog.lives import Life, problem_of_lives
from harness.catalog.parts import PART_KEYS, Part, compile_parts
from harness.catalog.profiles import beside, load_profiles
from harness.catalog.schema import ManifestError, convert, in_checkout, read_toml, suggestion
from harness.catalog.turns import compile_turns
from harness.catalog.workload import DEFAULT_WORKLOAD, Workload, problem
from harness.core.api_script import Api, Turn
from harness.core.dialogue import OF_CUTS, DialogueLife, fault_class_of, problem_of_cuts, problem_of_moments
from harness.core.dialogue import problem_of_lives as problem_of_dialogue
from harness.core.fault import FAULT_CLASSES, FaultClass
from harness.core.schedule import POLICIES

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_TRIALS = 1_000_000
_MAX_CUTS = 10_000
_MAX_BUDGET_S = 86_400.0

INVARIANT_IDS = tuple(
    f"{family}{number}"
    for family, last in (("B", 9), ("G", 7), ("T", 9), ("M", 10), ("W", 10), ("S", 6))
    for number in range(1, last + 1)
)
"""Every id that may be asked for; one whose check is not there is reported as never measured."""


DEFAULT_FAULTS: tuple[FaultClass, ...] = ("kill", "short", "errno", "power")


class ScenarioSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[scenario]``. Empty ``faults``: kill, short, errno and power; empty ``profiles``, under power:
    :data:`harness.catalog.profiles.DEFAULT_PROFILES`; empty ``invariants``: all that can be measured.

    ``timed``: timed kills per variant, and as many signals under ``signal``; ``runs``: runs without any fault per
    variant under ``concurrency``, 0 for a number that fits; ``schedules``: how orders of the target's operations are
    searched there (pct, random, systematic), empty for not at all; ``dialogues``: how often a scenario with
    ``[[turn]]`` tables holds its dialogue, 0 for a number that fits; ``cuts``: its first life is recorded instead, and
    so many of the states that a crash leaves of it are resumed; ``attempts``: real runs that confirm a finding;
    ``samples``: crash states on which the target's own recovery and lister are run; ``budget_s``: seconds of wall
    time for the whole campaign, 0 for no bound.
    """

    name: str
    targets: tuple[str, ...] = ()
    story: str = ""
    seed_story: str = ""
    faults: tuple[FaultClass, ...] = ()
    profiles: tuple[str, ...] = ()
    invariants: tuple[str, ...] = ()
    timed: int = 0
    runs: int = 0
    schedules: str = ""
    dialogues: int = 0
    cuts: int = 0
    attempts: int = 3
    samples: int = 24
    budget_s: float = 0.0
    seed: int = 1


class ScenarioFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of a scenario file."""

    scenario: ScenarioSection
    workload: Workload = DEFAULT_WORKLOAD
    life: tuple[dict[str, Any], ...] = ()
    api: Api = Api()
    turn: tuple[Turn, ...] = ()
    part: tuple[Part, ...] = ()


class _Lives(msgspec.Struct, frozen=True):
    life: tuple[Life, ...] = ()


class _DialogueLives(msgspec.Struct, frozen=True):
    life: tuple[DialogueLife, ...] = ()


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario as it runs. ``path`` is empty for one that was made on the command line.

    One with ``parts`` runs these; nothing else of it but name, story, seed and budget counts. One with a ``dialogue``
    has its lives there.
    """

    name: str
    targets: tuple[str, ...] = ()
    story: str = ""
    seed_story: str = ""
    faults: tuple[FaultClass, ...] = DEFAULT_FAULTS
    profiles: tuple[str, ...] = ()
    invariants: tuple[str, ...] = ()
    timed: int = 0
    runs: int = 0
    schedules: str = ""
    attempts: int = 3
    samples: int = 24
    budget_s: float = 0.0
    seed: int = 1
    workload: Workload = DEFAULT_WORKLOAD
    life: tuple[Life, ...] = ()
    dialogues: int = 0
    cuts: int = 0
    dialogue: tuple[DialogueLife, ...] = ()
    api: Api = Api()
    turn: tuple[Turn, ...] = ()
    path: str = ""
    parts: tuple[Scenario, ...] = ()


def load_scenario(name_or_path: str) -> Scenario:
    """Return a shipped scenario by name, or the one in a file. Raises :class:`ManifestError`."""
    known = scenario_files()
    if name_or_path in known:
        return _load_file(known[name_or_path])
    if name_or_path.endswith(".toml"):
        return _load_file(name_or_path)
    raise ManifestError(f"no scenario {name_or_path!r}{suggestion(name_or_path, known)}")


def find_scenario(name: str) -> Scenario:
    """Return the scenario of this name: a shipped one, else that in the file ``NAME.toml`` here.

    Raises :class:`ManifestError`.
    """
    path = f"{name}.toml"
    if name in scenario_files() or not os.path.isfile(path):
        return load_scenario(name)
    found = load_scenario(path)
    if found.name != name:
        raise ManifestError(f"{path}: its scenario is called {found.name!r}, and {name!r} is asked for")
    return found


def list_scenarios() -> tuple[Scenario, ...]:
    """Return every shipped scenario, by name. Raises :class:`ManifestError` if a file is wrong."""
    return tuple(_load_file(path) for path in scenario_files().values())


def _load_file(path: str) -> Scenario:
    shown = in_checkout(os.path.abspath(path)) if "\0" not in path else path
    return compile_scenario(shown, read_toml(path), path)


def compile_scenario(shown: str, tables: dict[str, object], path: str = "") -> Scenario:
    """Return the scenario that the tables of a file describe; ``shown`` is what messages call the file."""
    parsed = convert(shown, tables, ScenarioFile)
    section = parsed.scenario
    _check_section(shown, section, made_of_parts=bool(parsed.part))
    if wrong := problem(parsed.workload):
        raise ManifestError(f"{shown}: [workload] {wrong}")
    life, dialogue = _lives(shown, parsed)
    if life and parsed.workload.instances > 1:
        raise ManifestError(f"{shown}: [workload] instances: with [[life]] tables each life says its own")
    fields = {name: getattr(section, name) for name in section.__struct_fields__}
    if dialogue and section.faults and not (section.cuts and set(section.faults) <= {*OF_CUTS, "errno", "power"}):
        raise ManifestError(
            f"{shown}: [scenario] faults: how the lives of a dialogue end stands with each [[life]]"
        )
    faults = (fault_class_of(dialogue),) if dialogue else DEFAULT_FAULTS
    fields["faults"] = section.faults or (OF_CUTS if section.cuts else faults)
    fields["profiles"] = _profiles(shown, section, os.path.dirname(path))
    parts: tuple[Scenario, ...] = ()
    if parsed.part:
        _refuse_what_parts_say(shown, tables)
        parts = compile_parts(
            shown, _tables_of_parts(tables), os.path.dirname(path), compile_scenario, section.seed
        )
    turns = compile_turns(shown, parsed.api, parsed.turn)
    if wrong := problem_of_moments(dialogue, turns):
        raise ManifestError(f"{shown}: {wrong}")
    if section.cuts and section.dialogues:
        raise ManifestError(
            f"{shown}: [scenario] cuts: a life that is recorded is not held {section.dialogues} times"
        )
    if section.cuts and (wrong := problem_of_cuts(dialogue, turns)):
        raise ManifestError(f"{shown}: [scenario] cuts: {wrong}")
    return Scenario(
        **fields,
        workload=parsed.workload,
        life=life,
        dialogue=dialogue,
        api=parsed.api,
        turn=turns,
        path=path,
        parts=parts,
    )


def _lives(shown: str, parsed: ScenarioFile) -> tuple[tuple[Life, ...], tuple[DialogueLife, ...]]:
    """Return the lives of a file: those of a writer, or, where an API answers, those of a dialogue."""
    tables: dict[str, object] = {"life": list(parsed.life)}
    if not parsed.turn or not any("prompt" in each for each in parsed.life):
        life = convert(shown, tables, _Lives).life
        if wrong := problem_of_lives(life):
            raise ManifestError(f"{shown}: {wrong}")
        return life, ()
    dialogue = convert(shown, tables, _DialogueLives).life
    if wrong := problem_of_dialogue(dialogue):
        raise ManifestError(f"{shown}: {wrong}")
    return (), dialogue


def _profiles(shown: str, section: ScenarioSection, directory: str) -> tuple[str, ...]:
    """Return the profiles that a scenario names; a file is looked for beside it. Raises where one is none."""
    names = tuple(beside(name, directory) for name in section.profiles)
    try:
        load_profiles(names)
    except ManifestError as error:
        raise ManifestError(f"{shown}: [scenario] profiles: {error}") from None
    return names


def _tables_of_parts(tables: dict[str, object]) -> list[dict[str, object]]:
    found = tables["part"]
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _refuse_what_parts_say(shown: str, tables: dict[str, object]) -> None:
    """Raise where a scenario made of parts says something that only a part can mean."""
    section = tables["scenario"]
    said = [f"[scenario] {key}" for key in PART_KEYS if isinstance(section, dict) and key in section]
    said += [f"[{key}]" for key in ("workload", "life", "api", "turn") if key in tables]
    if said:
        raise ManifestError(f"{shown}: {said[0]}: a scenario made of [[part]] tables leaves this to its parts")


def _check_section(shown: str, section: ScenarioSection, made_of_parts: bool) -> None:
    where = f"{shown}: [scenario]"
    if not _NAME.fullmatch(section.name):
        raise ManifestError(f"{where} name: {section.name!r} is not of the form {_NAME.pattern}")
    if not made_of_parts and (not section.targets or not all(section.targets)):
        raise ManifestError(f"{where} targets: must name at least one target")
    for fault in section.faults:
        if fault not in FAULT_CLASSES:
            raise ManifestError(f"{where} faults: {fault!r} is not valid; valid: {', '.join(FAULT_CLASSES)}")
    if section.profiles and section.faults and "power" not in section.faults:
        raise ManifestError(f'{where} profiles: only a power loss has profiles: add "power" to its faults')
    if section.schedules and section.schedules not in POLICIES:
        raise ManifestError(f"{where} schedules: {section.schedules!r} is not valid; valid: {', '.join(POLICIES)}")
    if section.schedules and "concurrency" not in section.faults:
        raise ManifestError(
            f'{where} schedules: are searched under concurrency alone: add "concurrency" to its faults'
        )
    for invariant in section.invariants:
        if invariant not in INVARIANT_IDS:
            raise ManifestError(
                f"{where} invariants: no invariant {invariant!r}{suggestion(invariant, INVARIANT_IDS)}"
            )
    for key, value, least, most in (
        ("timed", section.timed, 0, _MAX_TRIALS),
        ("runs", section.runs, 0, _MAX_TRIALS),
        ("dialogues", section.dialogues, 0, _MAX_TRIALS),
        ("cuts", section.cuts, 0, _MAX_CUTS),
        ("attempts", section.attempts, 1, 1000),
        ("samples", section.samples, 0, 10_000),
        ("seed", section.seed, 0, (1 << 63) - 1),
    ):
        if not least <= value <= most:
            raise ManifestError(f"{where} {key}: {value} is not between {least} and {most}")
    if not (math.isfinite(section.budget_s) and 0 <= section.budget_s <= _MAX_BUDGET_S):
        raise ManifestError(f"{where} budget_s: {section.budget_s} is not between 0 and {_MAX_BUDGET_S:g} seconds")
