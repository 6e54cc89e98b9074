"""A claim, what campaigns say of it, and the verdict. Pure.

A claim is about a *finding*: whether a variant, under a fault class, breaks one of some invariants (with one of some
kinds of damage), or how often it does. ``claimed`` is what the document says: that it happens, that it does not, or a
range of its rate. What nothing here can measure is ``open``, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from harness.core.proportion import spell_rate, wilson
from harness.core.verdict import Finding

Kind = Literal["claim", "number", "artefact", "ask", "fix", "workaround"]
Setting = Literal["", "alone", "rate"]
Answer = Literal["confirmed", "contradicted", "not measured", "not testable here"]


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sentence of a document. ``variant`` is ``target/variant[@version]``; ``reason`` says why a claim is open.

    ``setting``: "alone" asks of a run whose tools do not run at the same time, "rate" of one that is made for a rate.
    """

    id: str
    kind: Kind
    says: str
    variant: str = ""
    fault: str = ""
    finds: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    setting: Setting = ""
    claimed: bool | tuple[float, float] = True
    note: str = ""
    reason: str = ""

    @property
    def seed(self) -> str:
        """The document it stands in."""
        return self.id.partition(".")[0]

    @property
    def is_open(self) -> bool:
        """Whether nothing here can measure it."""
        return not self.variant


class Class(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign measured of one variant under one fault class."""

    verdict: str
    states: int = 0
    runs: int = 0
    bad: int = 0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the campaigns say of one variant: its classes and its findings, by fault class."""

    classes: Mapping[str, Class]
    findings: tuple[Finding, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A claim with its verdict. ``shown`` is the evidence in words, ``command`` what shows it again."""

    claim: Claim
    answer: Answer
    shown: str
    command: str = ""


def problems(claims: Iterable[Claim]) -> list[str]:
    """Return what is wrong with the claims themselves: an id twice, neither a question nor a reason."""
    found: list[str] = []
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            found.append(f"{claim.id}: there twice")
        seen.add(claim.id)
        if claim.is_open != bool(claim.reason):
            found.append(f"{claim.id}: needs either a variant or a reason")
        if not claim.is_open and not (claim.fault and claim.finds):
            found.append(f"{claim.id}: needs a fault class and invariants")
    return found


def matching(claim: Claim, measured: Measured) -> list[Finding]:
    """Return the findings that the claim is about, the proven ones first."""
    found = [
        item
        for item in measured.findings
        if item.fault_class == claim.fault
        and item.invariant in claim.finds
        and (not claim.damage or item.damage in claim.damage)
    ]
    return sorted(found, key=lambda item: (not item.is_confirmed, claim.finds.index(item.invariant)))


def answer(claim: Claim, measured: Measured | None) -> Row:
    """Return the verdict on a claim. ``measured``: what campaigns say of its variant; ``None`` if it was not run."""
    if claim.is_open:
        return Row(claim=claim, answer="not testable here", shown=claim.reason)
    line = measured.classes.get(claim.fault) if measured is not None else None
    if measured is None or line is None or line.verdict not in ("held", "violated"):
        why = f"{claim.variant} under {claim.fault}: " + (
            line.verdict if line is not None else "not available here"
        )
        return Row(claim=claim, answer="not measured", shown=why, command=command(claim))
    found = matching(claim, measured)
    if isinstance(claim.claimed, tuple):
        return _rate(claim, line, found)
    verdict: Answer = "confirmed" if bool(found) == claim.claimed else "contradicted"
    return Row(claim=claim, answer=verdict, shown=_evidence(claim, line, found), command=command(claim))


def _rate(claim: Claim, line: Class, found: list[Finding]) -> Row:
    """Compare the measured interval with the claimed range: they must have something in common."""
    assert isinstance(claim.claimed, tuple)
    bad = max((item.runs for item in found), default=0)
    low, high = wilson(bad, line.runs)
    least, most = claim.claimed
    verdict: Answer = "confirmed" if low <= most and high >= least and bad else "contradicted"
    return Row(claim=claim, answer=verdict, shown=spell_rate(bad, line.runs), command=command(claim))


def _evidence(claim: Claim, line: Class, found: list[Finding]) -> str:
    measured = [f"{line.states:,} crash states"] if line.states else []
    measured += [f"{line.runs:,} runs"] if line.runs else []
    looked_at = " and ".join(measured) or "the run without a fault"
    if not found:
        return f"no {', '.join(claim.finds)} in {looked_at}"
    first = found[0]
    seen = [f"{first.states:,} crash states"] if first.states else []
    seen += [spell_rate(first.runs, line.runs) + " runs"] if first.runs and line.runs >= first.runs else []
    proof = first.confirmation
    proven = f"; confirmed {proof.confirmed}/{proof.attempts}" if proof.attempts else ""
    return f"{first.invariant} ({first.damage}): {' and '.join(seen) or 'seen'}, of {looked_at}{proven}"


def command(claim: Claim) -> str:
    """Return what shows it again."""
    fault = f" --faults {claim.fault}" if claim.fault != "none" else ""
    return f"tornwrite run {claim.variant}{fault}"
