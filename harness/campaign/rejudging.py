"""Old runs judged with today's checks: the stored traces explored again, and held against the stored verdicts.

What can be judged again is what a trace holds: the run without a fault, and every state that a kill, a cut write or a
power loss can leave of it. The manifests, scenarios and profiles are those of today. No process of the target starts.

Runs of real processes (errors, timed kills, signals, plain runs, lives, programs on states, confirmations) left no
trees: their verdicts stand as they were, and that is said. Names that differ in case alone count as two, as on Linux:
a trace does not say what its file system made of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from harness.campaign.context import Case
from harness.campaign.executor import Call, Executor
from harness.campaign.observe import Observation, finding_from, observed_loss
from harness.campaign.plan import Options, Plan, probe_case
from harness.campaign.power_states import PowerRequest, explore_losses
from harness.campaign.record import explore_request, judges_states, null_violations
from harness.campaign.sharding import ELSEWHERE
from harness.campaign.store import RunStore
from harness.campaign.trials import harness_failure
from harness.campaign.work import Explored, ExploreRequest, explore_recording, judged_of
from harness.core.apply import replay
from harness.core.fault import NO_FAULTS, FaultClass
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.core.verdict import Finding, TrialRow, Verdict
from harness.sandbox.workspace import Workspace

STANDS = (
    "Runs of real processes (errors, timed kills, signals, plain runs, lives, programs on states) left no trees to "
    "judge again: their verdicts stand."
)
_JUDGED_PHASES = ("null", "state")


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """One class of one writer: the stored verdict, today's, and the findings that only one of them has."""

    writer: str
    fault_class: FaultClass
    profile: str = ""
    stored: Verdict
    now: Verdict
    bad_stored: int = 0
    bad_now: int = 0
    distinct_stored: int = 0
    distinct_now: int = 0
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether today's checks say something else."""
        return self.stored != self.now or bool(self.new or self.gone)


class Rejudged(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run judged again. ``findings`` are those that are new; ``not_judged`` says what could not be, and why."""

    run_id: str
    stored_by: str
    classes: tuple[Again, ...] = ()
    findings: tuple[Finding, ...] = ()
    not_judged: tuple[str, ...] = ()


def case_of_probe(run: dict[str, Any], rows: Iterable[TrialRow], workspace: Workspace) -> Case | None:
    """Return the case of a stored probe: its files inferred again; ``None`` where it recorded nothing."""
    row = next((row for row in rows if row.kind == "null" and not row.trial_id.startswith("control:")), None)
    if row is None:
        return None
    events = run.get("events") or [{}]
    words = shlex.split(str(events[0].get("environment", {}).get("replay", "")))
    words = words[: words.index("--")] if "--" in words else words
    return probe_case(
        row.variant,
        msgspec.convert(run.get("options", {}), Options),
        workspace,
        checked="--check" in words,
        healed="healed" in words,
        seed=row.seed,
    )


def _recording(case: Case, trace: Trace) -> Recording:
    """Return the null run as its trace tells it: a stored one has verified itself when it was made."""
    spec = msgspec.structs.replace(case.subject.spec, start=trace.start)
    return Recording(
        spec=spec,
        engine=trace.engine,
        final=replay(trace.start, trace.operations),
        ending="exited",
        exit_code=0,
        trace=trace,
        acks=tuple(op.id for op in trace.acks),
    )


def judge_again(recording: Recording, request: ExploreRequest) -> Explored:
    """Explore a stored recording; what a worker does."""
    assert recording.trace is not None  # it was made of one
    return explore_recording(recording, judged_of(recording.trace, request), request)


def rejudge(store: RunStore, plan: Plan, executor: Executor) -> Rejudged:
    """Judge every case of a stored run again that ``plan``, made today of what the run was asked, still has."""
    rows = {row.trial_id: row for row in store.rows()}
    notes = [f"{item.what}: not available: {item.reason}" for item in plan.not_available]
    recordings: dict[str, Recording] = {}
    cases = {case.id: case for case in plan.cases}
    traces = set(store.traces())
    for case in plan.cases:
        null = rows.get(f"{case.id}/null")
        if null is None or case.file_name not in traces:
            notes.append(f"{case.id}: this run has no recording of it")
        elif null.verdict in ("inconclusive", "broken"):
            notes.append(f"{case.id}: its recording was {null.verdict}: {null.note}")
        else:
            recordings[case.id] = _recording(case, store.read_trace(case.file_name))
    known = set(cases) | {item.what for item in plan.not_available}
    stored = dict.fromkeys(_case_id(row) for row in rows.values() if not row.trial_id.startswith("control:"))
    notes += [f"{name}: today's manifests and scenarios do not have it" for name in stored if name not in known]
    explored: dict[str, Explored] = {}
    calls = [
        Call(judge_again, (recording, explore_request(cases[name])), name, needs_workspace=False)
        for name, recording in recordings.items()
    ]
    for outcome in executor.run(calls):
        failure = harness_failure(outcome)
        if failure:
            notes.append(f"{outcome.key}: {failure}")
        else:
            explored[outcome.key] = outcome.value
    found = {name: list(_of_case(rows, cases[name], explored[name])) for name in recordings if name in explored}
    for case, again, findings in _power(executor, rows, cases, explored, plan.seed, notes):
        found[case.id].append((again, findings))
    flat = [each for name in recordings if name in found for each in found[name]]
    new = {finding.key: finding for again, findings in flat for finding in findings if finding.key in again.new}
    return Rejudged(
        run_id=store.run_id,
        stored_by=str(store.read_run().get("tornwrite", "")),
        classes=tuple(again for again, _ in flat),
        findings=tuple(new.values()),
        not_judged=tuple(notes),
    )


def _case_id(row: TrialRow) -> str:
    return f"{row.target}/{row.variant}" + (f"@{row.version}" if row.version else "")


def _of_case(rows: dict[str, TrialRow], case: Case, explored: Explored) -> Iterator[tuple[Again, list[Finding]]]:
    """Yield the run without a fault, and the states of kills and cut writes, where the stored run judged them."""
    null = rows[f"{case.id}/null"]
    if null.note != ELSEWHERE:
        final = explored.recording.final
        seen = [
            Observation(violation=item, fault_class="none", plan=NO_FAULTS, runs=1, tree=final)
            for item in null_violations(explored)
        ]
        yield _again(case, null, seen, null.trial_id)
    for name, exploration in explored.explorations.items():
        trial_id = f"{case.id}/state/{name}"
        row = rows.get(trial_id)
        if row is None or not judges_states(case, explored, name):
            continue
        seen = [
            Observation(
                violation=group.violation,
                fault_class=name,
                point=group.point,
                states=group.states,
                tree=group.first.tree,
            )
            for group in exploration.groups
            if group.severity == "violation"
        ]
        yield _again(case, row, seen, trial_id, exploration.violated, exploration.distinct)


def _again(
    case: Case,
    row: TrialRow,
    seen: Sequence[Observation],
    trial_id: str,
    bad: int = 0,
    distinct: int = 0,
    stopped: bool = False,
) -> tuple[Again, list[Finding]]:
    findings = {item.key: item for each in seen if (item := finding_from(case, each, trial_id, False))}
    now: Verdict = "violated" if findings else ("inconclusive" if stopped else "held")
    again = Again(
        writer=case.subject.label,
        fault_class=row.fault_class,
        profile=row.profile,
        stored=row.verdict,
        now=now,
        bad_stored=row.bad_states,
        bad_now=bad,
        distinct_stored=row.distinct,
        distinct_now=distinct,
        new=tuple(name for name in findings if name not in row.findings),
        gone=() if stopped else tuple(name for name in row.findings if name not in findings),
    )
    return again, list(findings.values())


def _power(
    executor: Executor,
    rows: dict[str, TrialRow],
    cases: dict[str, Case],
    explored: dict[str, Explored],
    seed: int,
    notes: list[str],
) -> Iterator[tuple[Case, Again, list[Finding]]]:
    """Yield what power losses leave, per profile that the stored run explored."""
    calls = []
    for name, each in explored.items():
        case = cases[name]
        for profile in case.profiles:
            if f"{name}/state/power/{profile.name}" in rows and judges_states(case, each, "power"):
                request = PowerRequest(recording=each.recording, judged=each.judged, profile=profile, seed=seed)
                calls.append(Call(explore_losses, (request,), (name, profile.name), needs_workspace=False))
    answers = {}
    for outcome in executor.run(calls):
        failure = harness_failure(outcome)
        if failure:
            notes.append(f"{outcome.key[0]} under power on {outcome.key[1]}: {failure}")
        else:
            answers[outcome.key] = outcome.value.exploration
    for call in calls:  # in the order of the plan
        if call.key not in answers:
            continue
        (name, profile_name), exploration = call.key, answers[call.key]
        trial_id = f"{name}/state/power/{profile_name}"
        seen = [
            observed_loss(group.violation, group.fault, tree=group.tree, seq=group.seq, states=group.states)
            for group in exploration.groups
            if group.severity == "violation"
        ]
        again, findings = _again(
            cases[name],
            rows[trial_id],
            seen,
            trial_id,
            exploration.violated,
            exploration.distinct,
            exploration.stopped_at >= 0,
        )
        yield cases[name], again, findings
