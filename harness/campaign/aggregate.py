"""From the rows of a campaign to its verdicts and exit code. Pure: a function of rows, findings and expectations.

Of a campaign: broken (a control failed, a recording did not verify) > violated > inconclusive > held. Single
inconclusive trials are counted apart; a class is inconclusive when nothing in it was measured, and so is a
campaign without violations when a fault class or an invariant that was asked for by name was never measured. Exit
code 0 says "all that was asked for was measured, and is as expected": an expectation that was not measured is 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from harness.campaign.context import Case
from harness.campaign.observe import UNATTRIBUTED
from harness.checks import INVARIANTS
from harness.checks.dialogue import DIALOGUE_ROWS
from harness.core.dialogue import SEPARATOR, in_words
from harness.core.fault import FaultClass
from harness.core.verdict import Finding, TrialRow, Verdict, worst

EXIT_AS_EXPECTED, EXIT_VIOLATED, EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_BROKEN, EXIT_NOTHING = 0, 1, 2, 3, 4, 5
EXIT_INTERRUPTED = 130

CONTENT = ("B1", "B2", "B4", "B5", "B6", "M1")
"""The invariants that judge what files hold; the others judge names, discipline and reports."""
LOST_UPDATES = ("M3", "B5", "M6")
"""What tells, after several writers at once, that what one of them was told is saved is gone."""
CONTROL_STATES = 10
"""A control that holds in fewer distinct states has tested nothing: its writer is not the one it was."""

NotMeasured = Mapping[str, Mapping[FaultClass, Mapping[str, str]]]
"""By case id and fault class: the invariants that nothing measured there, with the reason."""


class ClassResult(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under one fault class, and of a power loss under one ``profile``; ``none``: the run without a fault.

    ``runs`` are measured executions, ``bad`` those that violated, ``bad_states`` the distinct states that do;
    ``orders`` are executions in an order that was searched for, with ``bad_orders``: no rate, for nobody drew them;
    ``not_measured`` gives reasons by invariant, ``coverage`` says how far states were sampled and not exhausted.
    """

    fault_class: FaultClass
    verdict: Verdict
    expected: Verdict
    states: int = 0
    distinct: int = 0
    bad_states: int = 0
    runs: int = 0
    bad: int = 0
    orders: int = 0
    bad_orders: int = 0
    inconclusive: int = 0
    findings: tuple[str, ...] = ()
    reason: str = ""
    not_measured: Mapping[str, str] = {}
    profile: str = ""
    coverage: str = ""
    cut: int = 0
    """How much of what was planned the budget left undone: what is not seen here may not be gone."""

    @property
    def under(self) -> str:
        """The class, with the profile of a power loss."""
        return f"{self.fault_class} on {self.profile}" if self.profile else self.fault_class

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one the manifest states."""
        return self.verdict == self.expected


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One case, all its classes. ``part`` and ``story``: the scenario that asked, and what the variant does."""

    id: str
    target: str
    variant: str
    version: str
    control: str
    classes: tuple[ClassResult, ...]
    null_verdict: Verdict = "inconclusive"
    null_note: str = ""
    timed_runs: int = 0
    timed_bad: int = 0
    timed_inconclusive: int = 0
    part: str = ""
    story: str = ""
    dialogue: str = ""
    """What a client was held to, where the case is of one: the scenario's name without the target's."""
    steps: tuple[str, ...] = ()
    """What is done in each life of the dialogue, in words."""
    asked: Mapping[str, str] = {}
    """What its rows ask of a client, in words, by row."""
    faults: tuple[FaultClass, ...] = ()
    invariants: tuple[str, ...] = ()
    """The invariants that it was judged by."""


def _null_result(case: Case, null: TrialRow, lives: Sequence[TrialRow]) -> ClassResult:
    """Return what undisturbed runs say by themselves, graceful lives among them: a violation there needs no fault."""
    measured = [row for row in (null, *lives) if row.verdict in ("held", "violated")]
    verdict = worst(row.verdict for row in (null, *lives) if row.verdict != "inconclusive")
    expected = case.expected("none") or "held"
    if verdict == "held" and not case.control and "none" not in case.subject.expect:
        expected = "held"  # nothing wrong without a fault is no surprise, whatever a writer does under one
    return ClassResult(
        fault_class="none",
        verdict=verdict,
        expected=expected,
        runs=len(measured),
        bad=sum(row.verdict == "violated" for row in measured),
        inconclusive=1 + len(lives) - len(measured),
        findings=tuple(dict.fromkeys(name for row in (null, *lives) for name in row.findings)),
    )


def _class_result(
    case: Case, rows: list[TrialRow], name: FaultClass, null: TrialRow | None, profile: str = ""
) -> ClassResult:
    expected: Verdict = case.expected(name, profile) or "held"
    if null is None or null.verdict in ("broken", "inconclusive"):
        verdict: Verdict = null.verdict if null else "inconclusive"
        reason = null.note if null else "not run"
        return ClassResult(fault_class=name, verdict=verdict, expected=expected, reason=reason, profile=profile)
    mine = [row for row in rows if row.fault_class == name and row.profile == profile]
    # States are counted once: as an exploration judged them, else as a check did.
    explored = [row for row in mine if row.distinct]
    explored = explored or [row for row in mine if row.states and _is_phase(row, case, "check")]
    # The rest looked again at single states of an exploration; one that was not made is no run.
    made = [row for row in mine if not row.states and not _is_phase(row, case, "state")]
    orders = [row for row in made if _is_phase(row, case, "order")]
    runs = [row for row in made if not _is_phase(row, case, "order")]
    verdicts = [row.verdict for row in mine if row.verdict != "inconclusive"]
    broken = next((row for row in mine if row.verdict == "broken"), None)
    return ClassResult(
        fault_class=name,
        verdict=worst(verdicts),
        expected=expected,
        states=sum(row.states for row in explored),
        distinct=sum(row.distinct or row.states for row in explored),
        bad_states=sum(row.bad_states if row.distinct else row.verdict == "violated" for row in explored),
        runs=sum(row.verdict in ("held", "violated") for row in runs),
        bad=sum(row.verdict == "violated" for row in runs),
        orders=sum(row.verdict in ("held", "violated") for row in orders),
        bad_orders=sum(row.verdict == "violated" for row in orders),
        inconclusive=sum(row.verdict == "inconclusive" for row in made),
        findings=tuple(dict.fromkeys(finding for row in mine for finding in row.findings)),
        reason=f"{broken.trial_id}: {broken.note}" if broken else ("" if verdicts else _unmeasured(name, mine)),
        profile=profile,
        coverage=next((row.note for row in explored if row.distinct), "") if profile else "",
    )


def _unmeasured(name: FaultClass, rows: Sequence[TrialRow]) -> str:
    if name == "power" and rows:
        return rows[0].note
    return "no document to damage, or no program of its own to start on it" if name == "damage" else "not measured"


def _unjudged(case: Case, name: FaultClass, reasons: Mapping[str, str], interleaves: bool) -> str:
    """Return why what matters most was not judged in this class, or an empty string: then it cannot be *held*.

    That is what files hold and, where several writers meet, whether one of them loses another's update.
    """
    if case.subject.check:
        return ""
    needed: dict[str, tuple[str, ...]] = {"nothing judged what the files hold": CONTENT[::-1]}
    if interleaves and name == "concurrency":
        needed["whether an update is lost was not judged"] = LOST_UPDATES
    for what, invariants in needed.items():
        rows = [
            each
            for each in invariants
            if INVARIANTS[each].judges(name) and each in (case.invariants or INVARIANTS)
        ]
        if rows and all(each in reasons for each in rows):
            return f"{what}: {reasons[rows[0]]}; give it a check"
    return ""


def _is_phase(row: TrialRow, case: Case, phase: str) -> bool:
    return row.trial_id.startswith(f"{case.id}/{phase}/")


def _by_number(row: TrialRow) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", row.trial_id)]


def case_result(
    case: Case,
    rows: Iterable[TrialRow],
    not_measured: Mapping[FaultClass, Mapping[str, str]] | None = None,
    *,
    interleaves: bool = False,
) -> CaseResult:
    """Return what the rows say of one case. Confirming runs prove findings; they are not counted as trials.

    ``interleaves``: several threads or processes of it change the state.
    """
    mine = [row for row in rows if row.trial_id.startswith(case.id + "/")]
    mine.sort(key=_by_number)  # not in the order in which trials happened to end
    null = next((row for row in mine if row.trial_id == f"{case.id}/null"), None)
    timed = [row for row in mine if _is_phase(row, case, "timed")]
    counted = [row for row in mine if not _is_phase(row, case, "exact")]
    reasons = not_measured or {}
    classes = []
    lives = [row for row in mine if _is_phase(row, case, "life")]
    # A life may end in a way that nobody asked to have judged, and that nothing here can judge: it is told, no more.
    told = [row for row in lives if row.verdict != "inconclusive"]
    ends = dict.fromkeys(row.fault_class for row in told if row.fault_class not in ("none", *case.faults))
    asked: list[tuple[FaultClass, str]] = []
    for name in (*case.faults, *ends):
        on = [each.name for each in case.profiles] if name == "power" else []
        asked += [(name, profile) for profile in on or [""]]
    for name, profile in asked:
        item = _class_result(case, counted, name, null, profile)
        unjudged = _unjudged(case, name, reasons.get(name, {}), interleaves) if item.verdict == "held" else ""
        if unjudged:
            item = msgspec.structs.replace(item, verdict="inconclusive", reason=unjudged)
        classes.append(msgspec.structs.replace(item, not_measured=dict(reasons.get(name, {}))))
    quiet = [row for row in lives if row.fault_class == "none"]
    quiet += [row for row in mine if _is_phase(row, case, "canary") and row.fault_class == "none"]
    if null is not None and (null.verdict == "violated" or quiet):
        classes.insert(0, _null_result(case, null, quiet))
    return CaseResult(
        id=case.id,
        target=case.subject.target,
        variant=case.subject.variant,
        version=case.subject.version,
        control=case.control,
        classes=tuple(classes),
        null_verdict=null.verdict if null else "inconclusive",
        null_note=null.note if null else "not run",
        timed_runs=sum(row.verdict in ("held", "violated") for row in timed),
        timed_bad=sum(row.verdict == "violated" for row in timed),
        timed_inconclusive=sum(row.verdict == "inconclusive" for row in timed),
        part=case.part,
        story=case.story,
        dialogue=case.subject.variant.partition(SEPARATOR)[2] if _talks(case) else "",
        steps=in_words(case.dialogue.lives) if case.dialogue is not None and _talks(case) else (),
        asked={name: DIALOGUE_ROWS[name] for name in sorted(case.invariants & DIALOGUE_ROWS.keys())}
        if _talks(case)
        else {},
        faults=case.faults,
        invariants=tuple(sorted(case.invariants or INVARIANTS)),
    )


def _talks(case: Case) -> bool:
    """Whether what a client says in its dialogues is judged, not only what it leaves on disk."""
    return case.dialogue is not None and not (case.cuts and case.invariants.isdisjoint(DIALOGUE_ROWS))


def with_cuts(result: CaseResult, cut: Mapping[tuple[str, FaultClass, str], int]) -> CaseResult:
    """Return the result with what the budget left undone of each class."""
    return msgspec.structs.replace(
        result,
        classes=tuple(
            msgspec.structs.replace(
                item,
                cut=sum(
                    cut.get((result.id, item.fault_class, profile), 0)
                    for profile in dict.fromkeys(("", item.profile))
                ),
            )
            for item in result.classes
        ),
    )


def control_problem(results: Iterable[CaseResult]) -> str:
    """Return why the harness cannot be trusted in this campaign, or an empty string."""
    for result in results:
        if not result.control:
            continue
        for item in result.classes:
            if (
                item.verdict == "held"
                and item.fault_class == "kill"
                and not item.runs
                and item.distinct < CONTROL_STATES
            ):
                return f"control {result.variant} under kill: only {item.distinct} states were judged"
            if item.verdict != item.expected:
                return (
                    f"control {result.variant} under {item.under}: expected {item.expected}, "
                    f"found {item.verdict}" + (f" ({item.reason})" if item.reason else "")
                )
    return ""


def never_measured(results: Iterable[CaseResult], requested: Sequence[str]) -> dict[str, str]:
    """Return the invariants asked for by name that no class of any case measured, each with a reason."""
    reasons: dict[str, str] = {}
    measured: set[str] = set()
    for result in results:
        for item in () if result.control else result.classes:
            for name in requested:
                if item.verdict == "inconclusive" and result.dialogue:
                    reasons.setdefault(name, item.reason or "no dialogue of it was whole")
                if item.fault_class == "none" or item.verdict == "inconclusive":
                    continue
                if name in item.not_measured:
                    reasons.setdefault(name, f"under {item.fault_class}: {item.not_measured[name]}")
                elif result.dialogue or (name in INVARIANTS and INVARIANTS[name].judges(item.fault_class)):
                    measured.add(name)
    return {
        name: reasons.get(name, "no fault class that was run can violate it")
        for name in requested
        if name not in measured
    }


def verdict_of(
    results: Iterable[CaseResult], missing: bool = False, *, shard: bool = False
) -> tuple[Verdict, int]:
    """Return the campaign's verdict and exit code. ``missing``: something asked for by name was never measured.

    ``shard``: an expected violation that did not occur is no surprise, and what has no work is no failure: other
    shards may have seen the one and have done the other.
    """
    results = list(results)
    subjects = [item for result in results if not result.control for item in result.classes]
    if control_problem(results) or any(item.verdict == "broken" for item in subjects):
        return "broken", EXIT_BROKEN
    if not subjects:
        return "inconclusive", EXIT_AS_EXPECTED if shard else EXIT_NOTHING
    verdict = worst(item.verdict for item in subjects)
    if missing and verdict == "held":
        verdict = "inconclusive"
    surprises = [item for item in subjects if item.verdict != "inconclusive" and not item.as_expected]
    if any(item.verdict == "violated" or not shard for item in surprises):
        return verdict, EXIT_VIOLATED
    if missing or any(item.verdict == "inconclusive" for item in subjects):
        return verdict, EXIT_INCONCLUSIVE
    return verdict, EXIT_AS_EXPECTED


def _cause(item: Finding, damage: str) -> tuple[str, ...]:
    return item.target, item.variant, item.version, str(item.control), item.invariant, item.role, damage


def join_timed(
    findings: Mapping[str, Finding], damages: Mapping[str, Iterable[str]] | None = None
) -> dict[str, str]:
    """Return, per finding that chance made, the exact one it is: same invariant, role and damage.

    That is of a timed kill the one at a crash point, of a run without a fault the one under a schedule.

    What a signal leaves that the program can catch stays apart: its handlers ran, or it died between two operations.

    ``damages``: all that was seen of a finding, by key, where that is more than what its first observation shows.
    """
    return {
        **_joined({key: item for key, item in findings.items() if item.fault_class == "kill"}, damages),
        **_joined({key: item for key, item in findings.items() if item.fault_class == "concurrency"}, damages),
    }


def _joined(findings: Mapping[str, Finding], damages: Mapping[str, Iterable[str]] | None) -> dict[str, str]:
    exact: dict[tuple[str, ...], str] = {}
    for key, item in findings.items():
        if item.operation != UNATTRIBUTED:
            for damage in {item.damage, *(damages or {}).get(key, ())}:
                exact.setdefault(_cause(item, damage), key)
    return {
        key: exact[_cause(item, item.damage)]
        for key, item in findings.items()
        if item.operation == UNATTRIBUTED and _cause(item, item.damage) in exact
    }


def summary(results: Iterable[CaseResult], findings: Iterable[Finding] = ()) -> dict[str, Any]:
    """Return the results as plain data for events and reports, with the findings that no real run has shown."""
    unproven = [item.key for item in findings if not item.control and not item.confirmation.confirmed]
    return {"cases": [msgspec.to_builtins(result) for result in results], "not_confirmed": unproven}
