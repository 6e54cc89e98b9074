"""Power losses in plain words: what did not reach the disk, on which file systems, and whether it was observed.

Pure text. Names of targets pass ``show``; names of profiles are plain words by rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.core.fault import CrashPoint, Errno, Loss, PowerLoss
from harness.core.verdict import Finding
from harness.report.view import CaseView, ClassLine

Show = Callable[[str], str]
Place = Callable[[CrashPoint, Show], str]
"""Names the operation at a crash point: ``its 2nd write to x.json``."""

_LOSSES_SHOWN = 3
_PROFILES_SHOWN = 4
_NAMES = {
    "open": "its making of {role}",
    "mkdir": "its making of {role}",
    "mknod": "its making of {role}",
    "rename": "its rename to {role}",
    "link": "its link to {role}",
    "unlink": "its removal of {role}",
}


def profiles_in_words(names: Sequence[str], of: int) -> str:
    """Return ``under posix, ext4 of 4 profiles``, or ``under all 4 profiles``; of one, its name."""
    if len(names) == of > 1:
        return f"under all {of} profiles"
    shown = ", ".join(names[:_PROFILES_SHOWN])
    more = len(names) - _PROFILES_SHOWN
    some = f"{shown} and {more} more" if more > 0 else shown
    return f"under {some}" + (f" of {of} profiles" if of > 1 else "")


def power_lines(case: CaseView) -> list[ClassLine]:
    """Return the lines of a case that are of power losses."""
    return [line for line in case.classes if line.fault_class == "power"]


def classes_in_words(case: CaseView, lines: Iterable[ClassLine]) -> list[str]:
    """Return the fault classes of some lines of a case; its profiles are one: ``power under xfs of 4 profiles``."""
    out: dict[str, None] = {}
    lines = list(lines)
    of = len(power_lines(case))
    names = [line.profile for line in lines if line.fault_class == "power"]
    for line in lines:
        word = line.fault_class
        if word == "power" and line.profile:
            out[f"power {profiles_in_words(names, of)}" if len(names) < of else "power"] = None
        else:
            out["no fault" if word == "none" else word] = None
    return list(out)


def power_word(case: CaseView) -> str:
    """Return a case's verdicts under power loss in one line; ``-`` where nobody asked."""
    lines = power_lines(case)
    by_verdict: dict[str, list[str]] = {}
    for line in lines:
        by_verdict.setdefault(line.verdict, []).append(line.profile)
    order = ("broken", "violated", "inconclusive", "held")
    told = [
        f"{verdict} {profiles_in_words(names, len(lines) if len(by_verdict) == 1 else 0)}"
        if any(names)
        else verdict
        for verdict, names in sorted(by_verdict.items(), key=lambda item: order.index(item[0]))
    ]
    return "; ".join(told) or "-"


def loss_in_words(loss: Loss, show: Show, place: Place) -> str:
    """Return what of one operation did not reach the disk."""
    operation = place(loss.at, show)
    if loss.part == "data":
        return f"the data of {operation} (bytes {loss.start:,}–{loss.end:,})"
    if loss.part == "size":
        return f"the new size of {operation} (up to {loss.end:,} bytes)"
    if loss.part == "truncation":
        return f"the truncation to {loss.end:,} bytes by {operation}"
    return operation


def losses_in_words(fault: PowerLoss, show: Show, place: Place) -> str:
    """Return all that did not reach the disk, the first few in words."""
    if not fault.losses:
        return "nothing: what was on the disk by then is enough"
    told = [loss_in_words(loss, show, place) for loss in fault.losses[:_LOSSES_SHOWN]]
    more = len(fault.losses) - _LOSSES_SHOWN
    tail = "; blocks without data show what the disk held there before" if fault.stale else ""
    return ", ".join(told) + (f" and {more} more" if more > 0 else "") + tail


def moment_in_words(fault: PowerLoss, show: Show, place: Place) -> str:
    """Return when the power goes."""
    if fault.at is None:
        return "at the end of the run"
    return f"{fault.at.phase} {place(fault.at, show)}"


def power_circumstance(fault: PowerLoss, before: Sequence[object], show: Show, place: Place) -> str:
    """Return when it breaks: ``when the power goes after its 2nd write to x.json and its data is lost``."""
    failed = next((each for each in before if isinstance(each, Errno)), None)
    if failed is not None:
        return f"when {place(failed.at, show)} fails, and the power goes later"
    when = f"when the power goes {moment_in_words(fault, show, place)}"
    if not fault.losses:
        return when
    first = fault.losses[0]
    if first.at == fault.at:
        parts = {"data": "its data is lost", "size": "its new size is lost", "names": "the new name is lost"}
        parts["truncation"] = "the truncation is lost"
        return f"{when} and {parts[first.part]}"
    return f"{when} and {loss_in_words(first, show, place)} is lost"


def power_details(finding: Finding, fault: PowerLoss, show: Show, place: Place) -> str:
    """Return the state in full: when the power goes, what is lost, under which profiles, and under which it holds."""
    seq, at = finding.evidence.get("operation_seq"), moment_in_words(fault, show, place)
    if isinstance(seq, int) and fault.at is not None:
        inside = place(fault.at, show) if fault.at.phase == "after" else at
        at = f"after operation {seq} ({inside})"
    kept = ", its size is kept" if finding.damage == "nul" else ""
    text = f"The power goes {at}; lost: {losses_in_words(fault, show, place)}{kept}."
    names = ", ".join(finding.profiles) or fault.profile
    held = f"; the same writer holds under {', '.join(finding.held_under)}" if finding.held_under else ""
    return f"{text} Found under {names}{held}."
