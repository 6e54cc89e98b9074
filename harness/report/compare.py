"""Two runs held against each other: what is new, what is gone, what happens more often. Pure.

*Gone* needs a second run that could have seen it (:mod:`harness.report.measured`), under the same engine and seed; else
it was *not measured in B*, and
the same the other way round for what is new. Crash states, and runs under planned faults (errno, short, damage, power),
are enumerated: a difference there is one. Kills at random moments, signals and plain runs are drawn: what one run shows
and the other does not is told apart from chance by Fisher's exact test, two-sided and unpaired, and Holm's correction
over all tests of the comparison.

Findings are matched by what their fingerprint is made of. Where each run holds a single version of a writer, or a
single variant of a target, these are matched with each other: that is how a fix is compared with what it fixes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from harness.core.fault import FAULT_CLASSES, FaultClass
from harness.core.proportion import wilson
from harness.core.significance import LEVEL, fisher_exact, holm, spell_p
from harness.core.verdict import Finding, Verdict
from harness.report.measured import unmeasured, whole, why_not_seen
from harness.report.sentence import headline
from harness.report.view import CaseView, ClassLine, Rate, RunView

Answer = Literal["unchanged", "fixed", "better", "changed", "worse", "undecided"]
Status = Literal[
    "new", "gone", "worse", "better", "changed", "unchanged", "chance", "not measured in A", "not measured in B"
]
Difference = Literal["same", "higher in B", "lower in B", "chance", "not measured in A", "not measured in B"]
EXIT_CODES: dict[Answer, int] = {"unchanged": 0, "fixed": 0, "better": 0, "changed": 0, "worse": 1, "undecided": 3}

DRAWN: tuple[FaultClass, ...] = ("kill", "signal", "concurrency")
"""The classes whose runs are drawn by chance; those of the others are planned, one by one."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one run measured of a class: crash states, and runs as a rate. ``reason``: why it was not measured."""

    verdict: Verdict
    distinct: int = 0
    bad_states: int = 0
    runs: Rate | None = None
    reason: str = ""
    coverage: str = ""


class ClassChange(msgspec.Struct, frozen=True, kw_only=True):
    """One class of one writer in both runs. ``p`` is of the runs; ``p_holm`` is corrected for all tests."""

    writer_a: str
    writer_b: str
    fault_class: FaultClass
    profile: str
    difference: Difference
    a: Side | None = None
    b: Side | None = None
    drawn: bool = False
    p: float | None = None
    p_holm: float | None = None


class FindingChange(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of either run. ``note`` says what differs, or why nothing can be said."""

    status: Status
    fingerprint: str
    summary: str
    target: str
    variant: str
    fault_class: FaultClass
    expected: bool
    version: str = ""
    note: str = ""
    runs_a: Rate | None = None
    runs_b: Rate | None = None
    p: float | None = None
    p_holm: float | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The ``result`` of ``compare``."""

    run_a: str
    run_b: str
    answer: Answer
    sentence: str
    tests: int
    level: float
    matched: tuple[str, ...] = ()
    """Writers that are compared although their names differ."""
    undecided: tuple[str, ...] = ()
    classes: tuple[ClassChange, ...] = ()
    findings: tuple[FindingChange, ...] = ()


class _Pair(NamedTuple):
    """A writer in both runs; one of them may lack it."""

    a: CaseView | None
    b: CaseView | None


# -- matching ------------------------------------------------------------------------------------------------------


def _match(a: Sequence[CaseView], b: Sequence[CaseView]) -> list[_Pair]:
    """Return the writers of both runs, side by side: the same ones; then the only version; then the only variant."""
    pairs: dict[str, _Pair] = {}
    left_b = {case.id: case for case in b}
    for case in a:
        pairs[case.id] = _Pair(case, left_b.pop(case.id, None))
    for key in (lambda case: (case.target, case.variant), lambda case: (case.target,)):
        for case in a:
            same_a = [other for other in a if key(other) == key(case)]
            same_b = [other for other in b if key(other) == key(case)]
            if len(same_a) == len(same_b) == 1 and pairs[case.id].b is None and same_b[0].id in left_b:
                pairs[case.id] = _Pair(case, left_b.pop(same_b[0].id))
    return [*pairs.values(), *(_Pair(None, case) for case in left_b.values())]


def _identity(finding: Finding) -> tuple[str, ...]:
    """Return what a fingerprint is made of, but for target and variant: these are matched as writers."""
    return finding.invariant, finding.fault_class, finding.operation, finding.role, finding.phase


def _of(view: RunView, case: CaseView | None) -> dict[tuple[str, ...], Finding]:
    if case is None:
        return {}
    name = (case.target, case.variant, case.version)
    return {_identity(item): item for item in view.findings if (item.target, item.variant, item.version) == name}


# -- classes -------------------------------------------------------------------------------------------------------


def _rate(k: int, n: int) -> Rate | None:
    if not n:
        return None
    low, high = wilson(k, n)
    return Rate(k=k, n=n, rate=k / n, low=low, high=high)


def _p(a: Rate | None, b: Rate | None) -> float | None:
    return fisher_exact(a.k, a.n, b.k, b.n) if a is not None and b is not None else None


def _side(view: RunView, case: CaseView | None, line: ClassLine | None) -> Side | None:
    if case is None or line is None:
        return None
    return Side(
        verdict=line.verdict,
        distinct=line.distinct,
        bad_states=line.bad_states,
        runs=_rate(line.bad, line.runs),
        reason=whole(view) or unmeasured(view, case, line),
        coverage=line.coverage,
    )


def _classes(view_a: RunView, view_b: RunView, pair: _Pair) -> Iterable[ClassChange]:
    lines_a = {(line.fault_class, line.profile): line for line in (pair.a.classes if pair.a else ())}
    lines_b = {(line.fault_class, line.profile): line for line in (pair.b.classes if pair.b else ())}
    order = ("none", *FAULT_CLASSES)
    for key in sorted({**lines_a, **lines_b}, key=lambda key: order.index(key[0])):
        a, b = _side(view_a, pair.a, lines_a.get(key)), _side(view_b, pair.b, lines_b.get(key))
        if key[0] == "none":  # it has a line only where it is violated
            a = a or _quiet(pair.a)
            b = b or _quiet(pair.b)
        yield ClassChange(
            writer_a=pair.a.name if pair.a else "",
            writer_b=pair.b.name if pair.b else "",
            fault_class=key[0],
            profile=key[1],
            difference="same",
            a=a,
            b=b,
            drawn=key[0] in DRAWN,
            p=_p(a.runs, b.runs) if a is not None and b is not None else None,
        )


def _quiet(case: CaseView | None) -> Side | None:
    if case is None:
        return None
    held = case.null_verdict == "held"
    return Side(
        verdict=case.null_verdict,
        runs=_rate(0, 1) if held else None,
        reason="" if held else case.null_note or case.null_verdict,
    )


def _difference(change: ClassChange) -> Difference:
    """Return how a class differs, once its p-value is corrected."""
    a, b = change.a, change.b
    if a is None or (a.reason and a.verdict != "violated"):
        return "not measured in A"
    if b is None or (b.reason and b.verdict != "violated"):
        return "not measured in B"
    if {a.verdict, b.verdict} == {"held", "violated"}:
        # Held in B because the only violations were drawn, and chance may have missed them: that is not lower.
        enumerated = a.bad_states or b.bad_states or not change.drawn
        if enumerated or (change.p_holm or 0) < LEVEL:
            return "lower in B" if b.verdict == "held" else "higher in B"
        return "chance"
    if change.p_holm is not None and change.p_holm < LEVEL and a.runs is not None and b.runs is not None:
        return "higher in B" if (b.runs.rate or 0) > (a.runs.rate or 0) else "lower in B"
    return "same"


# -- findings ------------------------------------------------------------------------------------------------------


def by_chance(finding: Finding) -> bool:
    """Whether a finding was met by chance, and not at a place that the next run passes as well."""
    return finding.fault_class in DRAWN and not finding.states and finding.crash_point is None


def _count(case: CaseView | None, finding: Finding | None, like: Finding) -> Rate | None:
    """Return in how many runs of its class a finding was seen; ``None`` where that is no matter of chance."""
    if like.fault_class not in DRAWN or not (like.runs or by_chance(like)):
        return None
    lines = [line for line in (case.classes if case else ()) if line.fault_class == like.fault_class]
    n = sum(line.runs for line in lines)
    return _rate(min(finding.runs, n) if finding else 0, n)


def _findings(view_a: RunView, view_b: RunView, pair: _Pair) -> Iterable[FindingChange]:
    found_a, found_b = _of(view_a, pair.a), _of(view_b, pair.b)
    for key in {**found_a, **found_b}:
        a, b = found_a.get(key), found_b.get(key)
        shown = b or a
        assert shown is not None
        status, note = _plain_status(view_a, view_b, pair, a, b)
        runs_a, runs_b = _count(pair.a, a, shown), _count(pair.b, b, shown)
        # What is seen in one run only, at a place, is decided by that place.
        tested = (a is not None and b is not None) or (status in ("new", "gone") and by_chance(shown))
        yield FindingChange(
            status=status,
            fingerprint=shown.fingerprint,
            summary=headline(shown, str),
            target=shown.target,
            variant=shown.variant,
            version=shown.version,
            fault_class=shown.fault_class,
            expected=shown.expected,
            note=note,
            runs_a=runs_a,
            runs_b=runs_b,
            p=_p(runs_a, runs_b) if tested else None,
        )


def _plain_status(
    view_a: RunView, view_b: RunView, pair: _Pair, a: Finding | None, b: Finding | None
) -> tuple[Status, str]:
    """Return what a finding is in the other run, but for what chance says of it."""
    if b is None:
        assert a is not None
        reason = why_not_seen(view_b, pair.b, a) or _elsewhere(view_a, view_b)
        return ("not measured in B", reason) if reason else ("gone", _sampled(pair.b, a))
    if a is None:
        reason = why_not_seen(view_a, pair.a, b)
        return ("not measured in A", reason) if reason else ("new", "")
    if a.expected and not b.expected:
        return "worse", "expected in A, unexpected in B"
    notes = ["unexpected in A, expected in B"] if b.expected and not a.expected else []
    if a.damage != b.damage:
        notes.append(f"{a.damage} in A, {b.damage} in B")
    if a.is_confirmed != b.is_confirmed:
        notes.append("confirmed by real runs only in " + ("A" if a.is_confirmed else "B"))
    return ("changed" if notes else "unchanged"), "; ".join(notes)


def _elsewhere(view_a: RunView, view_b: RunView) -> str:
    """Return what B did otherwise, so that what it does not show need not be gone; empty for nothing."""
    engines = [str(view.started.environment.get("engine", "")) for view in (view_a, view_b)]
    if engines[0] != engines[1]:
        return f"B ran under the engine {engines[1] or 'unknown'}, A under {engines[0] or 'unknown'}"
    if view_a.started.seed != view_b.started.seed:
        return f"B has the seed {view_b.started.seed} and another workload by it, A has {view_a.started.seed}"
    return ""


def _sampled(case: CaseView | None, finding: Finding) -> str:
    """Return that a run looked at a sample only, where it did: it may have missed what is called gone."""
    lines = [
        line
        for line in (case.classes if case else ())
        if line.coverage and line.fault_class == finding.fault_class and line.profile in finding.profiles
    ]
    if lines:
        return f"B explored a sample of the states under {', '.join(line.under for line in lines)}"
    by_programs = "/recover/" in str(finding.evidence.get("trial", "")) and finding.fault_class != "damage"
    return "in B too, its programs looked at a sample of the states" if by_programs else ""


def _settled(change: FindingChange) -> FindingChange:
    """Return the finding with what its corrected p-value says: only what chance does not explain counts."""
    if change.p_holm is None:
        return change
    told, real = f"{spell_p(change.p_holm)} (Holm)", change.p_holm < LEVEL
    if change.status in ("new", "gone") and not real:
        only = "A" if change.status == "gone" else "B"
        note = f"met at random moments, only in {only}: chance explains it, {told}; more trials can tell"
        return msgspec.structs.replace(change, status="chance", note=note)
    if not real or change.runs_a is None or change.runs_b is None:
        return change
    note = "; ".join(filter(None, [change.note, told]))
    status = change.status
    if status in ("unchanged", "changed"):
        status = "worse" if (change.runs_b.rate or 0) > (change.runs_a.rate or 0) else "better"
    return msgspec.structs.replace(change, note=note, status=status)


# -- the whole -----------------------------------------------------------------------------------------------------


def compare(view_a: RunView, view_b: RunView) -> Comparison:
    """Return what ``view_b`` says that ``view_a`` does not, and the other way round."""
    pairs = _match(view_a.cases, view_b.cases)
    classes = [change for pair in pairs for change in _classes(view_a, view_b, pair)]
    findings = [change for pair in pairs for change in _findings(view_a, view_b, pair)]
    values = [item.p for item in classes if item.p is not None] + [it.p for it in findings if it.p is not None]
    adjusted = iter(holm(values))
    classes = [msgspec.structs.replace(it, p_holm=next(adjusted)) if it.p is not None else it for it in classes]
    findings = [msgspec.structs.replace(it, p_holm=next(adjusted)) if it.p is not None else it for it in findings]
    classes = [msgspec.structs.replace(it, difference=_difference(it)) for it in classes]
    findings = [_settled(it) for it in findings]
    undecided = _undecided(view_a, view_b, pairs, classes)
    answer = _answer(classes, findings, undecided)
    return Comparison(
        run_a=view_a.started.run_id,
        run_b=view_b.started.run_id,
        answer=answer,
        sentence=_sentence(answer, findings, classes, undecided),
        tests=len(values),
        level=LEVEL,
        matched=tuple(
            f"{pair.a.name} with {pair.b.name}"
            for pair in pairs
            if pair.a and pair.b and pair.a.name != pair.b.name
        ),
        undecided=tuple(undecided),
        classes=tuple(classes),
        findings=tuple(sorted(findings, key=lambda item: _ORDER.index(item.status))),
    )


_ORDER: tuple[Status, ...] = (
    *("new", "worse", "gone", "better", "changed", "chance", "not measured in B", "not measured in A"),
    "unchanged",
)


def _undecided(
    view_a: RunView, view_b: RunView, pairs: Sequence[_Pair], classes: Iterable[ClassChange]
) -> list[str]:
    """Return why something of run A cannot be compared with run B, one line each."""
    out = [f"{name}: {reason}" for name, view in (("A", view_a), ("B", view_b)) if (reason := whole(view))]
    out += [f"{pair.a.name} is not in B" for pair in pairs if pair.a and not pair.b]
    out += [f"{pair.b.name} is not in A" for pair in pairs if pair.b and not pair.a]
    for item in classes:
        if item.a is None or item.b is None or not item.difference.startswith("not measured"):
            if item.writer_a and item.writer_b and item.difference.startswith("not measured"):
                out.append(f"{item.writer_b} under {_under(item)}: {item.difference}")
            continue
        side = item.a if item.difference.endswith("A") else item.b
        out.append(f"{item.writer_b} under {_under(item)}: {item.difference}: {side.reason}")
    return out


def _under(item: ClassChange) -> str:
    return f"{item.fault_class} on {item.profile}" if item.profile else item.fault_class


def _answer(classes: Sequence[ClassChange], findings: Sequence[FindingChange], undecided: Sequence[str]) -> Answer:
    statuses = {item.status for item in findings}
    # A verdict that turns comes with findings, which say whether the other run looked for them.
    if statuses & {"new", "worse"} or any(_is_higher(item) for item in classes):
        return "worse"
    if undecided or statuses & {"not measured in A", "not measured in B"}:
        return "undecided"
    if "gone" in statuses:
        return "fixed" if statuses == {"gone"} else "better"
    if "better" in statuses or any(item.difference == "lower in B" for item in classes):
        return "better"
    # Whether a real run showed it again is chance where it is: the violation is the same.
    changed = any(item.status == "changed" and not item.note.startswith("confirmed") for item in findings)
    return "changed" if changed else "unchanged"


def _is_higher(item: ClassChange) -> bool:
    return item.difference == "higher in B" and item.p_holm is not None and item.p_holm < LEVEL


def _sentence(
    answer: Answer, findings: Sequence[FindingChange], classes: Sequence[ClassChange], undecided: Sequence[str]
) -> str:
    by_status = {status: sum(item.status == status for item in findings) for status in _ORDER}
    told = (
        ", ".join(f"{count} {status}" for status, count in by_status.items() if count) or "no findings in either"
    )
    higher = sum(_is_higher(item) for item in classes)
    if answer == "fixed":
        samples = sum(bool(item.note) for item in findings)
        told = f", {samples} of them by a sample of the states" if samples else ""
        all_of = "the one finding of A is" if len(findings) == 1 else f"all {len(findings)} findings of A are"
        return f"Fixed: {all_of} gone in B, which measured what A measured{told}."
    if answer == "worse":
        more = f"; more is violated in B under {higher} {'class' if higher == 1 else 'classes'}" if higher else ""
        return f"Worse: {told}{more}."
    if answer == "undecided":
        why = undecided[0] if undecided else "not all of it was measured in both"
        return f"Undecided: {told}; {why}."
    return f"{answer.capitalize()}: {told}."
