"""What a target's ``list`` prints: ids and warnings as JSON lines."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Listing(NamedTuple):
    """``ids`` in the order listed; ``warned``: names that a warning line speaks of; ``stray``: other lines."""

    ids: tuple[str, ...]
    warned: tuple[str, ...]
    stray: int


def parse_listing(stdout: bytes) -> Listing:
    """Return what a ``list`` command printed.

    A line is an id (``"x"`` or ``{"id": "x"}``) or a warning (``{"warning": "why", "name": "x"}``); anything else
    is counted as stray and otherwise ignored, since programs also print notices.
    """
    ids: list[str] = []
    warned: list[str] = []
    stray = 0
    for line in stdout.split(b"\n"):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            stray += 1
            continue
        if isinstance(value, str):
            ids.append(value)
        elif isinstance(value, dict) and "warning" in value and isinstance(value.get("name"), str):
            warned.append(value["name"])
        elif isinstance(value, dict) and isinstance(value.get("id"), str):
            ids.append(value["id"])
        else:
            stray += 1
    return Listing(tuple(ids), tuple(warned), stray)
