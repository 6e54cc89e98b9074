"""The files of a report, as bytes: whoever owns the run directory writes them."""

from __future__ import annotations

from harness.report.html.evidence import Evidence
from harness.report.html.page import page
from harness.report.junit import junit
from harness.report.markdown import finding_report, report
from harness.report.view import RunView


def report_files(view: RunView, evidence: Evidence | None = None, *, content: bool = False) -> dict[str, bytes]:
    """Return path inside the run → bytes: ``report.md``, ``report.html``, ``junit.xml`` and one report per finding.

    ``evidence`` is what the page draws from; without it, it has no pictures.
    """
    out = {
        "report.md": report(view, content=content).encode("utf-8"),
        "report.html": page(view, evidence, content=content).encode("utf-8"),
        "junit.xml": junit(view),
    }
    for finding in view.findings:
        text = finding_report(view, finding, content=content)
        out[f"findings/{finding.key}/report.md"] = text.encode("utf-8")
    return out
