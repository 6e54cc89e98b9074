"""What a target's ``list``, ``recover`` and ``resume`` print: ids, warnings, losses, messages as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec


class Listing(NamedTuple):
    """``ids`` in the order listed; ``warned``: names that a warning line speaks of; ``stray``: other lines."""

    ids: tuple[str, ...]
    warned: tuple[str, ...]
    stray: int


def _lines(stdout: bytes) -> Iterator[Any]:
    """Yield the value of each line that is not blank; ``None`` for one that is no JSON."""
    for line in stdout.split(b"\n"):
        if line.strip():
            try:
                yield msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                yield None


def parse_losses(stdout: bytes) -> tuple[tuple[str, str], ...]:
    """Return what a ``recover`` command reported as lost: lines ``{"lost": field, "id": session}``, in order."""
    return tuple(
        (value["lost"], value["id"])
        for value in _lines(stdout)
        if isinstance(value, dict) and isinstance(value.get("lost"), str) and isinstance(value.get("id"), str)
    )


def found_session(stdout: bytes) -> bool:
    """Whether a ``resume`` command that succeeded found its session: it printed messages, and no error."""
    values = [value for value in _lines(stdout) if isinstance(value, dict)]
    return any(isinstance(value.get("messages"), list) for value in values) and not any(
        "error" in value for value in values
    )


def parse_listing(stdout: bytes) -> Listing:
    """Return what a ``list`` command printed.

    A line is an id (``"x"`` or ``{"id": "x"}``) or a warning (``{"warning": "why", "name": "x"}``); anything else
    is counted as stray and otherwise ignored, since programs also print notices.
    """
    ids: list[str] = []
    warned: list[str] = []
    stray = 0
    for value in _lines(stdout):
        if isinstance(value, str):
            ids.append(value)
        elif isinstance(value, dict) and "warning" in value and isinstance(value.get("name"), str):
            warned.append(value["name"])
        elif isinstance(value, dict) and isinstance(value.get("id"), str):
            ids.append(value["id"])
        else:
            stray += 1
    return Listing(tuple(ids), tuple(warned), stray)
