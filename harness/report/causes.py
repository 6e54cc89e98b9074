"""Findings that one fault at one place brings about, told as one: a torn file breaks several invariants at once.

A cause is target × variant × fault class × place of the fault. Its *lead* is the finding that says most to a user
(a visible half-made session before a missing newline); the same cause in further versions is said with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harness.core.fault import FAULT_CLASSES
from harness.core.verdict import Finding

_TELLING = (
    *("S3", "S4", "S2", "S5", "S6", "S1"),
    *("W2", "B5", "M6", "M3", "W9", "M10", "M1", "check", "M8", "M9", "M2", "M5", "M7"),
    *("T9", "T1", "T2", "T3", "T4", "T5", "T8", "T7", "G5", "G4", "G2", "G3", "G7", "G1", "G6", "T6"),
    *("B7", "W10", "W1", "W5", "W8", "B6", "B2", "B4", "M4", "B1", "W7", "W3", "W6", "W4"),
)
"""Lost data, then a session that the API refuses, then records out of reach, then damage to bytes."""
_CLASSES = ("none", *FAULT_CLASSES)


class Cause(NamedTuple):
    """The lead, the further findings of the same version and place, and those of other versions."""

    lead: Finding
    others: tuple[Finding, ...] = ()
    elsewhere: tuple[Finding, ...] = ()

    @property
    def invariants(self) -> tuple[str, ...]:
        """The ids of the invariants that it breaks, the lead's first."""
        return tuple(dict.fromkeys(item.invariant for item in (self.lead, *self.others, *self.elsewhere)))

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that it was seen in, the lead's first; empty for a writer without versions."""
        return tuple(
            dict.fromkeys(item.version for item in (self.lead, *self.others, *self.elsewhere) if item.version)
        )


def rank(finding: Finding) -> tuple[int, bool]:
    """Return how much a finding says to a user, the least number first; of two the proven one."""
    place = _TELLING.index(finding.invariant) if finding.invariant in _TELLING else len(_TELLING)
    return place, not finding.is_confirmed


def _key(finding: Finding) -> tuple[object, ...]:
    point = finding.crash_point
    place = (point.operation, point.role, point.phase, point.actor) if point else (finding.operation, finding.role)
    kinds = tuple(str(fault.get("type", "")) for fault in (finding.fault or {}).get("faults", ()))
    return finding.target, finding.variant, finding.fault_class, finding.expected, finding.control, kinds, place


def causes(findings: Iterable[Finding]) -> tuple[Cause, ...]:
    """Return the causes of ``findings``: unexpected first, then by fault class, the most telling of each first."""
    grouped: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(_key(finding), []).append(finding)
    out = []
    for members in grouped.values():
        lead = min(members, key=_telling)
        others = tuple(item for item in members if item is not lead and item.version == lead.version)
        elsewhere = tuple(item for item in members if item.version != lead.version)
        out.append(Cause(lead, tuple(sorted(others, key=rank)), elsewhere))
    return tuple(sorted(out, key=_order))


def _telling(finding: Finding) -> tuple[bool, int, bool]:
    """Return :func:`rank`; of power losses, what a real disk has shown says more than what is only predicted."""
    return finding.fault_class == "power" and not finding.is_confirmed, *rank(finding)


def _order(cause: Cause) -> tuple[bool, int, int, bool, int]:
    lead = cause.lead
    telling, unproven = rank(lead)
    place = _CLASSES.index(lead.fault_class) if lead.fault_class in _CLASSES else len(_CLASSES)
    # A run that needs no fault to break a discipline says less than one that loses data.
    return lead.expected, place if lead.fault_class != "none" else len(_CLASSES), telling, unproven, -lead.states
