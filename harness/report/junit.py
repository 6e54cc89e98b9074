"""``junit.xml``: one test suite per variant, one test case per fault class.

A test fails where the verdict is not the expected one; an expected violation passes and its findings stand in
``system-out``. *Inconclusive* is skipped, *broken* is an error. Controls have a suite of their own.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from harness.core.verdict import Finding
from harness.report.escape import plain, xml
from harness.report.remedy import remedy
from harness.report.sentence import counts, headline, how_confirmed, how_often, replay_command, state_in_words
from harness.report.view import CaseView, ClassLine, RunView


def _text(text: str) -> str:
    return xml(text)


def _details(view: RunView, findings: Iterable[Finding]) -> str:
    lines = []
    for finding in findings:
        lines += [headline(finding, plain), f"  {plain(finding.message)}", f"  {how_often(view, finding)}"]
        lines += [f"  {state}"] if (state := state_in_words(finding, plain)) else []
        lines += [f"  {plain(how_confirmed(finding))}", f"  What you can do now: {remedy(finding, plain)}"]
        command = replay_command(finding, view)
        lines += [f"  {command}"] if command else []
    return "\n".join(lines)


def _outcome(test: ET.Element, line: ClassLine, details: str, known: bool) -> str:
    """Add the outcome of one line to its test case; return which counter it belongs to."""
    text = f"expected {line.expected or 'nothing stated'}, found {line.verdict}: {counts(line, plain)}"
    if line.verdict == "broken":
        ET.SubElement(test, "error", message=_text(text), type="broken").text = _text(details)
        return "errors"
    if line.verdict == "inconclusive":
        ET.SubElement(test, "skipped", message=_text(f"inconclusive: {counts(line, plain)}"))
        return "skipped"
    unstated = line.verdict == "violated" and not line.expected
    if (unstated or not line.as_expected) and not known:
        ET.SubElement(test, "failure", message=_text(text), type=line.verdict).text = _text(details)
        return "failures"
    if details:
        ET.SubElement(test, "system-out").text = _text(details)
    return ""


def _suite(view: RunView, case: CaseView, prefix: str = "") -> ET.Element:
    suite = ET.Element("testsuite", name=_text(plain(prefix + case.name)))
    numbers = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    pool = view.control_findings if case.control else view.findings
    for line in case.classes:
        numbers["tests"] += 1
        test = ET.SubElement(
            suite, "testcase", classname=_text(plain(prefix + case.name)), name=line.under, time="0"
        )
        mine = [
            finding for finding in pool if finding.key in line.findings or finding.fingerprint in line.findings
        ]
        known = line.verdict == "violated" and bool(mine) and "UNEXPECTED" not in map(view.label, mine)
        counter = _outcome(test, line, _details(view, mine), known)
        if counter:
            numbers[counter] += 1
    for name, number in numbers.items():
        suite.set(name, str(number))
    return suite


def junit(view: RunView) -> bytes:
    """Return the document, UTF-8, valid whatever the targets are called or say."""
    root = ET.Element("testsuites", name=_text(plain(f"tornwrite {view.started.scenario}")))
    suites = [_suite(view, case) for case in view.cases]
    suites += [_suite(view, case, "control: ") for case in view.controls]
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.extend(suites)
    ET.indent(root)
    out = io.BytesIO()
    ET.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)
    return out.getvalue() + b"\n"
