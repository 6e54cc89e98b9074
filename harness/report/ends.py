"""What each kind of end leaves of an index of sessions, side by side: the table of a campaign with lives.

One table per writer, one row per kind of end; renderers escape the texts. Writers that keep no index have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from harness.core.drift import EndFigures
from harness.report.view import RunView

TITLE = "What each end leaves of the index"
NOTE = (
    "Index files written at the end of such lives, and while they ran. Then the entries of the sessions",
    "that they wrote: current, missing, stale and by how much; lost; how far one went back.",
)
HEAD = ("end", "lives", "at end", "alive", "current", "missing", "stale", "by", "lost", "back")
_NAMES: Mapping[str, str] = MappingProxyType(
    {"graceful": "exit", "sigkill": "SIGKILL", "sighup": "SIGHUP", "sigterm": "SIGTERM", "sigint": "SIGINT"}
    | {"power": "power loss", "suspend_resume": "suspend, exit"}
)
_DAY_MS, _HOUR_MS, _MINUTE_MS = 86_400_000, 3_600_000, 60_000


class EndTable(NamedTuple):
    """One writer: a row per kind of end, each of texts in the order of :data:`HEAD`."""

    writer: str
    rows: tuple[tuple[str, ...], ...]


def end_tables(view: RunView) -> list[EndTable]:
    """Return a table for each writer that keeps an index and had lives."""
    return [
        EndTable(case.name, tuple(_row(end) for end in _ordered(case.index.ends)))
        for case in view.cases
        if case.index is not None
    ]


def _ordered(ends: Iterable[EndFigures]) -> list[EndFigures]:
    """Return the ends a user asks for first: by themselves, then by signals, then what nothing here measures."""
    order = ("graceful", "suspend_resume", "sighup", "sigterm", "sigint", "sigkill", "power")
    return sorted(ends, key=lambda end: (order.index(end.exit) if end.exit in order else len(order), end.several))


def _row(end: EndFigures) -> tuple[str, ...]:
    name = _NAMES.get(end.exit, end.exit) + (", 2 at once" if end.several else "")
    if not end.measured:
        return (name, str(end.lives), *["-"] * (len(HEAD) - 2))
    current = f"{end.current} of {end.written}"
    return (
        name,
        str(end.measured),
        str(end.writes_at_end),
        str(end.writes_alive),
        current,
        str(end.missing),
        str(end.stale),
        span(end.behind_ms) if end.stale else "",
        str(end.lost),
        span(end.rolled_back_ms) if end.rolled_back_ms else "",
    )


def span(ms: int) -> str:
    """Return a time as people say it: ``93 d``, ``5 h``, ``2 min``, ``7 s``."""
    for unit, name in ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "min")):
        if ms >= unit:
            return f"{round(ms / unit)} {name}"
    return f"{ms / 1000:.0f} s"
