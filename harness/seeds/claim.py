"""A claim, what was measured of it, and the verdict. Pure.

A claim asks one of two questions. Of a *finding*: whether a variant, under a fault class, breaks one of some
invariants (with one of some kinds of damage, in a file of some name), or how often it does: campaigns answer. Of a
*fact*: what a named measurement says of a variant, a number, a text or a truth. ``claimed`` is what the document says:
that it happens, that it does not, a range, a text. What nothing here can measure is ``open``, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from harness.catalog.steps import Step
from harness.core.proportion import spell_rate
from harness.core.verdict import Finding

Kind = Literal["claim", "number", "artefact", "ask", "fix", "workaround"]
Setting = Literal["", "alone", "race", "rate", "lives", "states", "cuts", "dialogues"]
Answer = Literal["confirmed", "contradicted", "not measured", "not available", "not testable here"]


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sentence of a document. ``variant`` is ``target/variant[@version]``; ``reason`` says why a claim is open.

    ``setting``: "alone" asks of a run whose tools do not run at the same time, "race" of one whose tools meet, "rate"
    of one that is made for a rate, "lives" of starts one after the other; of a power loss "states" asks of what it can
    leave under the ``profiles``, "cuts" of what is seen on their real file systems; "dialogues" asks of the published
    application, by the scenario ``of``. ``measure`` names a measurement, ``of`` what it needs to know beside the
    variant; ``updates`` and ``steps`` are its own workload, where the claim needs one.

    ``note`` says how it was measured and states no result. One that explains a result names in ``note_if`` the answer
    that it explains, and is told with no other.
    """

    id: str
    kind: Kind
    says: str
    variant: str = ""
    fault: str = ""
    finds: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    where: str = ""
    profiles: tuple[str, ...] = ()
    setting: Setting = ""
    measure: str = ""
    of: str = ""
    updates: int = 0
    steps: tuple[Step, ...] = ()
    claimed: bool | tuple[float, float] | str = True
    note: str = ""
    note_if: Literal["", "confirmed", "contradicted"] = ""
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
    """What a campaign says of one variant: its classes and its findings, by fault class."""

    classes: Mapping[str, Class]
    findings: tuple[Finding, ...] = ()


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement says, and on what grounds, in words."""

    value: bool | float | str
    shown: str


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no answer. ``elsewhere``: another machine would give one."""

    reason: str
    elsewhere: bool = False


Evidence = Measured | Fact | Unmeasured


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A claim with its verdict. ``shown`` is the evidence in words, ``command`` what shows it again."""

    claim: Claim
    answer: Answer
    shown: str
    command: str = ""

    @property
    def note(self) -> str:
        """The claim's note, where it belongs to this answer."""
        return self.claim.note if self.claim.note_if in ("", self.answer) else ""


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
        if not claim.is_open and bool(claim.measure) == bool(claim.finds):
            found.append(f"{claim.id}: needs either a measurement or invariants")
        if claim.finds and not claim.fault:
            found.append(f"{claim.id}: needs a fault class")
        if (claim.fault == "power") != bool(claim.profiles):
            found.append(f"{claim.id}: profiles and the fault class power go together")
        if claim.fault == "power" and claim.finds and claim.setting not in ("states", "cuts"):
            found.append(f"{claim.id}: needs a setting, states or cuts")
        if claim.setting == "dialogues" and not claim.of:
            found.append(f"{claim.id}: needs the scenario that holds the dialogues")
        if claim.note_if and not claim.note:
            found.append(f"{claim.id}: has no note to tell")
        if claim.finds and isinstance(claim.claimed, str):
            found.append(f"{claim.id}: findings have no text")
    return found


def matching(claim: Claim, measured: Measured) -> list[Finding]:
    """Return the findings that the claim is about, the proven ones first."""
    found = [
        item
        for item in measured.findings
        if item.fault_class == claim.fault
        and item.invariant in claim.finds
        and (not claim.damage or item.damage in claim.damage)
        and claim.where in item.path
    ]
    return sorted(found, key=lambda item: (not item.is_confirmed, claim.finds.index(item.invariant)))


def answer(claim: Claim, evidence: Evidence | None) -> Row:
    """Return the verdict on a claim. ``evidence``: what was measured of its variant; ``None`` if nothing was."""
    if claim.is_open:
        return Row(claim=claim, answer="not testable here", shown=claim.reason)
    if isinstance(evidence, Fact):
        right: Answer = "confirmed" if agrees(claim.claimed, evidence.value) else "contradicted"
        return Row(claim=claim, answer=right, shown=evidence.shown, command=command(claim))
    if isinstance(evidence, Unmeasured):
        none: Answer = "not available" if evidence.elsewhere else "not measured"
        return Row(claim=claim, answer=none, shown=evidence.reason, command=command(claim))
    line = evidence.classes.get(claim.fault) if evidence is not None else None
    if evidence is None or line is None or line.verdict not in ("held", "violated"):
        why = f"{claim.variant} under {claim.fault}: " + (
            line.verdict if line is not None else "not available here"
        )
        return Row(claim=claim, answer="not measured", shown=why, command=command(claim))
    found = matching(claim, evidence)
    if isinstance(claim.claimed, tuple):
        return _rate(claim, line, found)
    verdict: Answer = "confirmed" if bool(found) == claim.claimed else "contradicted"
    return Row(claim=claim, answer=verdict, shown=_evidence(claim, line, found), command=command(claim))


def agrees(claimed: bool | tuple[float, float] | str, value: bool | float | str) -> bool:
    """Return whether a measured value is what was claimed: in the range, the same text, as true."""
    if isinstance(claimed, tuple):
        low, high = claimed
        return not isinstance(value, str) and low <= value <= high
    return value == claimed if isinstance(claimed, str) else bool(value) == claimed


def _rate(claim: Claim, line: Class, found: list[Finding]) -> Row:
    """Compare the measured rate with the claimed range, in which it must lie; its interval says how sure that is."""
    assert isinstance(claim.claimed, tuple)
    bad = max((item.runs for item in found), default=0)
    least, most = claim.claimed
    verdict: Answer = "confirmed" if line.runs and least <= bad / line.runs <= most else "contradicted"
    return Row(claim=claim, answer=verdict, shown=f"{spell_rate(bad, line.runs)} sessions", command=command(claim))


def _evidence(claim: Claim, line: Class, found: list[Finding]) -> str:
    measured = [f"{line.states:,} crash states"] if line.states else []
    measured += [f"{line.runs:,} runs"] if line.runs else []
    looked_at = " and ".join(measured) or "the run without a fault"
    if not found:
        none = f"no {', '.join(claim.finds)}" + (f" ({' or '.join(claim.damage)})" if claim.damage else "")
        talks = claim.setting == "dialogues"
        return f"{none}: {spell_rate(0, line.runs)} dialogues" if talks else f"{none} in {looked_at}"
    first = found[0]
    seen = [f"{first.states:,} of {line.states:,} crash states"] if first.states else []
    seen += [spell_rate(first.runs, line.runs) + " runs"] if first.runs and line.runs >= first.runs else []
    proof = first.confirmation
    proven = f"; confirmed {proof.confirmed}/{proof.attempts}" if proof.attempts else ""
    return f"{first.invariant} ({first.damage}): {' and '.join(seen) or f'seen in {looked_at}'}{proven}"


def command(claim: Claim) -> str:
    """Return what shows it again: a campaign of its own where an ordinary one asks the same, else the claim by name."""
    if claim.setting == "dialogues":
        return f"tornwrite run {claim.of} --versions {claim.variant.partition('@')[2]}"
    if claim.measure or claim.setting or claim.fault == "none":
        return f"python -m harness.seeds --only {claim.id}"
    return f"tornwrite run {claim.variant} --faults {claim.fault}"
