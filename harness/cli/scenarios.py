"""``tornwrite scenarios list|show``."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from harness.cli.output import json_option, print_folded, print_line
from harness.report.json_document import result_document


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
        rows = [{"name": item.name, "story": item.story, "targets": item.targets} for item in found]
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
    fields = msgspec.to_builtins(scenario)
    fields.pop("path", None)
    if as_json:
        print_line(result_document("scenarios show", 0, fields))
        return 0
    for key, value in fields.items():
        if value not in ("", (), [], {}):
            print_folded(f"{key:12} ", _spelt(value))
    return 0


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
