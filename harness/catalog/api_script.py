"""Scripts of the Messages API in files: the ``[api]`` and ``[[turn]]`` tables of a scenario, or of a file of their own.

What they mean: :mod:`harness.core.api_script`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.catalog.data import scenario_files
from harness.catalog.scenario import Scenario, load_scenario
from harness.catalog.schema import ManifestError, convert, in_checkout, read_toml
from harness.catalog.turns import compile_turns
from harness.core.api_script import Api, ApiScript, Turn


class ScriptFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that holds a script and nothing else."""

    turn: tuple[Turn, ...]
    api: Api = Api()
    seed: int = 1


def load_script(name_or_path: str) -> ApiScript:
    """Return the script of a shipped scenario, of a scenario file, or of a file with a script only.

    Raises :class:`ManifestError`, also where there is no turn in it.
    """
    known = scenario_files()
    if name_or_path not in known and name_or_path.endswith(".toml"):
        tables = read_toml(name_or_path)
        if "scenario" not in tables:
            return _script_alone(in_checkout(name_or_path), tables)
    script = script_of(load_scenario(name_or_path))
    if not script.turn:
        raise ManifestError(f"{name_or_path}: has no [[turn]] tables, so there is nothing to answer")
    return script


def script_of(scenario: Scenario, life: int = 0) -> ApiScript:
    """Return what the Messages API answers in a scenario, in one of its lives."""
    return ApiScript(turn=scenario.turn, api=scenario.api, seed=scenario.seed, life=life)


def _script_alone(shown: str, tables: dict[str, Any]) -> ApiScript:
    parsed = convert(shown, tables, ScriptFile)
    if not parsed.turn:
        raise ManifestError(f"{shown}: has no [[turn]] tables, so there is nothing to answer")
    return ApiScript(turn=compile_turns(shown, parsed.api, parsed.turn), api=parsed.api, seed=parsed.seed)
