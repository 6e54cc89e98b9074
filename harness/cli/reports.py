"""The files of a report beside the rows they are made of: ``report.md``, ``junit.xml``, one page per finding."""

from __future__ import annotations

from harness.campaign.store import RunStore
from harness.report.files import report_files
from harness.report.view import RunView


def write_reports(store: RunStore, view: RunView, content: bool = False) -> None:
    """Write every report file of a run. ``content``: the evidence may quote bytes."""
    for path, data in report_files(view, content=content).items():
        store.write_artifact(path, data)
