"""The confirmation phase: each finding is shown again by fresh runs of the real writer.

Findings that share a fault plan share the runs. The runs of one plan are kept together, when the last has ended:
an interruption costs those of the plans under way, never their evidence. What an exploration found and no real run
showed stays a violation, and is said to be not confirmed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from harness.campaign.context import Context, Measured, case_id
from harness.campaign.executor import Call
from harness.campaign.programs import Examined, run_and_examine, run_and_examine_all
from harness.campaign.proof import confirming_plan, confirms, engine_for, evidence, kills, programs_for
from harness.campaign.trials import harness_failure, run_row, schedule_problem, struck
from harness.core.event import FindingConfirmed
from harness.core.fault import FaultPlan, Kill
from harness.core.json_record import encode_record
from harness.core.run import RunSpec
from harness.core.verdict import Confirmation, Finding, TrialRow, Verdict
from harness.engines import engine as engine_named
from harness.engines.shim.launch import is_python

ALL = -1
"""In the place of an attempt: all of a group, made by one call."""
_CALL_S = 240.0
"""How long the runs of one call may take together."""


class Group:
    """The findings that one plan confirms, and what its runs have shown so far, by attempt."""

    def __init__(self, measured: Measured, plan: FaultPlan, of: int = 1) -> None:
        self._made = max(1, measured.case.runs // of)  # of the plain runs, a shard makes its share
        self.measured = measured
        self.plan = plan
        self.findings: list[Finding] = []
        self.ended: dict[int, Examined | str] = {}

    @property
    def attempts(self) -> int:
        """How many runs the findings of this group get.

        Where chance decides, so many that the rarest is to be met three times at the rate seen so far: one that is
        there stays away from all of them in one campaign of twenty.
        """
        case = self.measured.case
        if not self.plan.concurrency:
            return case.confirmations
        rarest = min((item.runs for item in self.findings), default=0)
        return max(case.confirmations, min(case.runs, math.ceil(3 * self._made / max(1, rarest))))

    @property
    def key(self) -> str:
        """The beginning of the trial ids of this group."""
        raw = encode_record(self.plan).encode("ascii")  # a role may hold what is not UTF-8
        return f"{self.measured.case.id}/exact/{hashlib.blake2b(raw, digest_size=6).hexdigest()}"

    def trial_id(self, attempt: int) -> str:
        """Return the id of one run."""
        return f"{self.key}/{attempt}"


def _groups(ctx: Context, cases: Iterable[Measured]) -> dict[str, Group]:
    """Group the findings by the plan that is to confirm them."""
    by_id = {item.case.id: item for item in cases}
    groups: dict[str, Group] = {}
    for finding in ctx.ledger:
        measured, plan = by_id.get(case_id(finding)), confirming_plan(finding)
        if measured is None or plan is None:
            continue
        group = Group(measured.under(plan), plan, ctx.split.shard.of)
        groups.setdefault(group.key, group).findings.append(finding)
    return groups


def confirm_phase(ctx: Context, cases: Iterable[Measured]) -> None:
    """Confirm every finding that names a place, ``confirmations`` times each, and make it final."""
    cases = list(cases)
    groups = _groups(ctx, cases)
    for measured in cases:
        planned = sum(group.attempts for group in groups.values() if group.measured.case is measured.case)
        if planned:
            ctx.phase("confirm", measured.case, planned)
    calls = []
    for key, group in groups.items():
        if all(group.trial_id(attempt) in ctx.done for attempt in range(group.attempts)):
            _restore(ctx, group)
            continue
        requests = tuple(
            programs_for(group.measured, group.findings, proof=attempt == 0) for attempt in range(group.attempts)
        )
        spec = group.measured.case.subject.spec
        if forks(group.plan, ctx.engine, spec, group.attempts):
            calls.append(Call(run_and_examine_all, ("forked", spec, group.plan, requests), (key, ALL)))
            continue
        name = engine_for(group.plan, ctx.engine)
        calls += [
            Call(run_and_examine, (name, spec, group.plan, request), (key, attempt))
            for attempt, request in enumerate(requests)
        ]
    for outcome in ctx.executor.run(calls):
        key, attempt = outcome.key
        group = groups[key]
        failed = harness_failure(outcome)
        if attempt == ALL:
            group.ended = {n: failed or outcome.value[n] for n in range(group.attempts)}
        else:
            group.ended[attempt] = failed or outcome.value
        if len(group.ended) == group.attempts:
            _close(ctx, group)
            group.ended.clear()
    for finding in ctx.ledger:
        if not finding.control:
            ctx.publish(FindingConfirmed(finding=finding))
            _say_if_unconfirmed(ctx, finding)


def forks(plan: FaultPlan, engine: str, spec: RunSpec, attempts: int) -> bool:
    """Whether the runs of a kill are forked, in one call, from a Python that has loaded what the target imports."""
    return (
        engine == "shim"
        and plan.fault_class == "kill"
        and all(isinstance(fault, Kill) for fault in plan.faults)
        and attempts * spec.limits.timeout_s <= _CALL_S
        and is_python(spec.argv[0])
        and not engine_named("forked").available()
    )


def _method(plan: FaultPlan, engines: Iterable[str]) -> str:
    if "forked" in engines:
        return _method(plan, ()) + ", forked from a preloaded process"
    if plan.fault_class == "damage":
        return "started again on the damaged file" + (", and killed again" if kills(plan) else "")
    if kills(plan):
        within = " of the same order" if plan.schedule is not None else ""
        return f"killed again at the same operation{within}"
    if plan.schedule is not None:
        return "run again in the same order of operations"
    return "run again under the same fault" if plan.faults else "run again without a fault"


def _close(ctx: Context, group: Group) -> None:
    """Count the runs of a group, keep their evidence, then their rows."""
    shown: dict[int, list[str]] = {attempt: [] for attempt in range(group.attempts)}
    engines = [item.recording.engine for item in group.ended.values() if not isinstance(item, str)]
    for finding in group.findings:
        confirmed = 0
        proof: dict[str, Any] = {}
        for attempt, names in shown.items():
            examined = group.ended[attempt]
            violation = (
                None if isinstance(examined, str) else confirms(group.measured, examined, group.plan, finding)
            )
            if violation is None or isinstance(examined, str):
                continue
            confirmed += 1
            names.append(finding.key)
            if not proof:
                proof = evidence(group.measured, examined, violation, ctx.ledger.content)
                proof["trial"] = group.trial_id(attempt)
        confirmation = Confirmation(
            attempts=group.attempts, confirmed=confirmed, method=_method(group.plan, engines), evidence=proof
        )
        _keep(ctx, finding, confirmation)
    for attempt, names in shown.items():
        ctx.record(_row(group, attempt, names))


def _keep(ctx: Context, finding: Finding, confirmation: Confirmation) -> None:
    ctx.ledger.replace(msgspec.structs.replace(finding, confirmation=confirmation))
    ctx.ledger.write(finding.key)
    if confirmation.evidence.get("listers_agree") is False:
        ctx.notice(
            f"{finding.key}: the target's own list and the pure lister disagree on session "
            f"{confirmation.evidence.get('path', '')}"
        )


def _row(group: Group, attempt: int, names: list[str]) -> TrialRow:
    examined, case = group.ended[attempt], group.measured.case
    if isinstance(examined, str):
        row = case.row("exact", group.trial_id(attempt), "broken", group.plan.fault_class)
        return msgspec.structs.replace(row, note=f"the harness failed: {examined}")
    recording = examined.recording
    reached = struck(recording, group.plan)
    verdict: Verdict = "violated" if names else ("held" if reached else "inconclusive")
    note = "" if reached else schedule_problem(recording) or "the run ended before its fault"
    if recording.differences:
        verdict, note = "broken", "the recording does not verify: " + "; ".join(recording.differences[:3])
    row = run_row(case, "exact", group.trial_id(attempt), group.plan, recording, verdict)
    return msgspec.structs.replace(row, findings=tuple(names), note=note)


def _restore(ctx: Context, group: Group) -> None:
    """Count the runs of a group again that an interrupted campaign made; their evidence is on disk."""
    rows = [ctx.done[group.trial_id(attempt)] for attempt in range(group.attempts)]
    for finding in group.findings:
        kept = ctx.ledger.kept(finding.key)
        confirmation = Confirmation(
            attempts=group.attempts,
            confirmed=sum(finding.key in row.findings for row in rows),
            method=_method(group.plan, [row.engine for row in rows]),
            evidence=kept.confirmation.evidence if kept is not None else {},
        )
        _keep(ctx, finding, confirmation)
    for row in rows:
        ctx.record(row)


def _say_if_unconfirmed(ctx: Context, finding: Finding) -> None:
    """Say of what an exploration found that no real run has shown it: a violation, but not a proven one."""
    attempts = finding.confirmation.attempts
    if finding.fault_class != "power" and attempts and not finding.confirmation.confirmed:
        place = f" at {finding.crash_point}" if finding.crash_point else ""
        ctx.notice(
            f"not confirmed: {finding.invariant} under {finding.fault_class}{place}, 0 of {attempts} real runs showed "
            "it; it counts as a violation, for it was seen"
        )
