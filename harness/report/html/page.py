"""``report.html`` of a campaign: the view and its evidence in, one document out.

One file, no request: style, script and icon are inside, and the content security policy names them by hash. It stays
below :data:`MOST_BYTES`: findings that do not fit are listed in one line each, trials are always summarised, and the
page says so. Content of files only where it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from jinja2 import Environment
from markupsafe import Markup, escape

from harness.core.fault import FAULT_CLASSES
from harness.core.verdict import Finding, case_file_name
from harness.report.advice import REPAIR, advice_sentences, repairs
from harness.report.answer import groups, side_by_side
from harness.report.causes import Cause, causes
from harness.report.ends import HEAD, NOTE, TITLE, end_tables
from harness.report.escape import plain
from harness.report.facts import dumps, evidence_facts, facts_of
from harness.report.html.evidence import Evidence, NoEvidence, Recorded, walk
from harness.report.html.lanes import lanes_of, mark_of
from harness.report.html.matrix import GLYPHS, matrix
from harness.report.html.strip import lines_of, picture
from harness.report.html.text import asset, environment, show
from harness.report.html.trees import hex_of, trees_of
from harness.report.html.trials import trials_of
from harness.report.remedy import remedy
from harness.report.sentence import (
    cause_headline,
    control_lines,
    counts,
    how_confirmed,
    how_often,
    not_asked,
    replay_command,
    state_in_words,
    steps_of,
    timed_rate,
    verdict_sentence,
)
from harness.report.versions import version_tables
from harness.report.view import CaseView, RunView

MOST_BYTES = 2_600_000
FINDINGS_BYTES = 2_000_000
"""What findings in full may take of the page."""
LISTED = 1_000
"""Findings beyond those in full that have a line; more are counted."""
NOTICES_SHOWN = 200
_ALSO_SHOWN = 20
_PICTURE_OPERATIONS = 50_000
"""A longer recording is not drawn: walking it takes longer than a reader waits."""


class Writer(NamedTuple):
    """A case with what is drawn of it: its recording (or why there is none) and the rows of its strip."""

    case: CaseView
    recorded: Recorded | None
    why: str
    lines: tuple[Any, ...]
    operations: int


def page(view: RunView, evidence: Evidence | None = None, *, content: bool = False) -> str:
    """Return the page. ``content`` lets it quote bytes of files."""
    made = environment()
    writers = {case.id: _writer(view, case, evidence or NoEvidence()) for case in (*view.cases, *view.controls)}
    found = causes(view.findings)
    shown, rest = _findings(made, view, found, writers, evidence or NoEvidence(), content)
    style, style_hash = asset(made, "page.css")
    script, script_hash = asset(made, "page.js")
    notices = list(dict.fromkeys((item.target, item.text) for item in view.notices))
    return made.get_template("page.html.j2").render(
        view=view,
        style=style,
        script=script,
        style_hash=Markup(style_hash),
        script_hash=Markup(script_hash),
        sentence=_without_verdict(verdict_sentence(view, plain)),
        matrix=matrix(view),
        glyphs=GLYPHS,
        helps=[(group.title, group.helps) for group in groups(view, plain) if group.helps],
        findings=shown,
        rest=rest[:LISTED],
        rest_left_out=max(0, len(rest) - LISTED),
        total=len(found),
        choices=_choices(found),
        writers=[_drawn(view, writer) for writer in writers.values() if not writer.case.control],
        controls=control_lines(view, show),
        beside=side_by_side(view, show),
        versions=version_tables(view, show),
        repairs=repairs(view, show),
        repair_title=REPAIR,
        ends={"title": TITLE, "note": " ".join(NOTE), "head": HEAD, "tables": end_tables(view)},
        trials=trials_of(view),
        notices=notices[:NOTICES_SHOWN],
        notices_left_out=max(0, len(notices) - NOTICES_SHOWN),
        not_asked=not_asked(view),
        facts=facts_of(view.started.environment),
    )


def _without_verdict(sentence: str) -> str:
    """Return the sentence without its first word, which stands above it."""
    head, colon, rest = sentence.partition(": ")
    if not colon or head.lower() not in GLYPHS:
        return sentence
    return rest[:1].upper() + rest[1:] if rest.split(" ", 1)[0].isalpha() else rest  # a name stays as it is


def _writer(view: RunView, case: CaseView, evidence: Evidence) -> Writer:
    strip = evidence.strip_of(case.id)
    recorded, why = None, ""
    needed = bool(strip) or any(_is_of(finding, case) for finding in (*view.findings, *view.control_findings))
    if needed and not case.control:
        trace = evidence.trace(case.id)
        if isinstance(trace, str):
            why = trace
        elif len(trace.operations) > _PICTURE_OPERATIONS:
            why = f"the recording has {len(trace.operations):,} operations; {_PICTURE_OPERATIONS:,} are drawn at most"
        else:
            walked = walk(trace)
            recorded, why = (None, walked.problem) if walked.problem else (walked, "")
    rows = [row for row in view.rows if row.crash_point is not None and _row_is_of(row, case)]
    lines = lines_of(strip, rows, recorded) if strip is not None else ()
    return Writer(case, recorded, why, lines, strip.operations if strip is not None else 0)


def _row_is_of(row: Any, case: CaseView) -> bool:
    same = (row.target, row.variant, row.version) == (case.target, case.variant, case.version)
    return same and (row.kind == "control") == bool(case.control)


def _is_of(finding: Finding, case: CaseView) -> bool:
    same = (finding.target, finding.variant, finding.version) == (case.target, case.variant, case.version)
    return same and finding.control == bool(case.control)


def _findings(
    made: Environment,
    view: RunView,
    found: tuple[Cause, ...],
    writers: dict[str, Writer],
    evidence: Evidence,
    content: bool,
) -> tuple[list[Markup], list[tuple[str, str]]]:
    """Return the findings in full, as many as fit, and (headline, replay command) of the others."""
    template = made.get_template("finding.html.j2")
    shown: list[Markup] = []
    size = 0
    for number, cause in enumerate(found, 1):
        case = next((each for each in writers.values() if _is_of(cause.lead, each.case)), None)
        item = _cause(view, cause, number, case, evidence, content)
        text = template.render(item=item, view=view, glyphs=GLYPHS)
        size += len(text.encode("utf-8"))
        if size > FINDINGS_BYTES:
            return shown, [
                (cause_headline(each, show), replay_command(each.lead, view)) for each in found[number - 1 :]
            ]
        shown.append(Markup(text))
    return shown, []


def _cause(
    view: RunView, cause: Cause, number: int, writer: Writer | None, evidence: Evidence, content: bool
) -> dict[str, Any]:
    lead = cause.lead
    recorded = writer.recorded if writer is not None else None
    mark = mark_of(lead, recorded) if recorded is not None else None
    members = (lead, *cause.others, *cause.elsewhere)
    return {
        "number": number,
        "finding": lead,
        "headline": cause_headline(cause, show),
        "state": state_in_words(lead, show),
        "steps": steps_of(view, lead),
        "how_often": how_often(view, lead),
        "how_confirmed": how_confirmed(lead),
        "proof": _proof(lead),
        "remedy": remedy(lead, show),
        "advice": _advice(view, lead, writer),
        "replay": Markup(escape(plain(replay_command(lead, view)))),  # whole, or it is of no use
        "invariants": cause.invariants,
        "also": [
            (item, how_often(view, item), how_confirmed(item), remedy(item, show))
            for item in members[1 : _ALSO_SHOWN + 1]
        ],
        "also_left_out": max(0, len(members) - 1 - _ALSO_SHOWN),
        "lanes": lanes_of(lead, recorded, mark) if recorded is not None and mark is not None else None,
        "why": writer.why if writer is not None else "the run keeps no recording of this writer",
        "picture": picture(writer.operations, writer.lines, recorded, mark.at if mark else None, brief=True)
        if writer is not None and writer.lines
        else None,
        "writer": case_file_name(writer.case.id) if writer is not None else "",
        "trees": trees_of(lead, recorded, evidence.left(lead.key)),
        "evidence": evidence_facts(lead),
        "dumps": [*dumps(lead), *hex_of(lead, recorded)] if content else [],
        "content": content,
    }


def _proof(finding: Finding) -> str:
    """Return how a finding stands, in one word."""
    if finding.is_confirmed:
        return "observed" if finding.fault_class == "power" else "confirmed"
    return "predicted" if finding.fault_class == "power" else "not confirmed"


def _advice(view: RunView, finding: Finding, writer: Writer | None) -> list[str]:
    """Return what would keep the writer from it: computed on its recording, or what another writer does that held."""
    if writer is not None and finding.fault_class == "power" and writer.case.advice is not None:
        return advice_sentences(writer.case.advice, show)
    out = []
    for case in view.cases:
        held = any(line.verdict == "held" and line.fault_class == finding.fault_class for line in case.classes)
        if held and not case.dialogue and case.target == finding.target and case.story:
            out.append(f"{show(case.name)} held under {finding.fault_class}: {plain(case.story)}")
    return out


def _choices(found: Iterable[Cause]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return the filters: (name, label, [(value, text)])."""
    leads = [cause.lead for cause in found]
    kinds = [name for name in ("none", *FAULT_CLASSES) if any(lead.fault_class == name for lead in leads)]
    invariants = sorted({name for cause in found for name in cause.invariants})
    targets = sorted({f"{lead.target}/{lead.variant}" for lead in leads})
    proofs = [
        name for name in ("confirmed", "observed", "predicted", "not confirmed") if name in map(_proof, leads)
    ]
    return [
        ("target", "Writer", [(each, each) for each in targets]),
        ("class", "Fault class", [(each, "no fault" if each == "none" else each) for each in kinds]),
        ("invariant", "Invariant", [(each, each) for each in invariants]),
        ("severity", "Severity", [("unexpected", "unexpected"), ("expected", "expected")]),
        ("proof", "Proof", [(each, each) for each in proofs]),
    ]


def _drawn(view: RunView, writer: Writer) -> dict[str, Any]:
    case = writer.case
    return {
        "case": case,
        "anchor": case_file_name(case.id),
        "lines": [(line, counts(line, show)) for line in case.classes],
        "timed": timed_rate(case),
        "picture": picture(writer.operations, writer.lines, writer.recorded) if writer.lines else None,
        "why": writer.why,
    }
