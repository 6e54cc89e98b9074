"""The phase that confirms power losses: the writer on a real file system, whose disk loses its power.

A finding is tried on the file systems and mount options of the profiles that it was found under. *Observed* is a cut
that leaves the same invariant violated on the same path role, with a damage that was predicted for it; everything else
stays *predicted only*, with the reason, and counts as a violation all the same. Each case is recorded at most once per
file system, mount options and commit mode, first what could show most of its findings; a finding gets at most
:data:`RECORDINGS`, and all of it ends with the budget, and after :data:`MOST_SECONDS`. What a recording that was made
for one finding shows of another is told too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from harness.campaign.context import Case, Context, Measured, case_id
from harness.campaign.examine import CHECK_INVARIANT
from harness.campaign.executor import Call
from harness.campaign.observe import finding_plan
from harness.campaign.power_cuts import CutRequest, CutResult, cut_power
from harness.campaign.proof import needed_programs
from harness.campaign.trials import harness_failure
from harness.core.fault import Errno, FaultPlan
from harness.core.profile import Profile
from harness.core.verdict import Confirmation, Finding
from harness.engines.block.recording import Commit

CUTS = 250
"""Cuts of one recording that are looked at, at most: drawn from all."""
VM_CUTS = 100
"""The same in a virtual machine, which is slower."""
RECORDINGS = 3
"""Recordings that are made for one finding, at most."""
MOST_SECONDS = 90.0
"""Wall time after which no further recording begins."""
_MODES: tuple[Commit, ...] = ("each", "end")
"""A journal that is committed after each operation shows more states than one that is committed once."""
_LEAST_SECONDS = 20.0
"""Wall time that confirming gets although the budget is used up."""
NOT_ASKED = "not tried on a real file system: --no-confirm-power"


class _Try(NamedTuple):
    """One recording to make: a case, a profile to stand for its file system and options, and a commit mode."""

    item: Measured
    profile: Profile
    commit: Commit
    plan: FaultPlan


class _Looked:
    """What was seen of one finding."""

    def __init__(self) -> None:
        self.recordings = 0
        self.cuts: dict[str, int] = {}
        """Cuts that were looked at, by profile, until one showed it there."""
        self.reasons: dict[str, None] = {}
        self.observed: dict[str, Confirmation] = {}
        """By profile, in the order in which they were tried."""

    @property
    def wanted(self) -> bool:
        """Whether a further recording is to look for it."""
        return not self.observed and self.recordings < RECORDINGS

    def confirmation(self) -> Confirmation | None:
        """Return the first observation, and with it what the other file systems that were tried have shown."""
        if not self.observed:
            return None
        first, *others = self.observed.values()
        told = "; ".join([first.method, *(each.method for each in others)])
        figures = {name: [0, cuts] for name, cuts in self.cuts.items()}
        figures |= {name: [each.confirmed, each.attempts] for name, each in self.observed.items()}
        return msgspec.structs.replace(first, method=told, evidence={**first.evidence, "cuts": figures})


def recordings_planned(case: Case) -> int:
    """Return how many recordings on disks a case may get: none where nobody may mount one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return 0
    return min(RECORDINGS, len({each.filesystem for each in case.profiles if each.filesystem}))


def confirm_power(ctx: Context, cases: Iterable[Measured], wanted: bool, *, vm: bool = False) -> None:
    """Try every finding of a power loss on real file systems, and say of each whether it was observed.

    ``vm``: those of a virtual machine's kernel.
    """
    by_id = {item.case.id: item for item in cases}
    open_findings = [
        finding
        for finding in ctx.ledger
        if finding.fault_class == "power" and not finding.control and case_id(finding) in by_id
    ]
    looked = {finding.key: _Looked() for finding in open_findings}
    tries = _tries(by_id, open_findings) if wanted else []
    begun = time.monotonic()
    deadline = min(max(ctx.deadline, begun + _LEAST_SECONDS), begun + MOST_SECONDS)
    while time.monotonic() < deadline:
        now, tries = _next_round(tries, looked, open_findings)
        if not now:
            break
        _carry_out(ctx, now, looked, open_findings, vm)
    for finding in open_findings:
        mine = looked[finding.key]
        late = any(_is_for(each, finding) for each in tries)
        _keep(ctx, finding, by_id[case_id(finding)], mine, NOT_ASKED if not wanted else _why(finding, mine, late))


def _failing(finding: Finding) -> FaultPlan:
    """Return what fails in the runs of a finding before the power goes."""
    plan = finding_plan(finding) or FaultPlan()
    return FaultPlan(faults=tuple(fault for fault in plan.faults if isinstance(fault, Errno)))


def _is_for(each: _Try, finding: Finding) -> bool:
    return (
        each.item.case.id == case_id(finding)
        and each.profile.name in finding.profiles
        and each.plan == _failing(finding)
        and finding.invariant != CHECK_INVARIANT
        and not needed_programs(finding)
    )


def _tries(by_id: dict[str, Measured], findings: Iterable[Finding]) -> list[_Try]:
    """Return the recordings that could show any of the findings, each once."""
    found: dict[tuple[str, str, str, Commit, FaultPlan], _Try] = {}
    for finding in findings:
        item = by_id[case_id(finding)]
        for commit in _MODES:
            for profile in item.case.profiles:
                each = _Try(item, profile, commit, _failing(finding))
                if profile.filesystem and _is_for(each, finding):
                    key = (item.case.id, profile.filesystem, profile.mount_options, commit, each.plan)
                    found.setdefault(key, each)
    return list(found.values())


def _next_round(
    tries: list[_Try], looked: dict[str, _Looked], findings: list[Finding]
) -> tuple[list[_Try], list[_Try]]:
    """Return for each case the recording that can show most of what is still wanted, and those left for later."""
    worth = [sum(_is_for(each, finding) and looked[finding.key].wanted for finding in findings) for each in tries]
    now: dict[str, int] = {}
    for index, each in enumerate(tries):
        best = now.get(each.item.case.id)
        if worth[index] and (best is None or worth[index] > worth[best]):
            now[each.item.case.id] = index
    chosen = set(now.values())
    later = [each for index, each in enumerate(tries) if worth[index] and index not in chosen]
    return [tries[index] for index in now.values()], later


def _carry_out(
    ctx: Context, tries: list[_Try], looked: dict[str, _Looked], findings: list[Finding], vm: bool
) -> None:
    for each in tries:
        ctx.phase("power cuts", each.item.case)
    for outcome in ctx.executor.run(_calls(ctx, tries, looked, findings, vm)):
        each = tries[outcome.key]
        failure = harness_failure(outcome)
        result = CutResult(problem=failure) if failure else outcome.value
        for finding in findings:
            if _is_for(each, finding):
                _note(looked[finding.key], each, finding, result)
        _record_row(ctx, each, result)


def _calls(
    ctx: Context, tries: list[_Try], looked: dict[str, _Looked], findings: list[Finding], vm: bool
) -> Iterator[Call]:
    for number, each in enumerate(tries):
        name = each.profile.name
        wanted = tuple(
            finding for finding in findings if _is_for(each, finding) and name not in looked[finding.key].observed
        )
        request = CutRequest(
            spec=each.item.case.subject.spec,
            judged=each.item.explored.judged,
            findings=wanted,
            damages={finding.key: tuple(sorted(ctx.ledger.damages.get(finding.key, ()))) for finding in wanted},
            filesystem=each.profile.filesystem,
            options=each.profile.mount_options,
            commit=each.commit,
            plan=each.plan,
            cuts=VM_CUTS if vm else CUTS,
            vm=vm,
            seed=ctx.seed,
            content=ctx.ledger.content,
        )
        yield Call(cut_power, (request,), number)


def _note(mine: _Looked, each: _Try, finding: Finding, result: CutResult) -> None:
    """Keep what one recording showed of a finding."""
    if result.problem:
        mine.reasons[result.problem] = None
        mine.recordings += 1
        return
    name = each.profile.name
    if name in mine.observed:
        return
    mine.recordings += 1
    mine.cuts[name] = mine.cuts.get(name, 0) + result.cuts
    shown = result.shown.get(finding.key, 0)
    if shown:
        damage = result.evidence[finding.key]["damage"]
        observed = "observed" if damage == finding.damage else f"observed ({damage})"
        where = f"{name}, Linux {result.kernel}" if not mine.observed else name
        mine.observed[name] = Confirmation(
            attempts=result.cuts,
            confirmed=shown,
            method=f"{observed} on {where}: {shown:,} of {result.cuts:,} cuts",
            evidence={**result.evidence[finding.key], "kernel": result.kernel, "trial": _trial_id(each)},
        )


def _trial_id(each: _Try) -> str:
    failing = "/failing" if each.plan.faults else ""
    return f"{each.item.case.id}/exact/power/{each.profile.name}/{each.commit}{failing}"


def _record_row(ctx: Context, each: _Try, result: CutResult) -> None:
    """Keep what one recording was: a proof, and no trial that is counted."""
    row = each.item.case.row("exact", _trial_id(each), "inconclusive", "power", each.profile.name)
    if result.problem:
        ctx.record(msgspec.structs.replace(row, note=result.problem))
        return
    told = f"{result.cuts:,} cuts" + (
        f", {result.unreadable:,} left no readable disk" if result.unreadable else ""
    )
    ctx.record(
        msgspec.structs.replace(
            row,
            verdict="violated" if result.shown else "held",
            engine="block",
            delivered=told,
            findings=tuple(result.shown),
        )
    )


def _why(finding: Finding, mine: _Looked, late: bool) -> str:
    """Return why a finding was not observed."""
    if mine.cuts:
        return f"0 of {sum(mine.cuts.values()):,} cuts on {', '.join(mine.cuts)} showed it"
    if mine.reasons:
        return next(iter(mine.reasons))
    if late and not mine.observed:
        return "the time for real file systems is used up"
    if finding.invariant == CHECK_INVARIANT or needed_programs(finding):
        return "it takes programs to see it"
    return ""


def _keep(ctx: Context, finding: Finding, item: Measured, mine: _Looked, why: str) -> None:
    """Make the finding's confirmation final."""
    profiles = [each for each in item.case.profiles if each.name in finding.profiles]
    if not why and not any(each.filesystem for each in profiles):
        names = ", ".join(each.name for each in profiles)
        why = f"{names}: from documents, not from a running kernel"
    kept = ctx.ledger.kept(finding.key)
    confirmation = mine.confirmation()
    if confirmation is None and kept is not None and kept.confirmation.confirmed:
        confirmation = kept.confirmation  # an interrupted run has seen it
    if confirmation is None:
        confirmation = Confirmation(
            attempts=sum(mine.cuts.values()), method=f"predicted only ({why or 'not tried'})"
        )
    ctx.ledger.replace(msgspec.structs.replace(finding, confirmation=confirmation))
    ctx.ledger.write(finding.key)
