"""Contents that derive from a seed and a name alone: what a tool of the scenario says, and how long it takes.

The rule is the one of ``targets/reference/store.py``, which every target may copy; a test holds the two together. The
standard library only, for the tools are started without site-packages.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1


def words(seed: int, name: str, length: int) -> str:
    """Return ``length`` characters that differ from name to name, with a raw U+2028 (legal in JSON) at times."""
    state = (seed * 0x9E3779B97F4A7C15 + 1) & _MASK
    for char in name:
        state = ((state ^ ord(char)) * 0x100000001B3) & _MASK
    parts: list[str] = []
    size = 0
    while size < length:
        state = (state * 6364136223846793005 + 1442695040888963407) & _MASK
        part = f"{state >> 16:x} " if state >> 60 else "\u2028"
        parts.append(part)
        size += len(part)
    return "".join(parts)[:length]


def number(seed: int, name: str, low: int, high: int) -> int:
    """Return a number in [low, high] that depends on seed and name only."""
    digits = "".join(char for char in words(seed, name, 64) if char in "0123456789")[:9]
    return low + int(digits or "0") % (high - low + 1)
