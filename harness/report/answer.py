"""The answer of a campaign as rows: does it lose data, under what, how often, why, and what helps.

Grouped by part (a scenario of the campaign). A variant has one row, or one per verdict where its fault classes differ.
Pure text: the terminal lays it out. Text of targets passes ``show``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from harness.core.proportion import excluded_rate, percent, wilson
from harness.core.verdict import Finding, Verdict
from harness.report.causes import rank
from harness.report.power import classes_in_words, power_lines, power_word
from harness.report.sentence import Show
from harness.report.view import CaseView, ClassLine, PartView, RunView

_WORDS = {
    "lost": "acknowledged data lost",
    "torn": "torn file",
    "empty": "empty file",
    "reset": "reset to its start",
    "nul": "NUL bytes",
    "stale": "older than acknowledged",
    "missing": "file missing",
    "extra": "stray file",
    "hole": "hole in the file",
    "unreadable": "unreadable",
    "silent": "damage passed over in silence",
    "litter": "temporary files pile up",
    "unlinked": "records out of reach",
    "rejected": "the API refuses it",
    "other": "breaks its rule",
}
_BY_INVARIANT = {
    ("M6", "stale"): "index behind its transcripts",
    ("M3", "stale"): "one writer's update lost",
    ("M9", "stale"): "an acknowledged update is not in it",
    ("M10", "unreadable"): "an intact session is hidden",
    ("W1", "silent"): "success though bytes are missing",
    ("W8", "silent"): "success though a write failed",
    ("W2", "torn"): "a half-made session is listed",
    ("W2", "empty"): "an empty session is left",
    ("W2", "unreadable"): "an unreadable session is left",
    ("W3", "other"): "shares a temporary name",
    ("S1", "rejected"): "the API refuses what it sends",
    ("S2", "lost"): "history lost",
    ("S3", "missing"): "effects it knows nothing of",
    ("S4", "lost"): "a printed reply is lost",
    ("S5", "lost"): "one of two branches lost",
    ("S6", "unlinked"): "whole records left out",
    ("check", "other"): "its check rejects it",
}
_SHOWN = 2
_ORDER: tuple[Verdict, ...] = ("broken", "violated", "inconclusive", "held")


class Row(NamedTuple):
    """One row of the table; ``often`` has a line per fault class. ``surprise``: not what the manifest states."""

    writer: str
    verdict: Verdict
    surprise: bool
    often: str
    why: str


class Group(NamedTuple):
    """The rows of one part, and which of its writers held under a fault that another one breaks under."""

    title: str
    rows: tuple[Row, ...]
    helps: tuple[str, ...]


def groups(view: RunView, show: Show) -> tuple[Group, ...]:
    """Return the table of a campaign, part by part."""
    parts = view.parts or (PartView(name=""),)
    known = {part.name for part in parts}
    out = []
    for part in parts:
        cases = [
            case for case in view.cases if case.part == part.name or (case.part not in known and part is parts[0])
        ]
        if not cases:
            continue
        shared = len(cases) > 1 and len({case.target for case in cases}) == 1
        names = {case.id: show(_name(case, shared)) for case in cases}
        title = " ".join(filter(None, (part.seed_story, part.name))) + (f": {part.story}" if part.story else "")
        title = f"{title} ({cases[0].target})" if shared and title else title
        rows = tuple(row for case in cases for row in _rows(view, case, names[case.id], show))
        out.append(Group(show(title) if part.name else "", rows, tuple(_helps(cases, names, show))))
    return tuple(out)


def side_by_side(view: RunView, show: Show) -> list[tuple[str, str, str]]:
    """Return, per writer, what a kill and what a power loss does to it; nothing where no power loss was tried."""
    if not any(power_lines(case) for case in view.cases):
        return []
    kills = {
        case.id: next((line.verdict for line in case.classes if line.fault_class == "kill"), "-")
        for case in view.cases
    }
    return [(show(case.name), kills[case.id], power_word(case)) for case in view.cases]


def tally(view: RunView) -> str:
    """Return how many writers broke something, and how many held under everything that they were tried under."""
    worst = [{line.verdict for line in case.classes} for case in view.cases]
    broke = sum("violated" in verdicts for verdicts in worst)
    held = sum(verdicts == {"held"} for verdicts in worst)
    who = "dialogues" if view.cases and all(case.dialogue for case in view.cases) else "writers"
    return f"{broke} of {len(worst)} {who} lose or damage something; {held} held under all that was tried."


def _name(case: CaseView, shared: bool) -> str:
    return case.name.partition("/")[2] if shared else case.name


def _rows(view: RunView, case: CaseView, name: str, show: Show) -> Iterable[Row]:
    if not case.classes:
        yield Row(name, case.null_verdict, False, "-", show(case.null_note) or "a run without any fault")
        return
    if case.null_verdict not in ("held", "violated"):  # it stopped there: every class says the same
        under = ", ".join(classes_in_words(case, case.classes))
        yield Row(name, case.null_verdict, False, under, show(case.null_note) or "not run")
        return
    for verdict in _ORDER:
        for surprise in (True, False):
            lines = [line for line in case.classes if line.verdict == verdict and line.surprise == surprise]
            if verdict != "violated":
                lines = [line for line in lines if line.fault_class != "none" or len(case.classes) == 1]
            for together in _apart(view, case, lines):
                often = "\n".join(_told(view, case, together))
                yield Row(name, verdict, surprise, often, _why(view, case, together, show))


def _apart(view: RunView, case: CaseView, lines: list[ClassLine]) -> list[list[ClassLine]]:
    """Return the lines as rows: what needs no fault stands alone where it is another thing than what faults bring."""
    quiet, struck = (
        [line for line in lines if (line.fault_class == "none") == is_none] for is_none in (True, False)
    )
    broken = [{item.invariant for line in each for item in _mine(view, case, line)} for each in (quiet, struck)]
    rows = [quiet, struck] if quiet and struck and broken[0].isdisjoint(broken[1]) else [lines]
    return [row for row in rows if row]


def _told(view: RunView, case: CaseView, lines: list[ClassLine]) -> Iterable[str]:
    """Yield one line per fault class: how often; of power losses under which profiles, and where it is worst."""
    lost = [line for line in lines if line.fault_class == "power"]
    for line in lines:
        if line.fault_class != "power":
            yield f"{'no fault' if line.fault_class == 'none' else line.fault_class}{_often(view, case, line)}"
    if lost:
        (words,) = classes_in_words(case, lost)
        worst = max(lost, key=lambda line: (line.bad_states, line.distinct))
        least = "up to" if len(lost) > 1 and worst.bad_states else ""
        yield " ".join(filter(None, (words, least))) + _often(view, case, worst)


def _mine(view: RunView, case: CaseView, line: ClassLine) -> list[Finding]:
    return [
        item
        for item in view.findings
        if (item.target, item.variant, item.version or case.version) == (case.target, case.variant, case.version)
        and item.fault_class == line.fault_class
        and (not item.profiles or line.profile in item.profiles)
    ]


def _often(view: RunView, case: CaseView, line: ClassLine) -> str:
    """Return how often: states, then real runs with their interval."""
    parts = []
    if line.distinct:
        found = _mine(view, case, line) if line.fault_class != "power" else []  # they count over all profiles
        seen = max([line.bad_states, *(item.states for item in found)])
        # What the target's own programs found in a sample is not counted over all states.
        least = "at least " if seen > line.bad_states else ""
        parts.append(f"{least}{seen:,}/{line.distinct:,} states")
    if line.runs and not (line.fault_class == "none" and line.runs == 1):
        parts.append(f"{rate(line.bad, line.runs)} {'kills' if line.fault_class == 'kill' else 'runs'}")
    if line.orders:
        parts.append(f"{line.bad_orders:,}/{line.orders:,} orders")
    if line.inconclusive and not parts:
        parts.append(f"{line.inconclusive:,} inconclusive")
    return f" {', '.join(parts)}" if parts else ""


def rate(k: int, n: int) -> str:
    """Return ``17/120 (9–22 %)``; of none, the rate that is excluded: ``0/30 (<9.5 %)``. Outward, never rounded in."""
    if k == 0:
        return f"0/{n} (<{percent(excluded_rate(n))} %)"
    low, high = wilson(k, n)
    least = str(math.floor(100 * low)) if low >= 0.01 else percent(low)
    return f"{k}/{n} ({least}–{math.ceil(100 * high)} %)"


def _why(view: RunView, case: CaseView, lines: Iterable[ClassLine], show: Show) -> str:
    """Return what went wrong in a few words, the most telling first, and what proved it; or why it is not known."""
    lines = list(lines)
    found = list({item.key: item for line in lines for item in _mine(view, case, line)}.values())
    expected = f"expected {lines[0].expected}; " if lines[0].surprise else ""
    if lines[0].verdict == "held":
        return expected.removesuffix("; ")
    if not found:
        return expected + (next((show(line.reason) for line in lines if line.reason), "") or "not measured")
    words: dict[str, list[str]] = {}
    for item in sorted(found, key=lambda each: (*rank(each), -each.states)):
        word = _BY_INVARIANT.get((item.invariant, item.damage)) or _WORDS[item.damage]
        if case.dialogue and word == _WORDS["rejected"]:
            word = "the API would refuse its file"  # what it sends is S1
        words.setdefault(word, [])
        if item.invariant not in words[word]:
            words[word].append(item.invariant)
    told = [f"{word} ({show(', '.join(ids[:_SHOWN]))})" for word, ids in list(words.items())[:_SHOWN]]
    proven = any(item.is_confirmed for item in found)
    predicted = all(item.fault_class == "power" for item in found)
    unproven = "; predicted" if predicted else "; not confirmed"
    return expected + "; ".join(told) + ("" if proven else unproven)


def _helps(cases: Iterable[CaseView], names: dict[str, str], show: Show) -> Iterable[str]:
    """Yield which writers held under a fault that another one of their target breaks under, and what they do."""
    cases = [case for case in cases if not case.dialogue]  # another version is no advice
    broken = {(case.target, line.under) for case in cases for line in case.classes if line.verdict == "violated"}
    for case in cases:
        well = [line for line in case.classes if line.verdict == "held" and line.fault_class != "none"]
        held = classes_in_words(case, [line for line in well if (case.target, line.under) in broken])
        failed = classes_in_words(case, [line for line in case.classes if line.verdict == "violated"])
        if held:
            but = (
                f", violated under {', '.join(failed)}".replace("under no fault", "with no fault")
                if failed
                else ""
            )
            story = f": {show(case.story)}" if case.story else ""
            yield f"{names[case.id]} (held under {', '.join(held)}{but}){story}"
