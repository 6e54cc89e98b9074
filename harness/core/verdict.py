"""What judging yields: violations, trial rows, findings, verdicts.

Words that stay apart: an acknowledged update that is gone is *lost*; *torn*, *reset*, *unreadable*, *stale*,
*hole*, *extra* and *litter* are other damage. A conversation is *unlinked* where records are out of its reach,
*rejected* where the API refuses it. What was not measured is never *held*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from harness.core.fault import CrashPoint, FaultClass

Verdict = Literal["held", "violated", "inconclusive", "broken"]
Damage = Literal[
    "lost",
    "torn",
    "empty",
    "reset",
    "nul",
    "stale",
    "missing",
    "extra",
    "hole",
    "unreadable",
    "silent",
    "litter",
    "unlinked",
    "rejected",
    "other",
]
Severity = Literal["violation", "information"]
TrialKind = Literal[
    "null",
    "canary",
    "control",
    "state",
    "exact",
    "timed",
    "errno",
    "schedule",
    "life",
    "signal",
    "damage",
    "dialogue",
]

DIALOGUE = "dialogue"
"""The operation of a finding that a client shows when it is resumed, at no operation that anybody watched."""
_WORST = ("held", "inconclusive", "violated", "broken")


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken invariant in one tree.

    ``message`` never quotes file content: ids, sizes, offsets and hashes only. ``offset`` is where in the file
    the damage begins, or -1. ``said`` is what a judging program printed about it: one JSON object as ASCII text.
    """

    invariant: str
    path: str
    damage: Damage
    message: str
    severity: Severity = "violation"
    offset: int = -1
    ids: tuple[str, ...] = ()
    said: str = ""


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``trials.jsonl``: one execution, or the crash states of one recording, judged."""

    trial_id: str
    kind: TrialKind
    target: str
    variant: str
    seed: int
    verdict: Verdict
    crash_point: CrashPoint | None = None
    fault: dict[str, Any] | None = None
    fault_class: FaultClass = "none"
    profile: str = ""
    delivered: str = ""
    died_by: str = ""
    states: int = 0
    distinct: int = 0
    findings: tuple[str, ...] = ()
    engine: str = ""
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    note: str = ""
    version: str = ""
    expected: Verdict | Literal[""] = ""
    """The verdict that the manifest, or a control's role, states for this trial; empty where none does."""
    bad_states: int = 0
    """Of ``distinct`` crash states, those that violate anything."""


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """How a finding was proven by real runs: ``confirmed`` of ``attempts``, and the evidence of the last one.

    ``by_chance``: what the program does up to there differs from run to run, so one run that shows it is enough.
    """

    attempts: int = 0
    confirmed: int = 0
    method: str = ""
    evidence: dict[str, Any] = {}
    by_chance: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """All violations with one cause."""

    fingerprint: str
    target: str
    variant: str
    invariant: str
    fault_class: FaultClass
    operation: str
    role: str
    phase: str
    damage: Damage
    message: str
    version: str = ""
    control: bool = False
    path: str = ""
    crash_point: CrashPoint | None = None
    fault: dict[str, Any] | None = None
    states: int = 0
    runs: int = 0
    expected: bool = False
    profiles: tuple[str, ...] = ()
    """Of a power loss: the profiles under which it was found, in the order in which they were asked for."""
    held_under: tuple[str, ...] = ()
    """Of a power loss: the profiles under which the same writer holds."""
    confirmation: Confirmation = Confirmation()
    token: str = ""
    evidence: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """The finding's name within a campaign: its fingerprint, with the version or the control's role."""
        return finding_key(self.fingerprint, self.version, self.control)

    @property
    def is_confirmed(self) -> bool:
        """Whether every attempt to see it again in a real run succeeded, and there was one.

        Of what chance decides (concurrency, which of many power cuts shows it, a client that ends at some moment), one
        that succeeded is enough.
        """
        chance = self.fault_class in ("concurrency", "power") or self.operation == DIALOGUE
        if chance or self.confirmation.by_chance:
            return self.confirmation.confirmed > 0
        return 0 < self.confirmation.attempts == self.confirmation.confirmed


def finding_key(fingerprint: str, version: str, control: bool) -> str:
    """Return the name of a finding within a campaign; one cause in two versions is two findings there."""
    return fingerprint + (f"@{version}" if version else "") + ("@control" if control else "")


def case_file_name(case_id: str) -> str:
    """Return the id of a case as one plain name: that of its trace and its strip in a run."""
    return case_id.replace("/", "-").replace(":", "-")


def fingerprint_of(
    *,
    target: str,
    variant: str,
    invariant: str,
    fault_class: str,
    operation: str,
    role: str,
    phase: str,
) -> str:
    """Return the 32 hex digits that name a cause. No version, seed, byte count or time goes into it."""
    raw = "\0".join((target, variant, invariant, fault_class, operation, role, phase))
    return hashlib.blake2b(raw.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict: broken > violated > inconclusive > held. Nothing at all is inconclusive."""
    ranked = sorted(verdicts, key=_WORST.index)
    return ranked[-1] if ranked else "inconclusive"
