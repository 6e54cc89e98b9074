"""Advice and audit in words: sentences that the maintainer of a writer can act on.

Pure. Paths are a stranger's: ``show`` makes them fit for where they are printed. No line breaks: folding is the
printer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.core.advice import (
    KILL,
    LOST,
    Advice,
    Audit,
    Barrier,
    Cause,
    MergeWrites,
    Removal,
    ReplaceInPlace,
    Step,
    SyncDirectory,
    Tally,
)
from harness.report.view import RunView

Show = Callable[[str], str]

REPAIR = "What would keep a power loss from it (computed on the recording, every state judged again)"
_SHOWN = 4
"""Kinds of damage that one sentence names."""
_IN_ONE_SENTENCE = 2
"""Changes that fit into one sentence."""
_NAMED = 4
"""Profiles that are named; more are counted."""
_LEFT: Mapping[str, str] = {
    "nul": "NUL bytes in {path}",
    "empty": "{path} empty",
    "torn": "{path} torn",
    "hole": "a hole in {path}",
    "reset": "{path} reset",
}
_MAKING = {"open": "creation", "mkdir": "making", "link": "link", "mknod": "making", "unlink": "removal"}


def advice_sentences(advice: Advice, show: Show) -> list[str]:
    """Return the advice as sentences, the one that says what to do first."""
    out = _about(advice, show)
    out += _sampled(advice.after or advice.before)
    if advice.note and advice.outcome != "unfinished":
        out.append(_sentence(show(advice.note)))
    return out


def repairs(view: RunView, show: Show) -> list[str]:
    """Return, per writer that a power loss violates, what would keep it from that; its name comes first."""
    return [
        f"{show(case.name)}: {' '.join(advice_sentences(case.advice, show))}"
        for case in view.cases
        if case.advice is not None and case.advice.outcome != "nothing"
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _about(advice: Advice, show: Show) -> list[str]:
    if advice.outcome == "nothing":
        return [f"Nothing to advise: {_none_of(advice.before)} violated."]
    if advice.outcome == "serialise":
        return _take_turns(advice, show)
    out = []
    if advice.steps:
        out += _what_to_do(advice, show)
    elif advice.outcome == "none":
        out.append(
            f"No change of the list helps: {_some_of(advice.before)} violated, whatever is inserted or replaced."
        )
    if advice.outcome == "unfinished":
        known = f"; as it is, {_some_of(advice.before)} violated" if advice.before else ""
        out.append(f"Unfinished: {show(advice.note)}{known}.")
    if advice.barriers_leave > 0:
        out.append(_refused(advice))
    if advice.remains and advice.outcome in ("partly", "none"):
        out.append(f"What remains: {_causes(advice.remains, show)}.")
    if advice.shared is not None:
        who = " and ".join(advice.shared.actors)
        out.append(f"{who} replace {show(advice.shared.path)} in turns here; nothing shows that they always do.")
    return out


def _take_turns(advice: Advice, show: Show) -> list[str]:
    rivals = advice.serialise
    if rivals is None:
        return []
    met = (
        f"the rewrite at operation {rivals.overlap} begins before that at {rivals.at} has ended"
        if rivals.overlap >= 0
        else "the undisturbed run itself ends without what one of them wrote"
    )
    who = ", ".join(rivals.actors)
    return [
        f"Serialise the writers of {show(rivals.path)} ({who}), with one lock around reading, changing and writing: "
        f"{met}. Then record it again: what they would write in turns is not in this recording.",
        _refused(advice),
    ]


def _refused(advice: Advice) -> str:
    states = f"{advice.barriers_leave:,} states"
    text = f"Barriers alone are not enough: with an fsync at every place {states} stay violated"
    if advice.barriers_leave_kill > 0:
        text += f", {advice.barriers_leave_kill:,} of them those of a kill, where no barrier counts"
    return text + "."


def _what_to_do(advice: Advice, show: Show) -> list[str]:
    """Return one sentence; of many changes one each, after one that says what they do together."""
    clauses = [
        _clause(step, before, show) for before, step in zip([None, *advice.steps], advice.steps, strict=False)
    ]
    withouts = [_without(step, show) if step.without_states else "" for step in advice.steps]
    for heal in advice.heals:
        turn = " and close the tool turn that is open there" if heal.closes_turns else ""
        clauses.append(f"at the next start cut {show(heal.role)} back to its last whole record{turn}")
    withouts += [""] * len(advice.heals)
    result = (_none_of(advice.after) if advice.outcome != "partly" else _some_of(advice.after)) + " violated"
    if len(clauses) <= _IN_ONE_SENTENCE:
        return [_sentence("; ".join([f"{_both(clauses)}: {result}", *filter(None, withouts)]))]
    clauses = [_clause(step, None, show) for step in advice.steps] + clauses[len(advice.steps) :]
    told = [
        clause + (f"; {without}" if without else "") for clause, without in zip(clauses, withouts, strict=True)
    ]
    return [f"With these {len(told)} changes {result}:", *map(_sentence, told)]


def _both(clauses: Sequence[str]) -> str:
    """Return two clauses as one; a comma keeps one that has commas itself apart from the other."""
    comma = "," if len(clauses) > 1 and "," in clauses[0] else ""
    return f"{comma} and ".join(clauses)


def _clause(step: Step, before: Step | None, show: Show) -> str:
    """Return what one step asks for; "after it" where the step before named the operation."""
    path, times = show(step.path), f" (at {len(step.edits)} places)" if len(step.edits) > 1 else ""
    if step.kind == "fsync_file":
        where = f"after operation {step.at}"
        if step.until >= 0:
            where = f"before the {'rename' if step.until_kind == 'rename' else 'acknowledgement'} at operation "
            where += str(step.until)
        return f"fsync {path} {where}{times}"
    if step.kind == "fsync_directory":
        if before is not None and before.kind == "fsync_file" and before.until == step.at:
            return f"the directory after it{times}"
        made = "rename to" if step.at_kind == "rename" else f"{_MAKING.get(step.at_kind, step.at_kind)} of"
        return f"fsync {_directory(step, show)} after the {made} {path} at operation {step.at}{times}"
    if step.kind == "replace_in_place":
        until = next((edit.until for edit in step.edits if isinstance(edit, ReplaceInPlace)), step.until)
        return (
            f"write {path} to a temporary file beside it, fsync that, rename it into its place and fsync the "
            f"directory, instead of rewriting it in place as in operations {step.at} to {until}{times}"
        )
    if step.kind == "move_ack":
        return f"acknowledge only after operation {step.at}, when {path} is written{times}"
    writes = next((len(edit.others) + 1 for edit in step.edits if isinstance(edit, MergeWrites)), 2)
    return f"write what operation {step.at} and the {writes - 1} after it put into {path} in one write{times}"


def _directory(step: Step, show: Show) -> str:
    path = next((edit.path for edit in step.edits if isinstance(edit, SyncDirectory)), ".")
    return "the directory" if path == "." else f"the directory {show(path)}"


_SHORT: Mapping[str, str] = {
    "fsync_file": "the fsync of {name}",
    "fsync_directory": "the directory fsync after {name}",
    "replace_in_place": "the replacement of {name}",
    "move_ack": "moving the acknowledgement",
    "merge_writes": "merging the writes",
}


def _without(step: Step, show: Show) -> str:
    name = show(step.path.rpartition("/")[2])
    return f"without {_SHORT[step.kind].format(name=name)} {_harm(step.without, step.without_states, show)}"


def _harm(causes: Sequence[Cause], states: int, show: Show) -> str:
    """Return what is wrong in ``states`` states: an acknowledged update is worth more words than a torn one."""
    lost = min(states, _states_with(causes, lambda cause: cause.damage in LOST))
    if lost >= states:
        return f"{states:,} lose an acknowledged update"
    left = _states_with(causes, lambda cause: cause.damage in _LEFT)
    lead = max((cause for cause in causes if cause.damage in _LEFT), key=lambda cause: cause.states, default=None)
    if lost:
        return f"{states:,} are violated, {lost:,} of them lose an acknowledged update"
    if lead is not None and left >= states and len({cause.damage for cause in causes}) == 1:
        return f"{states:,} have {_LEFT[lead.damage].format(path=show(lead.role))}"
    return f"{states:,} are violated ({_causes(causes, show)})"


def _states_with(causes: Iterable[Cause], wanted: Callable[[Cause], bool]) -> int:
    """Return how many states have such a cause, at least: one state may have several."""
    found: dict[str, dict[tuple[str, str], int]] = {}
    for cause in causes:
        if wanted(cause):
            # A file is damaged in one way at a time.
            of_file = found.setdefault(cause.under, {})
            key = (cause.invariant, cause.role)
            of_file[key] = of_file.get(key, 0) + cause.states
    return sum(max(of_file.values()) for of_file in found.values())


def _causes(causes: Sequence[Cause], show: Show) -> str:
    """Return the kinds of damage, each once with its states under all profiles, the most frequent first."""
    found: dict[tuple[str, str, str], int] = {}
    for cause in causes:
        key = (cause.invariant, cause.damage, cause.role)
        found[key] = found.get(key, 0) + cause.states
    ranked = sorted(found.items(), key=lambda item: -item[1])
    parts = [
        f"{show(invariant)} {damage} {show(role)} in {states:,}" for (invariant, damage, role), states in ranked
    ]
    return ", ".join(parts[:_SHOWN]) + (f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else "")


def _under(tallies: Sequence[Tally]) -> str:
    names = [tally.under for tally in tallies if tally.under != KILL]
    told = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} profiles"
    kill = ["a kill"] if any(tally.under == KILL for tally in tallies) else []
    return " and ".join([*filter(None, [told]), *kill])


def _none_of(tallies: Sequence[Tally]) -> str:
    return f"0 of {sum(tally.distinct for tally in tallies):,} states under {_under(tallies)} are"


def _some_of(tallies: Sequence[Tally]) -> str:
    violated, distinct = (sum(getattr(tally, name) for tally in tallies) for name in ("violated", "distinct"))
    return f"{violated:,} of {distinct:,} states under {_under(tallies)} are"


def _sampled(tallies: Sequence[Tally]) -> list[str]:
    """Return, where not every state was explored, under what."""
    names = [tally.under for tally in tallies if not tally.exhaustive]
    return (
        [f"A sample of the states was explored under {', '.join(names)}, all of them elsewhere."] if names else []
    )


def audit_sentences(audit: Audit, show: Show) -> list[str]:
    """Return the audit: one sentence per class of barriers, and what limits it."""
    violated = frozenset(tally.under for tally in audit.before if tally.violated)
    out = [_barrier(barrier, violated, show) for barrier in audit.barriers]
    if not audit.barriers:
        out.append("There is no sync and no rename to audit.")
    if any(tally.violated for tally in audit.before):
        text = f"With all barriers {_some_of(audit.before)} violated already"
        out.append(text + ": only kinds of damage that are new count for a barrier.")
    out += _sampled(audit.before)
    if audit.note:
        out.append(_sentence(show(audit.note)))
    return out


def _barrier(barrier: Barrier, violated: frozenset[str], show: Show) -> str:
    times = len(barrier.operations)
    many = (
        f", {times} times from operation {barrier.operations[0]}"
        if times > 1
        else f" (operation {barrier.operations[0]})"
    )
    what = f"{barrier.kind} {'to' if barrier.kind == 'rename' else 'of'} {show(barrier.path)}"
    if barrier.kind.endswith("directory"):
        what = barrier.kind if barrier.path == "." else f"{barrier.kind} {show(barrier.path)}"
    if barrier.kind == "rename" and barrier.position == "over what is there":
        what = f"rename over {show(barrier.path)}"
        where = ""
    elif barrier.kind == "rename":
        where = ", a new name"
    else:
        where = f" {show(barrier.position)}"
    text = f"{what}{where}{many}: "
    if not barrier.removals:
        return text + "not audited."
    bearing = [item for item in barrier.removals if item.states or item.singles]
    spared = [item.under for item in barrier.removals if item not in bearing and item.under != KILL]
    redundant = [name for name in spared if name not in violated]
    untold = [name for name in spared if name in violated]
    parts = []
    if bearing:
        parts.append(f"load-bearing under {', '.join(_removal(item, show) for item in bearing)}")
        alone = max(item.singles for item in barrier.removals)
        if alone < barrier.tried:
            parts.append(f"left out alone, {alone} of {barrier.tried} matter")
    if redundant:
        parts.append(f"redundant under {', '.join(redundant) if bearing or untold else 'every profile tried'}")
    if untold:
        parts.append(f"cannot be told under {', '.join(untold)}, where the writer is violated with it too")
    return text + "; ".join(parts) + "."


def _removal(item: Removal, show: Show) -> str:
    lead = max(item.causes, key=lambda cause: cause.states, default=None)
    name = "a kill" if item.under == KILL else item.under
    return f"{name} ({item.states:,}: {show(lead.invariant)} {lead.damage})" if lead is not None else name


def durable_sentence(after: Mapping[str, int], seq: int, kind: str) -> str:
    """Return from when on operation ``seq`` is durable: ``after`` maps a profile to an operation, -1 for none.

    For an acknowledgement that is what was done before it.
    """
    groups: dict[int, list[str]] = {}
    for profile, number in after.items():
        groups.setdefault(number if number < 0 else max(number, seq), []).append(profile)
    if not groups:
        return ""
    words = "all before it durable" if kind == "ack" else "durable"
    if set(groups) == {-1}:
        return "not " + ("all before it is durable" if kind == "ack" else "durable") + " by the end"
    parts = []
    largest = max(groups.values(), key=len)
    for number, profiles in sorted(groups.items(), key=lambda item: (item[0] < 0, item[0])):
        several = profiles is largest and len(profiles) > _NAMED
        told = f"the other {len(profiles)}" if several else ", ".join(profiles)
        names = f" ({told})" if len(groups) > 1 else ""
        if number < 0:
            parts.append(f"not by the end{names}")
        elif number <= seq:
            parts.append(("already" if kind == "ack" else "at once") + names)
        else:
            parts.append(f"after {number}{names}")
    return f"{words} {', '.join(parts)}"
