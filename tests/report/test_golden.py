"""Whole reports as files. ``TORNWRITE_WRITE_GOLDEN=1 pytest tests/report/test_golden.py`` writes them anew."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from campaign_sample import HOSTILE, WINDOW

from harness.core.event import AnyEvent
from harness.report.files import report_files
from harness.report.json_document import campaign_result, result_document
from harness.report.junit import junit
from harness.report.markdown import finding_report, report
from harness.report.terminal import TerminalReport, console_for, print_view
from harness.report.view import collect

_GOLDEN = Path(__file__).with_name("golden")


def _same(name: str, text: str) -> None:
    path = _GOLDEN / name
    if os.environ.get("TORNWRITE_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


def _terminal(events: list[AnyEvent], width: int) -> str:
    stream = io.StringIO()
    subscriber = TerminalReport(console_for(stream, width))
    for event in events:
        subscriber(event)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_terminal(events: list[AnyEvent], width: int) -> None:
    text = _terminal(events, width)
    assert not set(text) & set("\x1b\r\x00\u202e\udcff")
    _same(f"terminal{width}.txt", text)


def test_markdown(events: list[AnyEvent]) -> None:
    _same("report.md", report(collect(events)))


def test_finding_with_content(events: list[AnyEvent]) -> None:
    view = collect(events)
    _same("finding.md", finding_report(view, view.findings[1], content=True))


def test_junit(events: list[AnyEvent]) -> None:
    _same("junit.xml", junit(collect(events)).decode("utf-8"))


def test_json(events: list[AnyEvent]) -> None:
    text = result_document("run", 1, campaign_result(collect(events)))
    _same("result.json", json.dumps(json.loads(text), indent=2) + "\n")


def test_bytes_of_a_file_are_shown_only_if_asked_for(events: list[AnyEvent]) -> None:
    view = collect(events)
    secret, in_hex = "secret", WINDOW.hex()
    shown = report(view, content=True)
    assert secret in shown
    for name, raw in report_files(view).items():
        text = raw.decode("utf-8")
        assert secret not in text, name
        assert in_hex not in text, name
        assert " ".join(f"{byte:02x}" for byte in WINDOW[:8]) not in text, name
    assert secret not in _terminal(events, 80)


def test_nothing_of_a_target_reaches_a_report_unescaped(events: list[AnyEvent]) -> None:
    view = collect(events)
    assert HOSTILE in view.findings[0].message
    for name, raw in report_files(view, content=True).items():
        text = raw.decode("utf-8")
        assert not set(text) & set("\x1b\r\x00\u202e"), name
        if name.endswith(".md"):
            assert HOSTILE not in text


def test_a_view_prints_what_the_subscriber_printed_at_the_end(events: list[AnyEvent]) -> None:
    stream = io.StringIO()
    print_view(console_for(stream, 100), collect(events))
    assert _terminal(events, 100).endswith(stream.getvalue())
    quiet = io.StringIO()
    subscriber = TerminalReport(console_for(quiet, 100), quiet=True)
    for event in events:
        subscriber(event)
    assert quiet.getvalue() == stream.getvalue()
