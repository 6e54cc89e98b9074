"""A run held against a baseline: which findings are new, known, expired, gone, or were not looked for. Pure.

The rule beside a manifest's ``expect``: a finding that the manifest expects stays expected, and needs no baseline; a
baseline is for what surprises. An expected violation that does not occur stays a failure: no baseline excuses it.
A known finding is no failure up to and including the day on which it expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from harness.core.baseline import PLACEHOLDER, BaselineResult, Cause, Judged, Known, Standing
from harness.core.event import CampaignFinished
from harness.core.verdict import Finding
from harness.report.escape import plain
from harness.report.measured import why_not_seen
from harness.report.sentence import headline
from harness.report.view import ClassLine, RunView

UNATTRIBUTED = "unattributed"
"""The operation of a finding that a signal at a random moment showed."""
EXIT_AS_EXPECTED, EXIT_VIOLATED, EXIT_INCONCLUSIVE = 0, 1, 3


def judge_baseline(view: RunView, known: Sequence[Known], today: date, path: str) -> BaselineResult:
    """Return how the findings of a run and the entries of a baseline stand to each other."""
    entries = {item.fingerprint: item for item in known}
    judged: list[Judged] = []
    covered: list[str] = []
    seen: set[str] = set()
    for finding in view.findings:
        entry = entries.get(finding.fingerprint)
        seen.add(finding.fingerprint)
        item = _of_finding(finding, entry, today)
        judged.append(item)
        if item.standing == "known":
            covered.append(finding.key)
    judged += [_absent(view, entry) for entry in known if entry.fingerprint not in seen]
    order = ("new", "expired", "gone", "not measured", "known", "expected")
    return BaselineResult(
        path=path,
        today=today.isoformat(),
        judged=tuple(sorted(judged, key=lambda item: order.index(item.standing))),
        covered=tuple(covered),
    )


def _of_finding(finding: Finding, entry: Known | None, today: date) -> Judged:
    what = headline(finding, str)
    if finding.expected:
        return Judged(standing="expected", fingerprint=finding.fingerprint, text=what)
    if entry is None:
        return Judged(standing="new", fingerprint=finding.fingerprint, text=f"new: {what}")
    until = entry.expires.isoformat()
    expired = today > entry.expires
    told = f"expired on {until}, tracked in {entry.link}" if expired else f"known until {until}, {entry.link}"
    return Judged(
        standing="expired" if expired else "known",
        fingerprint=finding.fingerprint,
        text=f"{told}: {what}",
        link=entry.link,
        expires=until,
    )


def _absent(view: RunView, entry: Known) -> Judged:
    """Return how an entry stands that the run does not show: *gone* only where the run could have seen it."""
    cause, note = entry.cause, f" ({entry.note})" if entry.note else ""
    reason = _why_not_gone(view, cause)
    standing: Standing = "not measured" if reason else "gone"
    what = f"{cause.target}/{cause.variant}: {cause.invariant} under {cause.fault_class}" if cause else "an entry"
    if reason:
        text = f"not seen, but it stays: {what}{note}, {entry.fingerprint}: {reason}"
    else:
        text = f"gone: {what}{note}; remove {entry.fingerprint} from the baseline and close {entry.link}"
    return Judged(
        standing=standing,
        fingerprint=entry.fingerprint,
        text=text,
        link=entry.link,
        expires=entry.expires.isoformat(),
    )


def _why_not_gone(view: RunView, cause: Cause | None) -> str:
    if cause is None:
        return "without its cause nobody can say whether it was looked for"
    like = Finding(**msgspec.structs.asdict(cause), fingerprint="", damage="other", message="")
    cases = [case for case in view.cases if (case.target, case.variant) == (cause.target, cause.variant)]
    if not cases:
        return why_not_seen(view, None, like)
    reason = next((why for case in cases if (why := why_not_seen(view, case, like))), "")
    by_chance = cause.operation == UNATTRIBUTED or cause.fault_class == "concurrency"
    return reason or ("it is met by chance, and this run did not meet it" if by_chance else "")


def with_baseline(finished: CampaignFinished, view: RunView, result: BaselineResult) -> CampaignFinished:
    """Return the end of a campaign with the exit code that the baseline leaves, and what it said."""
    code = finished.exit_code
    if code in (EXIT_AS_EXPECTED, EXIT_VIOLATED, EXIT_INCONCLUSIVE):
        lines = [line for case in view.cases for line in case.classes]
        if result.failures or (code == EXIT_VIOLATED and any(_did_not_occur(line) for line in lines)):
            code = EXIT_VIOLATED
        elif code == EXIT_VIOLATED:
            missing = finished.summary.get("never_measured") or any(
                line.verdict == "inconclusive" for line in lines
            )
            code = EXIT_INCONCLUSIVE if missing else EXIT_AS_EXPECTED
    data = {**finished.summary, "baseline": msgspec.to_builtins(result)}
    return msgspec.structs.replace(finished, exit_code=code, summary=data)


def _did_not_occur(line: ClassLine) -> bool:
    return line.expected == "violated" and line.verdict == "held"


def _quoted(text: str) -> str | None:
    """Return ``text`` as a TOML string; ``None`` where it has none, for it is not Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    escaped = (f"\\u{ord(char):04x}" if ord(char) < 0x20 or char in '\x7f"\\' else char for char in text)
    return f'"{"".join(escaped)}"'


def baseline_text(view: RunView) -> str:
    """Return a baseline of the findings that surprised in a run; link and expiry are for its user to fill in."""
    out = [
        f"# Known findings of {plain(view.started.scenario)}, from run {plain(view.started.run_id)}.",
        "# Each needs a link and the last day on which it is no failure; what the manifest expects needs no entry.",
    ]
    surprising = {item.fingerprint: item for item in view.findings if not item.expected}
    for finding in surprising.values():
        cause = {name: _quoted(getattr(finding, name)) for name in Cause.__struct_fields__}
        told = ", ".join(f"{name} = {value}" for name, value in cause.items())
        out += [
            "",
            f"# {plain(headline(finding, str))}",
            "[[known]]",
            f'fingerprint = "{finding.fingerprint}"',
            *([f"cause = {{ {told} }}"] if None not in cause.values() else []),
            f'link = "{PLACEHOLDER}"',
            f'expires = "{PLACEHOLDER}"  # YYYY-MM-DD',
        ]
    return "\n".join(out if surprising else [*out, "# Nothing surprised."]) + "\n"
