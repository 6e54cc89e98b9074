"""``tornwrite scenarios list|show``."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from harness.catalog import Scenario
from harness.catalog.parts import PART_KEYS
from harness.cli.output import json_option, print_folded, print_line
from harness.report.json_document import result_document


def _targets(scenario: Scenario) -> tuple[str, ...]:
    """Return what a scenario is about; of one made of parts, what all of them are about."""
    return tuple(dict.fromkeys(name for part in scenario.parts or (scenario,) for name in part.targets))


@click.group("scenarios")
def command() -> None:
    """List the scenarios, or show one."""


@command.command("list")
@json_option
def list_(as_json: bool) -> int:
    """List the shipped scenarios."""
    from harness.catalog import list_scenarios

    found = list_scenarios()
    if as_json:
        rows = [{"name": item.name, "story": item.story, "targets": _targets(item)} for item in found]
        print_line(result_document("scenarios list", 0, rows))
        return 0
    width = max((len(item.name) for item in found), default=0)
    for item in found:
        print_folded(f"{item.name:{width}}  ", item.story)
    return 0


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> int:
    """Show one scenario: its targets, faults, invariants and workload."""
    from harness.catalog import load_scenario

    scenario = load_scenario(name)
    fields = _fields(scenario)
    if as_json:
        print_line(
            result_document("scenarios show", 0, {**fields, "parts": [_fields(part) for part in scenario.parts]})
        )
        return 0
    _print_fields(fields)
    for part in scenario.parts:
        print_line("")
        _print_fields(_fields(part))
    return 0


def _fields(scenario: Scenario) -> dict[str, Any]:
    """Return what a scenario says; of one made of parts, what it says itself."""
    fields: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(scenario, parts=()))
    left_out = ["path", "parts", *((*PART_KEYS, "workload", "life") if scenario.parts else ())]
    left_out += [] if scenario.turn else ["api", "turn"]
    return {key: value for key, value in fields.items() if key not in left_out}


def _print_fields(fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if value not in ("", (), [], {}):
            print_folded(f"{key:12} ", _spelt(value))


def _spelt(value: Any) -> str:
    """Return a value of a scenario in words: ``sessions 1, tools (parallel 0, …)``."""
    if isinstance(value, dict):
        parts = (
            f"{key} ({_spelt(item)})" if isinstance(item, dict) else f"{key} {_spelt(item)}"
            for key, item in value.items()
            if item not in ("", (), [], {})
        )
        return ", ".join(parts)
    if isinstance(value, list | tuple):
        numbers = len(value) == 2 and all(isinstance(item, int | float) for item in value)
        return "–".join(map(str, value)) if numbers else ", ".join(map(_spelt, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
