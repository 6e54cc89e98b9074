"""Durations as people type them: ``30s``, ``5m``, ``1.5h``, ``200ms``, or a bare number of seconds."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
BUDGET_MAX_S = 86_400.0


def seconds(text: str) -> float:
    """Return the seconds that ``text`` means, at most a day. Raises :class:`ValueError` with one line."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; valid: 30s, 5m, 1h")
    value = float(match[1]) * _UNITS[match[2] or "s"]
    if not 0 < value <= BUDGET_MAX_S:
        raise ValueError(f"{text!r} is not between 0 and 24h")
    return value
