"""What a user can do now about a finding: one sentence that names the file and, where the evidence has them, the ids.

Pure: invariant, damage, role of the path and ids of the evidence → text. What cannot be brought back is said to be
lost. Each sentence is about data that is already damaged; how the writer is to be mended is not its subject.

Non-goals: repairing anything; knowing more of a file than its name tells.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from harness.core.verdict import Finding

Show = Callable[[str], str]
Kind = Literal["transcript", "registry", "lease", "index", "document"]

_IDS_SHOWN = 2

_SENTENCES: Mapping[str, str] = {
    "B1": (
        "Add a newline to {file} if its last line is whole, else cut it back to its last newline: what that "
        "line was to hold is lost, every line before it is whole."
    ),
    "B2": (
        "Move the line{at} out of {file} into a file of its own: every other line can be read; what this one "
        "held is lost unless its pieces join to one JSON object."
    ),
    "B3": (
        "Restore {file} from a copy: NUL bytes{at} hold nothing, so what stood there is lost; lines without a "
        "NUL can be kept."
    ),
    "B4": (
        "Copy {file} first, then replace the bytes{at} that are no UTF-8 by U+FFFD: those characters are "
        "lost, the record is not."
    ),
    "B5": (
        "Enter {record} again: what was acknowledged is gone from {file}, nothing else in the state holds it, "
        "and without a backup it is lost."
    ),
    "B6": (
        "Restore the part of {file} up to {place} from a backup and append what follows it: what was damaged "
        "there had been whole and is lost without one."
    ),
    "B7": (
        "Before the next start cut {file} back to its last newline: else the next record is glued to the torn "
        "one and both are unreadable; the torn one is lost."
    ),
    "B8": (
        "Write the missing fields into {record} of {file}, or take it out and let its children name its "
        "parent; a value that nobody remembers is lost."
    ),
    "B9": (
        "Rename {file} to the session id that its records carry ({names}), or move those records into the "
        "file of theirs; nothing is lost."
    ),
    "G1": (
        "Give one of the records with the id of {record} in {file} a new uuid, and its children too; nothing "
        "is lost."
    ),
    "G2": (
        "Set the parent of the record{at} in {file} to the last chain record before it, or to null if there is "
        "none: its own parent, {names}, is lost, and the conversation goes on from there."
    ),
    "G3": (
        "Set the parent of the record{at} in {file} to the record that stands before it: nothing is lost, but "
        "the program may hang on the file until then."
    ),
    "G4": (
        "Resume from {record} by its id, or set the parent of the newest record in {file} to it: the records "
        "are in the file, only out of reach."
    ),
    "G5": (
        "Set the parent of the first record after {record} in {file} to its id, or resume from it: the "
        "records are in the file, only out of reach."
    ),
    "G6": (
        "Let the record{at} in {file} name the last message before it as its parent instead of the snapshot "
        "{names}; no message is lost."
    ),
    "G7": "Move {record} from {file} to the main transcript, or give it a parent in this file; nothing is lost.",
    "T1": (
        "Close {call} in {file}: behind the call add a user message with a tool_result for it that has "
        "is_error, as parent of what follows, or go back to the message before the call; the result itself is "
        "lost."
    ),
    "T2": (
        "Take the tool_result of {call} out of {file}, or put back the assistant message that made the call "
        "from a backup; without one the call is lost."
    ),
    "T3": "Keep one tool_result of {call} in {file} and take the others out, after a look at which is right.",
    "T4": "Give the second {call} in {file} and its result a new id; nothing is lost.",
    "T5": (
        "Move the blocks of {call} in {file} so that results come first and calls last in their messages; "
        "nothing is lost."
    ),
    "T6": "Bring the lines of message {names} in {file} together, in their order; nothing is lost.",
    "T7": (
        "Undo the compaction of {file} from its copy, or close {call} with an is_error result: its partner "
        "was compacted away."
    ),
    "T8": (
        "Take the empty message or text{at} out of {file}, or restore the thinking block from a backup: one "
        "that was changed is refused."
    ),
    "T9": (
        "Change the made-up result of {call} in {file} to is_error: nobody knows whether the tool did its "
        "work; look at what it left."
    ),
    "M1": (
        "Copy {file} first, then delete it and let the program write a new one, or restore a backup: what "
        "only this file held is lost."
    ),
    "M2": "Read {file} again: the reader met it half written; the file itself need not be damaged.",
    "M3": (
        "Make the change of {record} in {file} again, one program at a time: another change overwrote it, and "
        "it is lost."
    ),
    "M4": (
        "Move {file} out of its directory: what cannot be read there is passed over in silence, and may hide "
        "the entries beside it."
    ),
    "M5": "Delete {file}, or restore what it names ({names}) from a backup: it points to nothing.",
    "M6": (
        "Rebuild {file} from the transcripts beside it, which are whole ({entry} is missing or behind), or "
        "resume by the id; no message is lost."
    ),
    "M7": (
        "Write the title once more into {file}, by renaming the session: the last one is not found by every "
        "reader."
    ),
    "M8": (
        "Do not start the program again before you have copied its whole state: recovery destroys the only "
        "copy of what {file} holds."
    ),
    "M9": (
        "Look at {file} and set the pin, the title and the archived flag of its session again: one of them is not "
        "what was acknowledged, and the old value is lost."
    ),
    "M10": (
        "Resume {entry} from a program that reads {file} itself, or rebuild the entry that names it: the "
        "transcript is whole, only nothing lists it."
    ),
    "W1": (
        "Free space and save again while the program still runs: it reported success, and part of {file} is "
        "not on the disk; after its end that part is lost."
    ),
    "W2": (
        "Look at {file} before you use it: it is a session that was never finished, and what is not in it was "
        "never saved there; make it again from its source, if it has one, and delete this one."
    ),
    "W3": "Delete the temporary {file} while no instance runs: nothing names it and nothing ever sweeps it.",
    "W4": (
        "Wait some seconds, or run sync, before the machine is switched off: the last version of {file} is not on the "
        "disk yet when the program says that it is saved."
    ),
    "W5": (
        "Look for the new content in the temporary file beside {file} and rename it by hand: the refused "
        "rename was not made good."
    ),
    "W6": (
        "Keep one writer at a time on {file}: a record is written in pieces, and another's may come between; "
        "nothing is damaged yet."
    ),
    "W7": (
        "Do not append to {file} while it is rewritten: what is appended then is lost when the rewrite ends; "
        "compare it with a backup."
    ),
    "W8": (
        "Free space, or mend the permission, and save again while the program still runs: it took a refused "
        "write of {file} for a success; after its end that is lost."
    ),
    "W9": (
        "Enter {record} again: what was acknowledged is gone from {file} and lost without a backup; end the "
        "program only when it is idle."
    ),
    "W10": (
        "Copy the whole state before the program is started again: its repair of {file} changes more each "
        "time it runs."
    ),
    "S1": (
        "Keep a copy of {file}, then give each call without a result an is_error result in the next message, and take "
        "out results without a call: the text of the refusal names them."
    ),
    "S2": "Copy {file} before you resume again: what the client no longer sends may still stand in it.",
    "S3": (
        "Look at what the tools have done before you let it go on: {names} ran, and the resumed conversation does not "
        "know it and may run them again."
    ),
    "S4": "Say the lost reply again yourself from your terminal's history: it stands nowhere in {file}.",
    "S5": "Resume a session in one place at a time; of two, what one of them said stands in {file} and is not sent.",
    "S6": "Tell the conversation what the calls {names} returned: call and result stand in {file} and are not sent.",
    "check": (
        "Keep a copy of {file} as it is and restore the last one that your check accepts: what came after it "
        "has to be entered again."
    ),
}
"""By invariant; for each a sentence that holds whatever the damage."""

_BY_DAMAGE: Mapping[tuple[str, str], str] = {
    ("B5", "extra"): "Take the second copy of {record} out of {file}; nothing is lost.",
    ("B5", "torn"): (
        "Enter {record} again: of what was acknowledged {file} holds only a part; the rest is lost without a "
        "backup."
    ),
    ("M1", "missing"): (
        "Restore {file} from a backup, or from a temporary that is left beside it: it is gone, and what only it held "
        "is lost without one."
    ),
    ("B7", "missing"): (
        "Enter what you saved last once more: after a recovery no new record of it was found in {file}; what "
        "was there before is not touched."
    ),
    ("W10", "lost"): (
        "Restore {file} from a backup made before the program was last started: its recovery takes away what "
        "it cannot read before there is a copy, and what went is lost without one."
    ),
    ("W10", "reset"): (
        "Restore {file} from a backup made before the program was last started: its recovery writes over what "
        "it cannot read before there is a copy, and that is lost without one."
    ),
    ("B6", "empty"): "Restore {file} from a backup: it is empty, and everything that it held is lost without one.",
    ("W2", "empty"): "Delete {file}: it is a session that holds nothing, and make it again.",
    ("W2", "extra"): "Delete {file}: no run that ends well leaves it.",
    ("W3", "other"): (
        "See that one instance runs at a time until this is mended: a second one would share the temporary "
        "{file} and damage what is renamed from it; nothing is damaged yet."
    ),
    ("M4", "missing"): (
        "Move the unreadable entry beside {file} out of its directory: {file} is whole, and is hidden by it."
    ),
    ("M4", "unreadable"): (
        "Move the files that were written last out of {file} and start again: the program's own reader fails "
        "on what is there."
    ),
    ("B7", "unreadable"): (
        "Copy the whole state, then move the file that was written last out of {file}: the program's own "
        "recovery fails on it."
    ),
    ("W10", "unreadable"): (
        "Copy the whole state before you start the program again: its second recovery fails on {file}."
    ),
}

_OF_KIND: Mapping[tuple[str, Kind], str] = {
    ("M1", "registry"): (
        "Delete {file} (keep a copy) and write the entry anew from the transcript that it named: title and "
        "directory stand there; pin and number of turns are lost."
    ),
    ("M4", "registry"): (
        "Move {file} out of its directory and write the entry anew from the transcript that it named, or the "
        "session stays hidden; pin and number of turns are lost."
    ),
    ("M4", "transcript"): (
        "Delete {file} if what it was copied from is still there, else cut it back to its last whole line: it "
        "lists as a session and is a torn one."
    ),
    ("M1", "lease"): "Delete {file}: leases are taken anew; only which worktree was in use is lost.",
    ("M1", "index"): (
        "Delete {file} and rebuild it from the transcripts beside it, which are whole; only summaries that "
        "stand nowhere else are lost."
    ),
    ("M3", "index"): (
        "Rebuild {file} from the transcripts beside it, which are whole: several programs wrote it, and the last "
        "one left entries out or took them back; no message is lost."
    ),
    ("M3", "registry"): (
        "Compare {file} with the transcript that it names and set title and pin again: several programs wrote it, "
        "and the last one wrote over what another had changed."
    ),
    ("M5", "lease"): (
        "Delete the lease in {file} that names no entry: the worktree can be used again; nothing is lost."
    ),
}


def kind_of(role: str) -> Kind:
    """Return what a file is, as far as its name tells."""
    name = posixpath.basename(role)
    if name.startswith("local_") and name.endswith(".json"):
        return "registry"
    if name == "git-worktrees.json":
        return "lease"
    if name.endswith("index.json"):
        return "index"
    return "transcript" if name.endswith(".jsonl") else "document"


def remedy(finding: Finding, show: Show) -> str:
    """Return what a user who has this damage can do now: one sentence, safe to show."""
    role = finding.role or finding.path
    key = finding.invariant
    template = (
        _BY_DAMAGE.get((key, finding.damage))
        or _OF_KIND.get((key, kind_of(role)))
        or _SENTENCES.get(key, _SENTENCES["check"])
    )
    evidence = _evidence(finding)
    ids = tuple(str(item) for item in evidence.get("ids") or ())
    offset = evidence.get("offset")
    known = isinstance(offset, int) and offset >= 0
    place = f"offset {offset:,}" if known else "the damage"
    values = {
        "file": show(role) if role else "the state directory",
        "at": f" at {place}" if known else "",
        "place": place,
        "record": _named("record", ids, show) or (f"the record at {place}" if known else "what is missing"),
        "call": _named("tool use", ids, show) or (f"the tool use at {place}" if known else "the open tool use"),
        "names": ", ".join(show(name) for name in ids[:_IDS_SHOWN]) or "named in the evidence",
        "entry": _named("session", ids, show) or "the session",
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)


def _evidence(finding: Finding) -> Mapping[str, Any]:
    """Return what the confirming run saw; its file and ids are there, those of an exploration were worked out."""
    return finding.confirmation.evidence or finding.evidence


def _named(noun: str, ids: tuple[str, ...], show: Show) -> str:
    if not ids:
        return ""
    shown = ", ".join(show(name) for name in ids[:_IDS_SHOWN])
    more = len(ids) - _IDS_SHOWN
    plural = "s" if len(ids) > 1 else ""
    return f"{noun}{plural} {shown}" + (f" and {more} more" if more > 0 else "")
