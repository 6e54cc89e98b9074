"""The turns of a file, checked.

In the inputs of calls ``{cwd}``, ``{ledger}``, ``{gates}`` and ``{id}`` are filled in when they are answered; any other
lower-case word in braces is an error, as in every command of a file.
"""

from __future__ import annotations

from typing import Any

from harness.catalog.placeholder import check_placeholders
from harness.catalog.schema import ManifestError
from harness.core.api_script import PLACES, Api, Turn, named, problem_of_script


def compile_turns(shown: str, api: Api, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Return the turns of a file, each call with its word. Raises :class:`ManifestError`."""
    complete = named(turns)
    if wrong := problem_of_script(api, complete):
        raise ManifestError(f"{shown}: {wrong}")
    for number, turn in enumerate(complete, 1):
        for index, call in enumerate(turn.call, 1):
            for text in _texts_in(call.input):
                check_placeholders(f"{shown}: [turn {number}] call {index} input", text, PLACES)
    return complete


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _texts_in(item)]
