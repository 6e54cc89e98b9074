"""Whether a run could have seen a finding of another run: only then is one that it does not show *gone*. Pure."""

from __future__ import annotations

from harness.core.verdict import Finding
from harness.report.sentence import plan_of
from harness.report.view import CaseView, ClassLine, RunView

_CHECK = "check"
"""The name in place of an invariant where a user's own program judged."""
_USED_UP = "used up"
"""What notices of runs say that do not count what the budget left undone."""


def whole(view: RunView) -> str:
    """Return why a run as a whole proves nothing by what it does not show; empty where it may."""
    if view.finished is None:
        return "the run was interrupted"
    if not view.started.shard.whole:
        return f"only shard {view.started.shard} of the run is there"
    return f"the harness failed its own control: {view.control_problem}" if view.control_problem else ""


def unmeasured(view: RunView, case: CaseView, line: ClassLine) -> str:
    """Return why a class of a case was not measured, or not to its end; empty where it was."""
    if line.verdict in ("inconclusive", "broken"):
        return line.reason or f"{line.under} is {line.verdict}"
    if line.cut:
        return f"{line.under}: the budget left {line.cut:,} of it undone"
    late = any(item.target in ("", case.id) and _USED_UP in item.text for item in view.notices)
    return f"{line.under}: time was used up" if line.cut is None and late else ""


def why_not_seen(view: RunView, case: CaseView | None, finding: Finding) -> str:
    """Return why the run could not have seen a finding in ``case``; empty where it could."""
    if case is None:
        return "no such writer in it"
    problem = whole(view)
    if problem:
        return problem
    name = finding.invariant
    if case.invariants and name != _CHECK and name not in case.invariants:
        return f"{name} was not asked for"
    if finding.fault_class == "none":
        measured = case.null_verdict in ("held", "violated")
        return "" if measured else f"no run without a fault: {case.null_note or case.null_verdict}"
    for profile in finding.profiles or ("",):
        lines = [
            line
            for line in case.classes
            if line.fault_class == finding.fault_class and (not profile or line.profile == profile)
        ]
        if not lines:
            return f"{finding.fault_class}{f' on {profile}' if profile else ''} was not tried"
        for line in lines:
            reason = unmeasured(view, case, line) or line.not_measured.get(name, "")
            if reason:
                return reason
    plan = plan_of(finding)
    if plan.faults and plan.schedule is not None:
        return "it takes an order of operations, which a search meets or does not; replay its token"
    return ""
