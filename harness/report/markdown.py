"""``report.md``: to be pasted into a bug tracker. Content of files only if asked for, otherwise sizes and hashes.

The text is made by templates in ``templates/``; every value of a target passes a filter (``md`` inline, ``code``
as code, ``block`` as lines). ``MAX_CHARS`` keeps it below what trackers accept.
"""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.core.verdict import Finding
from harness.report import escape
from harness.report.advice import REPAIR, repairs
from harness.report.answer import groups, side_by_side
from harness.report.causes import Cause, causes
from harness.report.ends import HEAD, NOTE, TITLE, end_tables
from harness.report.facts import dumps, evidence_facts, facts_of
from harness.report.remedy import remedy
from harness.report.sentence import (
    baseline_lines,
    can_be_exported,
    cause_headline,
    control_line,
    counts,
    fixed_words,
    headline,
    how_confirmed,
    how_often,
    needs_of,
    not_asked,
    reproduction,
    state_in_words,
    steps_of,
    timed_rate,
    verdict_sentence,
)
from harness.report.versions import version_tables
from harness.report.view import RunView

MAX_CHARS = 60_000
"""GitHub takes 65,536 characters in a comment; findings beyond this are counted, not shown."""
_ALSO_SHOWN = 20


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown has rules of its own: the filters below
    )
    environment.filters["md"] = escape.markdown
    environment.filters["code"] = escape.code
    environment.filters["block"] = escape.block
    return environment


def _cause(view: RunView, cause: Cause, content: bool) -> dict[str, Any]:
    return {
        **_finding(view, cause.lead, content),
        "headline": cause_headline(cause, escape.code),
        "also": [
            (item, how_often(view, item), how_confirmed(item), remedy(item, escape.code))
            for item in (*cause.others, *cause.elsewhere)[:_ALSO_SHOWN]
        ],
    }


def _finding(view: RunView, finding: Finding, content: bool) -> dict[str, Any]:
    return {
        "also": [],
        "headline": headline(finding, escape.code),
        "how_often": how_often(view, finding),
        "state": state_in_words(finding, escape.code),
        "how_confirmed": how_confirmed(finding),
        "remedy": remedy(finding, escape.code),
        "steps": steps_of(view, finding),
        "fixed": fixed_words(finding),
        "finding": finding,
        "evidence": evidence_facts(finding),
        "dumps": dumps(finding) if content else [],
        "hidden": bool(dumps(finding)) and not content,
        "reproduce": "\n".join(reproduction(finding, view)),
        "needs": needs_of(view),
        "exports": can_be_exported(finding),
    }


def report(view: RunView, *, content: bool = False) -> str:
    """Return the report of a campaign. ``content`` lets it quote bytes of files that the evidence holds."""
    environment = _environment()
    found = causes(view.findings)
    shown = list(found)
    while True:
        text = environment.get_template("report.md.j2").render(
            view=view,
            sentence=verdict_sentence(view, escape.markdown),
            findings=[_cause(view, cause, content) for cause in shown],
            left_out=len(found) - len(shown),
            counts=lambda line: counts(line, escape.markdown),
            controls=[control_line(case, line, escape.code) for case in view.controls for line in case.classes],
            timed=[(case.name, timed_rate(case)) for case in view.cases if timed_rate(case)],
            ends={"title": TITLE, "note": " ".join(NOTE), "head": HEAD, "tables": end_tables(view)},
            facts=facts_of(view.started.environment),
            not_asked=not_asked(view),
            baseline=baseline_lines(view, escape.markdown),
            answer=groups(view, escape.markdown),
            beside=side_by_side(view, escape.code),
            versions=version_tables(view, escape.markdown),
            repairs=repairs(view, escape.code),
            repair_title=REPAIR,
        )
        text = _tidy(text)
        if len(text) <= MAX_CHARS or not shown:
            return text
        shown = shown[: max(len(shown) // 2, len(shown) - 10)] if len(shown) > 1 else []


def finding_report(view: RunView, finding: Finding, *, content: bool = False) -> str:
    """Return one finding with the facts of its campaign: ``findings/<name>/report.md``."""
    template = _environment().get_template("finding.md.j2")
    facts = facts_of(view.started.environment)
    return _tidy(template.render(view=view, item=_finding(view, finding, content), facts=facts, level="#"))


def _tidy(text: str) -> str:
    """Return ``text`` with single blank lines: what a template leaves out leaves none behind."""
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"
