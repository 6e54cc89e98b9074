"""A campaign of one writer as the message of a failed test: what breaks, where, how often, what to change, again how.

Pure. It has to stand alone in the log of a CI job, 80 columns wide, beside a hundred others: no table, no colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from harness.core.advice import Advice
from harness.core.json_record import RecordError, parse_json
from harness.core.run import NO_ACKNOWLEDGEMENT
from harness.core.verdict import Finding
from harness.report.advice import advice_sentences
from harness.report.causes import Cause, causes
from harness.report.escape import plain
from harness.report.power import classes_in_words
from harness.report.sentence import CHECK, circumstance, headline, how_confirmed, how_often, state_in_words
from harness.report.view import CaseView, RunView

_WIDTH = 80
_LABEL = 13
_SHOWN = 3
"""Causes that are told in full; more are counted."""
_SAID_MAX = 300
_IN_PLACE = ("open", "write", "truncate")
_USUALLY = (
    "Usually: write the new content to a temporary file beside the old one, fsync that, rename it into its place and "
    "fsync the directory; acknowledge after that."
)
_WITHOUT_TARGET = "probe/"


def failure(
    view: RunView,
    name: str,
    *,
    advice: Advice | None = None,
    replays: str = "",
    report: str = "",
    primed: bool = False,
) -> str:
    """Return why a writer is not crash-safe. ``replays``: a command that replays ``{token}``.

    ``primed``: what was there before came from a run of the writer itself.
    """
    found = causes(view.findings)
    case = view.cases[0]
    lines = [f"{plain(name)} does not survive a crash.", ""]
    if found:
        lines += _cause(view, found[0])
    lines += _field("what to do", _what_to_do(advice, found[0].lead if found else None))
    lines += _field("in all", _in_all(case))
    for number, cause in enumerate(found[1:_SHOWN]):
        lines += _field("" if number else "also", f"{_point(cause.lead)}: {_damage(cause.lead, short=True)}")
    if len(found) > _SHOWN:
        more = len(found) - _SHOWN
        lines += _field("", f"and {more} more crash point{'s' * (more > 1)}")
    if primed:
        lines += _field("start", "the files of one undisturbed run: your check rejects an empty directory")
    if found and found[0].lead.token and replays:
        lines += _unbroken("replay", replays.replace("{token}", found[0].lead.token))
    if report:
        lines += _unbroken("report", report)
    return "\n".join(lines)


def _what_to_do(advice: Advice | None, finding: Finding | None) -> str:
    """Return the change and what it brings: how each part of it is needed is for ``tornwrite trace --advise``.

    Where no change of the recorded operations was found, what is usual for the place; empty where nothing is.
    """
    if advice is None or advice.outcome in ("nothing", "none", "unfinished"):
        return _USUALLY if finding is not None and finding.operation in _IN_PLACE else ""
    told = advice_sentences(advice, plain)
    together = told[0].endswith(":")  # many changes: one sentence each
    return " ".join(
        f"{text.partition('; without')[0].removesuffix('.')}." for text in told[: None if together else 1]
    )


def _in_all(case: CaseView) -> str:
    """Return of how many states how many are bad, under each kind of fault and on each file system."""
    parts: list[str] = []
    told = ""
    for line in case.classes:
        counts = [
            f"{bad:,} of {number:,}{noun}"
            for bad, number, noun in (
                (line.bad_states, line.distinct, "" if line.profile and told == line.fault_class else " states"),
                (line.bad, line.runs, " runs"),
            )
            if number
        ]
        if line.verdict not in ("violated", "held") or not counts:
            continue
        if line.profile and told == line.fault_class:
            parts.append(f"{' and '.join(counts)} on {line.profile}")
        else:
            parts.append(f"{' and '.join(counts)} under {line.under}")
        told = line.fault_class
    return ", ".join(parts)


def _cause(view: RunView, cause: Cause) -> list[str]:
    finding = cause.lead
    lines = _field("crash point", _point(finding))
    lines += _field("damage", _damage(finding))
    lost = state_in_words(finding, plain)
    if lost:
        lines += _field("power loss", lost)
    often = how_often(view, finding).removeprefix("Seen ")
    proof = "Predicted from the recording." if finding.fault_class == "power" else plain(how_confirmed(finding))
    return [*lines, *_field("seen", f"{often} {proof}")]


def _point(finding: Finding) -> str:
    return circumstance(finding, plain).removeprefix("when it is ").removeprefix("when ")


def _damage(finding: Finding, short: bool = False) -> str:
    if finding.invariant == CHECK:
        why = said(finding)
        if short:
            return why or "your check rejects the state"
        return f"your check rejects the state: {why}" if why else "your check rejects the state"
    sentence = headline(finding, plain).removeprefix(_WITHOUT_TARGET)
    what = sentence.partition(" when ")[0].partition(" ")[2] or sentence
    return f"{what} ({plain(finding.invariant)})" + ("" if short else f": {plain(finding.message)}")


def said(finding: Finding) -> str:
    """Return what a check printed about the state that it rejects, as one line."""
    for evidence in (finding.confirmation.evidence, finding.evidence):
        text = evidence.get("said")
        if not isinstance(text, str):
            continue
        try:
            value = parse_json(text)
        except RecordError:
            continue
        why = value.get("why") if isinstance(value, dict) else None
        if isinstance(why, str) and why:
            return plain(why, _SAID_MAX)
    return ""


def not_measured(name: str, why: Iterable[str], report: str = "") -> str:
    """Return why nothing can be said about a writer; the reasons are safe to show."""
    lines = [f"nothing can be said about {plain(name)}: not measured is not held."]
    for reason in why:
        lines += ["", *_field("why", reason.removeprefix(f"{_WITHOUT_TARGET}{plain(name)}"))]
    if report:
        lines += ["", *_unbroken("report", report)]
    return "\n".join(lines)


def replay_failure(name: str, text: str, finding: Finding) -> str:
    """Return what replaying a token showed."""
    lines = [f"{plain(name)} does not survive a crash: {plain(text)}.", ""]
    return "\n".join(
        [*lines, *_field("crash point", _point(finding)), *_field("violated", plain(finding.invariant))]
    )


def what_held(view: RunView) -> str:
    """Return under what a writer held, in a sentence."""
    case = view.cases[0]
    under = ", ".join(classes_in_words(case, list(case.classes)))
    told = f"held under {under}: {view.states[1]:,} distinct crash states"
    silent = any(notice.text == NO_ACKNOWLEDGEMENT for notice in view.notices)
    return f"{told}; {NO_ACKNOWLEDGEMENT}" if silent else told


def _field(label: str, text: str) -> list[str]:
    indent = " " * (2 + _LABEL)
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {label:{_LABEL}}",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _unbroken(label: str, text: str) -> list[str]:
    """Return what is to be copied: one line, however long."""
    return [f"  {label:{_LABEL}}{plain(text)}"]
