"""Evidence and environment as pairs of name and text; bytes of files only from :func:`dumps`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.core.verdict import Finding
from harness.report.hexdump import window

_NOWHERE = ("offset", -1)
_HEX_KEYS = ("window_hex", "window_offset", "expected_window_hex", "expected_window_offset")


def facts_of(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as (name, text), in the order given."""
    out: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            out += facts_of(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            out.append((f"{prefix}{name}", ", ".join(str(item) for item in value)))
        elif value is not None and value != "":
            out.append((f"{prefix}{name}", str(value)))
    return out


def evidence_facts(finding: Finding) -> list[tuple[str, str]]:
    """Return the evidence without any bytes: those of the confirming run, else those of the first state."""
    source = finding.confirmation.evidence or finding.evidence
    return facts_of(
        {
            name: value
            for name, value in source.items()
            if name not in _HEX_KEYS and value != [] and (name, value) != _NOWHERE
        }
    )


def dumps(finding: Finding) -> list[tuple[str, str]]:
    """Return the windows of bytes that the evidence holds, as (title, hex dump)."""
    out = []
    for title, which in (("Expected", "expected_window"), ("Observed", "window")):
        text = window(finding.confirmation.evidence, which) or window(finding.evidence, which)
        if text:
            out.append((title, text))
    return out
