"""Enough of JSON Schema to hold the shipped schemas against what is printed; an unknown keyword is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_IGNORED = {"$schema", "$defs", "title", "description", "default", "discriminator", "minItems", "maxItems"}


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "$") -> Iterator[str]:
    """Yield what is wrong with ``value``."""
    for keyword, argument in schema.items():
        if keyword in _IGNORED:
            continue
        match keyword:
            case "$ref":
                yield from problems(value, root["$defs"][argument.removeprefix("#/$defs/")], root, where)
            case "type":
                if not isinstance(value, _TYPES[argument]) or (
                    isinstance(value, bool) and argument in ("integer", "number")
                ):
                    yield f"{where}: not of type {argument}"
                    return
            case "const":
                if value != argument:
                    yield f"{where}: not {argument!r}"
            case "enum":
                if value not in argument:
                    yield f"{where}: none of {argument}"
            case "pattern":
                if not re.search(argument, value):
                    yield f"{where}: does not match {argument}"
            case "minimum":
                if value < argument:
                    yield f"{where}: below {argument}"
            case "required":
                yield from (f"{where}: no {name}" for name in argument if name not in value)
            case "properties":
                for name, member in argument.items():
                    if name in value:
                        yield from problems(value[name], member, root, f"{where}.{name}")
                yield from (f"{where}: unknown {name}" for name in value if name not in argument)
            case "additionalProperties":
                if isinstance(argument, dict):
                    for name, member in value.items():
                        yield from problems(member, argument, root, f"{where}.{name}")
            case "items":
                if argument is not False:
                    for index, item in enumerate(value):
                        yield from problems(item, argument, root, f"{where}[{index}]")
            case "anyOf" | "oneOf":
                tries = [list(problems(value, choice, root, where)) for choice in argument]
                if all(tries):
                    yield f"{where}: fits no choice: {min(tries, key=len)}"
            case _:
                raise AssertionError(f"the checker does not know {keyword!r}")
