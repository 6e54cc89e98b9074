"""The crash-point strip of one writer: per fault class, how many states each moment of its run has, and how many bad.

A row per fault class (of a power loss one per profile), a tally per operation and phase. That is all a picture of the
whole run needs; the states themselves are not kept.
"""

from __future__ import annotations

import msgspec

from harness.core.fault import FaultClass, Phase

STRIP_FORMAT_VERSION = 1
TALLIES_KEPT = 20_000
"""Tallies of one row that are stored; a longer run is cut there, and ``left_out`` says by how much."""


class PlaceTally(msgspec.Struct, frozen=True, array_like=True):
    """``violated`` of ``states`` crash states at ``phase`` of operation ``seq``; equal trees count again."""

    seq: int
    phase: Phase
    states: int
    violated: int


class StripRow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault class, of a power loss under one ``profile``; the tallies in the order of the run."""

    fault_class: FaultClass
    profile: str = ""
    tallies: tuple[PlaceTally, ...] = ()
    left_out: int = 0


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """``strips/<case>.json``: a writer whose recorded run has ``operations`` operations."""

    operations: int
    rows: tuple[StripRow, ...] = ()
    format_version: int = STRIP_FORMAT_VERSION


class PlaceTallies:
    """Counts states by moment while an exploration lasts."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, Phase], list[int]] = {}

    def add(self, seq: int, phase: Phase, bad: bool) -> None:
        """Count one state."""
        count = self._counts.setdefault((seq, phase), [0, 0])
        count[0] += 1
        count[1] += bad

    def told(self) -> tuple[PlaceTally, ...]:
        """Return the tallies, in the order in which their moments were first seen."""
        return tuple(PlaceTally(*place, *count) for place, count in self._counts.items())


def strip_row(fault_class: FaultClass, tallies: tuple[PlaceTally, ...], profile: str = "") -> StripRow:
    """Return a row that is not longer than what is stored."""
    kept = tallies[:TALLIES_KEPT]
    return StripRow(fault_class=fault_class, profile=profile, tallies=kept, left_out=len(tallies) - len(kept))
