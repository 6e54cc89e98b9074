"""Findings and counts in plain words: what breaks, when, how often. Text of targets is not yet escaped here."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from harness.core.dialogue import SEPARATOR, without_dialogue
from harness.core.fault import (
    FAULT_CLASSES,
    CrashPoint,
    Damaged,
    Errno,
    Fault,
    FaultPlan,
    FileDamage,
    Kill,
    PowerLoss,
    Short,
    Signal,
    Timed,
)
from harness.core.json_record import RecordError, convert_record
from harness.core.prediction import spell_prediction
from harness.core.proportion import spell_rate, spell_wild_rate
from harness.core.role import path_role
from harness.core.schedule import Schedule
from harness.core.verdict import DIALOGUE, Finding
from harness.report.causes import Cause, causes
from harness.report.escape import plain
from harness.report.power import classes_in_words, power_circumstance, power_details
from harness.report.view import CaseView, ClassLine, RunView, rate_of

EXIT_INCONCLUSIVE = 3

Show = Callable[[str], str]
"""Makes a name or a message of a target fit to be shown: escapes it for one kind of output."""

CHECK = "check"
"""The invariant of a probe with ``--check``: the user's own command judges the whole state."""

_DAMAGE = {
    "lost": "loses acknowledged data in {path}",
    "torn": "leaves {path} torn",
    "empty": "leaves {path} empty",
    "reset": "leaves {path} reset to its initial content",
    "nul": "leaves NUL bytes in {path}",
    "stale": "leaves {path} older than what was acknowledged",
    "missing": "leaves no {path}",
    "extra": "leaves {path} behind, which no good run shows",
    "hole": "leaves a hole in {path}",
    "unreadable": "leaves {path} unreadable for its own reader",
    "silent": "reports success although {path} is not what was asked for",
    "litter": "leaves the temporary file {path} behind",
    "unlinked": "leaves records in {path} that its conversation no longer reaches",
    "rejected": "leaves a conversation in {path} that the API refuses to go on with",
    "other": "leaves {path} in a state that breaks its rule",
}
_VERBS = {
    "open": "opening of",
    "write": "write to",
    "truncate": "truncation of",
    "rename": "rename to",
    "link": "link to",
    "unlink": "removal of",
    "mkdir": "making of",
    "mknod": "making of",
    "chmod": "change of mode of",
    "utimens": "change of times of",
    "sync": "sync of",
    "lock": "lock of",
}
_BY_INVARIANT = {
    ("M10", "unreadable"): "hides the intact session in {path}",
    ("M6", "stale"): "leaves {path} behind the transcripts beside it",
    **{
        ("M2", damage): "shows a reader of {path} what is neither its old nor its new version"
        for damage in ("torn", "empty", "missing", "other")
    },
    ("M3", "stale"): "leaves in {path} what one of several writers wrote over",
    ("B7", "missing"): "leaves no new record after a recovery",
    ("M9", "stale"): "leaves {path} without what an acknowledged update set",
    ("S1", "rejected"): "sends a conversation that the API refuses",
    ("S2", "lost"): "loses history that it had sent before",
    ("S3", "missing"): "does not know of tool calls that had their effect",
    ("S4", "lost"): "does not know a reply that it had printed",
    ("S5", "lost"): "loses one of two conversations that were held at once",
    ("S6", "unlinked"): "leaves out calls and results that stand whole in {path}",
}
_OF_ITS_FILE = "leaves a conversation in {path} that the API would refuse as it stands there"
"""Of a client, whose own requests are judged too: what it leaves out when it is resumed the API never sees."""
_RESUMED: Mapping[str, str] = {
    "none": "when it is resumed",
    "kill": "when it was killed and is resumed",
    "signal": "when it was interrupted or spoken to while it worked, and is resumed",
    "short": "when the end of its transcript was cut and it is resumed",
    "concurrency": "when two instances had resumed one session",
    "errno": "when it is resumed",  # nobody has ended it; its API may have failed
}
_FILE_DAMAGE: Mapping[FileDamage, str] = {
    "torn": "is cut in half",
    "holed": "begins with NULs",
    "nul": "is full of NULs",
    "empty": "is empty",
    "stale": "is an old version",
}


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``4th``, ``11th``, …"""
    if 10 <= number % 100 <= 20:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def subject(finding: Finding) -> str:
    """Return ``target/variant@version``."""
    return f"{finding.target}/{finding.variant}" + (f"@{finding.version}" if finding.version else "")


def plan_of(finding: Finding) -> FaultPlan:
    """Return the finding's fault plan; empty where it has none that this version knows."""
    try:
        plan: FaultPlan = convert_record(finding.fault or {}, FaultPlan)
    except RecordError:
        return FaultPlan()
    return plan


def place(point: CrashPoint, show: Show) -> str:
    """Return ``its 2nd write to x.json``."""
    verb = _VERBS.get(point.operation, f"{point.operation} of")
    if not point.role:
        verb = "acknowledgement" if point.operation == "ack" else point.operation
    actor = (
        "its"
        if point.actor == "p0"
        else f"the {ordinal(int(point.actor[1:]) + 1)} process's"
        if (point.actor[1:].isdecimal())
        else "a process's"
    )
    return f"{actor} {ordinal(point.occurrence)} {verb}" + (f" {show(point.role)}" if point.role else "")


def circumstance(finding: Finding, show: Show) -> str:
    """Return when it breaks: ``when it is killed after its 2nd write to x.json``."""
    if finding.operation == DIALOGUE:
        return _RESUMED[finding.fault_class]
    plan = plan_of(finding)
    order = plan.schedule
    if not isinstance(order, Schedule):
        return _struck(finding, plan.faults, show)
    times = "once" if order.switches == 1 else f"{order.switches:,} times"
    told = f"in an order of its own operations in which the turn passes {times}"
    return f"{_struck(finding, plan.faults, show)}, {told}" if plan.faults else f"with no fault, {told}"


def _struck(finding: Finding, faults: tuple[Fault, ...], show: Show) -> str:
    """Return which fault it takes."""
    if faults and isinstance(faults[-1], PowerLoss):
        return power_circumstance(faults[-1], faults[:-1], show, place)
    if faults and isinstance(faults[0], Damaged):
        return _start_on(faults[0], faults[1:], show)
    for fault in faults:
        if isinstance(fault, Signal):
            return f"when {show(fault.signal)} comes right after {place(fault.at, show)}"
        if isinstance(fault, Kill):
            return f"when it is killed {moment(fault.at, show)}"
        if isinstance(fault, Timed):
            action = "killed" if fault.signal == "SIGKILL" else f"stopped by {show(fault.signal)}"
            return f"when it is {action} at a random moment"
        if isinstance(fault, Short):
            return f"when {place(fault.at, show)} is cut {_length(fault.at)}" + (
                " and it is killed there" if fault.kill else ""
            )
        if isinstance(fault, Errno):
            name = errno.errorcode.get(fault.errno, f"error {fault.errno}")
            lasting = " and everything after it that needs space fails too" if fault.persistent else ""
            return f"when {place(fault.at, show)} fails with {name}{lasting}"
    if finding.crash_point is not None and finding.fault_class in ("kill", "short"):
        return f"when it is {'killed' if finding.fault_class == 'kill' else 'cut short'} " + moment(
            finding.crash_point, show
        )
    if finding.fault_class == "concurrency":
        return "with no fault, when its own work meets"
    return f"under {finding.fault_class}"


def state_in_words(finding: Finding, show: Show) -> str:
    """Return what is lost in the state of a power loss, and under which profiles; empty for other findings."""
    faults = plan_of(finding).faults
    last = faults[-1] if faults else None
    return power_details(finding, last, show, place) if isinstance(last, PowerLoss) else ""


def _start_on(damaged: Damaged, more: tuple[Fault, ...], show: Show) -> str:
    """Return on what damage it starts, and where its recovery from that is killed."""
    what = f"{show(path_role(damaged.path))} that {_FILE_DAMAGE[damaged.damage]}"
    for fault in more:
        if isinstance(fault, Kill):
            return f"when its start on {what} is killed {moment(fault.at, show)}"
    return f"when it starts on {what}"


def _length(point: CrashPoint) -> str:
    """Return how far a short write got."""
    if point.bytes == -1:
        return "short of its last byte"
    return (
        f"short after {point.bytes:,} bytes" if point.bytes >= 0 else f"short of its last {-point.bytes:,} bytes"
    )


def moment(point: CrashPoint, show: Show) -> str:
    """Return ``4,096 bytes into its 2nd write to x.json``."""
    if point.phase == "torn":
        return f"{point.bytes:,} bytes into {place(point, show)}"
    return f"{point.phase} {place(point, show)}"


def cause_headline(cause: Cause, show: Show) -> str:
    """Return one sentence for a cause: what breaks, when, which invariants, in which versions."""
    text = headline(cause.lead, show)
    further = [show(name) for name in cause.invariants[1:]]
    versions = [show(version) for version in cause.versions[1:]]
    if further:
        text = text.removesuffix(".") + f", also {', '.join(further)}."
    if versions:
        text = text.removesuffix(".") + f". The same in {', '.join(versions)}."
    return text


def _of_dialogue(finding: Finding) -> bool:
    """Whether a client showed it that was held to a dialogue. The variant of a probe is a command of any spelling."""
    return finding.operation == DIALOGUE or (SEPARATOR in finding.variant and finding.target != "probe")


def headline(finding: Finding, show: Show) -> str:
    """Return one sentence: what breaks, and when."""
    return f"{show(subject(finding))} {what_breaks(finding, show)}."


def what_breaks(finding: Finding, show: Show) -> str:
    """Return what a writer does that has the finding: ``leaves x.json torn when it is killed … (M1)``."""
    path = show(finding.role or finding.path) or "the state"
    if (
        finding.fault_class == "none" and finding.operation != DIALOGUE
    ):  # judged on what it did, not on what was left
        return f"breaks {show(finding.invariant)} in {path} with no fault at all"
    if finding.invariant == CHECK:
        return f"leaves a state that its check rejects {circumstance(finding, show)}"
    told = _BY_INVARIANT.get((finding.invariant, finding.damage)) or _DAMAGE.get(finding.damage, _DAMAGE["other"])
    if _of_dialogue(finding) and told == _DAMAGE["rejected"]:
        told = _OF_ITS_FILE
    return f"{told.format(path=path)} {circumstance(finding, show)} ({show(finding.invariant)})"


def lines_of(view: RunView, finding: Finding) -> list[ClassLine]:
    """Return the lines of the finding's variant and fault class, of a power loss those of its profiles."""
    for case in view.controls if finding.control else view.cases:
        if (case.target, case.variant, case.version or finding.version) == (
            finding.target,
            finding.variant,
            finding.version or case.version,
        ):
            return [
                line
                for line in case.classes
                if line.fault_class == finding.fault_class
                and (not finding.profiles or line.profile in finding.profiles)
            ]
    return []


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else noun + "s"


def how_often(view: RunView, finding: Finding) -> str:
    """Return how many states and runs showed it, of how many."""
    lines = lines_of(view, finding)
    distinct, runs = sum(line.distinct for line in lines), sum(line.runs for line in lines)
    parts = []
    if finding.states:
        # A finding counts distinct states, so it is set against the distinct ones.
        total = f" of {distinct:,}" if distinct >= finding.states else ""
        number = distinct if total else finding.states
        parts.append(f"in {finding.states:,}{total} distinct {_plural('crash state', number)}")
    if finding.runs:
        known = runs >= finding.runs
        shown = spell_rate(finding.runs, runs) if known else f"{finding.runs:,}"
        parts.append(f"in {shown} {_plural('real run', runs if known else finding.runs)}")
    orders = sum(line.orders for line in lines)
    if finding.operation == "schedule" and orders:
        parts.append(f"in one of {orders:,} {_plural('order', orders)} of its operations that were searched")
    return "Seen " + " and ".join(parts) + "." if parts else "No count was kept."


def how_confirmed(finding: Finding) -> str:
    """Return how real runs proved it, or that none did."""
    confirmation = finding.confirmation
    if finding.operation == DIALOGUE:
        return "Each is a dialogue with the real program, with moments of its own."
    if finding.fault_class == "power" and confirmation.method:
        return f"{confirmation.method[0].upper()}{confirmation.method[1:]}."
    if confirmation.attempts == 0:
        return (
            "Not run again; a replay says how often it comes back."
            if finding.runs
            else ("Not confirmed by a real run.")
        )
    method = f" ({confirmation.method})" if confirmation.method else ""
    word = "Confirmed" if confirmation.confirmed else "Not confirmed"
    runs = _plural("real run", confirmation.attempts)
    return f"{word} in {confirmation.confirmed}/{confirmation.attempts} {runs}{method}."


def replay_command(finding: Finding, view: RunView | None = None) -> str:
    """Return the command that replays it, empty without a token. A probe's own command stands in ``view``."""
    if not finding.token:
        return ""
    words = plain(str(view.started.environment.get("replay", ""))) if view is not None else ""
    rest = f" {words or '[--check CMD …] -- CMD …'}" if finding.target == "probe" else ""
    return f"tornwrite replay {finding.token}{rest}"


def can_be_exported(finding: Finding) -> bool:
    """Whether ``tornwrite export`` can be tried: what a kill, an error or an order shows, and no moment by chance."""
    plan = plan_of(finding)
    chance = plan.concurrency or any(isinstance(fault, Timed | Damaged | PowerLoss) for fault in plan.faults)
    return bool(finding.token) and finding.invariant != CHECK and finding.operation != DIALOGUE and not chance


def needs_of(view: RunView) -> str:
    """Return the machine that a replay needs, as far as the engine of the run asks for one."""
    facts = view.started.environment
    if facts.get("engine") == "ptrace":
        return f"Linux on {plain(str(facts.get('architecture') or 'x86_64'))} with Python 3.11 or newer"
    return "Python 3.11 or newer"


def reproduction(finding: Finding, view: RunView) -> list[str]:
    """Return the commands that replay it on a machine that has nothing yet; empty without a token."""
    replay = replay_command(finding, view)
    if not replay:
        return []
    version = plain(str(view.started.environment.get("tornwrite", "")))
    talks = _of_dialogue(finding)
    package = "'tornwrite[cli]{}'" if talks else "tornwrite{}"
    lines = [f"pip install {package.format(f'=={version}' if version else '')}"]
    if finding.version:
        variant = without_dialogue(finding.variant) if talks else finding.variant
        lines.append(
            f"tornwrite targets install {plain(finding.target)}/{plain(variant)}@{plain(finding.version)}"
        )
    return [*lines, replay]


def steps_of(view: RunView, finding: Finding) -> tuple[str, ...]:
    """Return what was done in the dialogue that a finding is of, and what its row asks; nothing of other findings."""
    case = next((each for each in view.cases if each.dialogue and each.name == subject(finding)), None)
    if case is None:
        return ()
    lives = [f"life {number}: {step}" for number, step in enumerate(case.steps, 1)]
    rule = case.asked.get(finding.invariant, "")
    return tuple(map(plain, (*lives, *([f"{finding.invariant}: {rule}"] if rule else []))))


def fixed_words(finding: Finding) -> str:
    """Return what a replay says of a finding that is gone."""
    if _of_dialogue(finding):
        return "`CHANGED` with 3 and the rate that is excluded where it does not come back"
    return "`FIXED` with 0 when it is gone"


def counts(line: ClassLine, show: Show) -> str:
    """Return what one line measured: states, runs, and what stayed without measurement."""
    parts = []
    if line.states:
        parts.append(f"{line.states:,} states ({line.distinct:,} distinct)")
    if line.runs:
        parts.append(f"runs {spell_rate(line.bad, line.runs)}")
    if line.orders:
        parts.append(f"{line.bad_orders:,} of {line.orders:,} orders that were searched")
    if line.inconclusive:
        parts.append(f"{line.inconclusive:,} inconclusive")
    if line.coverage:
        parts.append(line.coverage)
    return "; ".join(parts) or (show(line.reason) or "not measured")


def timed_rate(case: CaseView) -> str:
    """Return the rate of a case's timed kills with window and run time; empty where it had none."""
    rate = rate_of(case)
    if rate is None:
        return f"{case.timed_inconclusive} inconclusive, none measured" if case.timed_inconclusive else ""
    text = spell_rate(rate.k, rate.n)
    if rate.window_ms is not None and rate.run_ms is not None:
        text += "; " + spell_wild_rate(rate.k, rate.n, rate.window_ms, rate.run_ms)
    if rate.predicted is not None:
        text += "; " + spell_prediction(rate.predicted)
    return text + (f"; {case.timed_inconclusive:,} inconclusive, not counted" if case.timed_inconclusive else "")


def not_asked(view: RunView) -> str:
    """Return which fault classes no case was tried under; empty where all were."""
    tried = {line.fault_class for case in view.cases for line in case.classes}
    missing = [name for name in FAULT_CLASSES if name not in tried]
    return f"No fault of these classes was tried: {', '.join(missing)}." if missing else ""


def control_line(case: CaseView, line: ClassLine, show: Show) -> str:
    """Return what a control did: ``reference/durable held under kill, as it must``."""
    ending = "as it must" if line.as_expected else f"but had to be {line.expected}"
    return f"{show(case.name)} {line.verdict} under {line.under}, {ending}: {counts(line, show)}"


def control_lines(view: RunView, show: Show) -> list[str]:
    """Return the controls, one line for the classes in which each did as it must, and one for each in which not."""
    out = []
    for case in view.controls:
        well = [line for line in case.classes if line.as_expected]
        if well:
            under = ", ".join(classes_in_words(case, well))
            told = f"{sum(line.distinct for line in well):,} distinct states, {sum(line.runs for line in well):,} runs"
            out.append(f"{show(case.name)} {well[0].verdict} under {under}, as it must: {told}")
        out += [control_line(case, line, show) for line in case.classes if not line.as_expected]
    return out


def reasons(view: RunView, show: Show) -> tuple[str, ...]:
    """Return, one line each, why something asked for was not measured, or cannot be trusted."""
    out = [show(view.control_problem)] if view.control_problem else []
    told = view.finished.summary if view.finished else {}
    if view.finished and not view.cases:
        out.append("no target is available")
    for case in view.cases:
        if case.null_verdict in ("inconclusive", "broken"):
            out.append(f"{show(case.name)}: {show(case.null_note or 'not run')}")
            continue
        out += [
            f"{show(case.name)} under {line.under}: {show(line.reason)}"
            for line in case.classes
            if line.verdict in ("inconclusive", "broken") and line.reason
        ]
    never = told.get("never_measured")
    for what, reason in never.items() if isinstance(never, dict) else ():
        out.append(f"{show(str(what))} was asked for and not measured: {show(str(reason))}")
    required = told.get("required")
    out += [f"{show(str(what))} is not available" for what in (required if isinstance(required, list) else ())]
    return tuple(out)


def baseline_lines(view: RunView, show: Show) -> list[str]:
    """Return how the run stands to its baseline: what fails, what to remove, what was not looked for, a count."""
    if view.baseline is None:
        return []
    told = [show(item.text) for item in view.baseline.judged if item.standing not in ("known", "expected")]
    known = [item for item in view.baseline.judged if item.standing == "known"]
    if known:
        first = min(known, key=lambda item: item.expires)
        told.append(f"{len(known)} known, no failure; the first expires on {first.expires} ({show(first.link)})")
    return told or ["nothing to say: it lists nothing, and nothing surprised"]


def verdict_sentence(view: RunView, show: Show) -> str:
    """Return the campaign in one sentence; of an inconclusive one, why."""
    if view.finished is None:
        return "This run was interrupted before it had a verdict; what follows is what it had measured."
    told = causes(view.findings)
    labels = [view.label(cause.lead) for cause in told]
    unexpected, expected, known = (labels.count(name) for name in ("UNEXPECTED", "expected", "known"))
    found = {
        (0, 0): "no violation found",
        (0, 1): f"{expected} expected finding{'s' * (expected > 1)}",
        (1, 0): f"{unexpected} unexpected finding{'s' * (unexpected > 1)}",
        (1, 1): f"{unexpected} unexpected and {expected} expected findings",
    }[min(unexpected, 1), min(expected, 1)]
    if known:
        found = f"{known} known finding{'s' * (known > 1)}" + (f", {found}" if unexpected or expected else "")
    missing = sum(
        line.expected == "violated" and line.verdict == "held" and view.started.shard.whole
        for case in view.cases
        for line in case.classes
    )
    if missing:
        found += f", {missing} expected violation{'s' * (missing > 1)} did not occur"
    if view.verdict == "held" and not any(
        line.fault_class == "power" for case in view.cases for line in case.classes
    ):
        found += "; what a power loss does was not tried"
    why = reasons(view, show)
    if why and view.verdict in ("inconclusive", "broken"):
        found = why[0] + (f"; {found}" if view.findings else "")
    elif why and view.finished.exit_code == EXIT_INCONCLUSIVE:
        found += f"; {why[0]}"
    word = view.verdict.capitalize()
    if not view.started.shard.whole:
        word = f"Shard {view.started.shard}: {view.verdict}"
        found += "; whether all that is expected occurs, all shards together say: tornwrite report RUN RUN …"
    return f"{word}: {found} (exit code {view.finished.exit_code})."
