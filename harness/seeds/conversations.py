"""Facts of conversations: the user interrupts the real writer, its transcript is resumed, the API answers.

What resuming sends comes from the target's own ``resume``; what the API says to it from the validator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from harness.catalog import Workload
from harness.catalog.profiles import load_profiles
from harness.catalog.steps import Tools
from harness.checks import resume_outcome, validate
from harness.core.advice import KILL
from harness.core.fault import Errno
from harness.core.tree import File, Tree, tree_of
from harness.explore import errno_plans
from harness.explore.power.audit import audit
from harness.seeds.bench import Bench, NotThereError, bench
from harness.seeds.claim import Claim, Fact
from harness.seeds.losses import of_finds, recorded, workload_of

ACCEPTED = "accepted"
UNREADABLE = "nothing to resume"

Record = dict[str, Any]


def _workload(claim: Claim) -> Workload:
    # A tool takes longer than a batch of records waits, where one batch alone is to fail.
    duration_ms = (300, 300) if claim.fault else (5, 10)
    tools = Tools(parallel=3, duration_ms=duration_ms, result_bytes=(20, 400))
    sessions = len({step.session for step in claim.steps})
    return Workload(
        sessions=max(1, sessions),
        updates=claim.updates or 2,
        record_bytes=(60, 600),
        tools=tools,
        steps=claim.steps,
    )


def _transcript(here: Bench, state: Tree) -> tuple[str, bytes]:
    """Return the path of the transcript that was there at the start, and its bytes in a state."""
    path = next(path for path, _ in here.start.files() if path.endswith(".jsonl"))
    node = state.node_at(path)
    return path, node.content.to_bytes() if isinstance(node, File) else b""


def _records(data: bytes) -> Iterator[Record]:
    for line in data.split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _sent(here: Bench, state: Tree, *flags: str) -> list[Any] | None:
    """Return the messages that resuming sends, or ``None`` where there is nothing to resume."""
    session = _transcript(here, state)[0].rpartition("/")[2].removesuffix(".jsonl")
    result = here.resume(state, session, *flags).result
    said = next(_records(result.stdout), {})
    return said.get("messages") if result.exit_code == 0 else None


def _told(here: Bench, state: Tree, *flags: str) -> str:
    """Return what a user sees who resumes: :data:`ACCEPTED`, the API's refusal, or :data:`UNREADABLE`."""
    messages = _sent(here, state, *flags)
    if messages is None:
        return UNREADABLE
    error = validate(messages)
    return ACCEPTED if error is None else error.shown


def _answered(here: Bench, state: Tree, *flags: str) -> str:
    """Return what the API says to a conversation that is resumed. Raises :class:`NotThereError` without one."""
    text = _told(here, state, *flags)
    if text == UNREADABLE:
        raise NotThereError(f"{here.subject.label}: {UNREADABLE}, so the API was not asked")
    return text


def _brief(text: str) -> str:
    """Return a refusal without its frame and its second sentence."""
    try:
        message = json.loads(text.removeprefix("API Error: 400 "))["error"]["message"]
    except ValueError:
        return text
    return f"400 {message.partition('. ')[0]}"


def _left(here: Bench, claim: Claim) -> Iterator[Tree]:
    """Yield what runs leave: the one without a fault, or one run for each write that fails once."""
    recording = here.record()
    if claim.fault != "errno":
        yield recording.final
        return
    assert recording.trace is not None
    for plan in errno_plans(recording.trace):
        (fault,) = plan.faults
        if isinstance(fault, Errno) and fault.at.operation == "write" and not fault.persistent:
            yield here.record(plan).final


def _blocks(record: Record, kind: str) -> Iterator[Record]:
    content = record.get("message", {}).get("content")
    for block in content if isinstance(content, list) else ():
        if block.get("type") == kind:
            yield block


def _open_calls(records: list[Record]) -> dict[str, Record]:
    """Return the records that call a tool which no record answers, by the tool's id."""
    answered = {block["tool_use_id"] for record in records for block in _blocks(record, "tool_result")}
    calls = {block["id"]: record for record in records for block in _blocks(record, "tool_use")}
    return {name: record for name, record in calls.items() if name not in answered}


def refusal(claim: Claim) -> Fact:
    """What the API answers to the next message; of several runs the claimed text, if one of them shows it."""
    with bench(claim.variant, _workload(claim)) as here:
        seen: dict[str, int] = {}
        for state in _left(here, claim):
            text = _told(here, state)
            seen[text] = seen.get(text, 0) + 1
            if text == claim.claimed:
                break
    answered = sorted((text for text in seen if text != UNREADABLE), key=lambda text: text == ACCEPTED)
    if not answered:
        raise NotThereError(f"{claim.variant}: {UNREADABLE}, so the API was not asked")
    value = str(claim.claimed) if claim.claimed in answered else answered[0]
    runs = sum(seen.values())
    how = "runs with one failing write" if claim.fault else "interrupted runs"
    same = "word for word, " if value == claim.claimed else ""
    return Fact(value=value, shown=f"{same}in {seen[value]} of {runs} {how}: {_brief(value)}")


def refused(claim: Claim) -> Fact:
    """Whether the API refuses the next message after the run."""
    with bench(claim.variant, _workload(claim)) as here:
        text = _answered(here, here.record().final)
    return Fact(value=text != ACCEPTED, shown=_brief(text))


def still_refused(claim: Claim) -> Fact:
    """Whether it still refuses after the writer has started again and saved one more prompt."""
    with bench(claim.variant, _workload(claim)) as here:
        state = here.record().final
        before = _answered(here, state)
        after = _answered(here, here.recover(state).after)
    both = ACCEPTED not in (before, after)
    return Fact(
        value=both, shown=f"after the interruption: {before}. After a new start and one more prompt: {after}"
    )


def outcome(claim: Claim) -> Fact:
    """What becomes of an interrupted conversation that is resumed: recovered, rolled_back or rejected."""
    with bench(claim.variant, _workload(claim)) as here:
        recording = here.record()
        messages = _sent(here, recording.final)
        if messages is None:
            raise NotThereError(f"{claim.variant}: {UNREADABLE}")
        records = list(_records(_transcript(here, recording.final)[1]))
        there = [str(record["uuid"]) for record in records if "uuid" in record]
        found = resume_outcome(records, messages, there)
    sent = len(there) - len(found.lost)
    count = f"all {sent}" if not found.lost else f"{sent} of {len(there)}"
    detail = found.text or f"{count} records in the file are sent"
    return Fact(value=found.outcome, shown=f"{found.outcome.replace('_', ' ')}: {detail}")


def repaired_by_hand(claim: Claim) -> Fact:
    """Whether a made-up result for each call without one, put into the file by hand, makes the API accept it."""
    with bench(claim.variant, _workload(claim)) as here:
        state = here.record().final
        before = _answered(here, state)
        path, data = _transcript(here, state)
        after = _told(here, tree_of({path: _with_results(data)}))
    return Fact(
        value=before != ACCEPTED and after == ACCEPTED, shown=f"before: {_brief(before)}. After: {_brief(after)}"
    )


def _with_results(data: bytes) -> bytes:
    """Return a transcript with a result for every open call behind the record that calls it, and the chain mended."""
    records = list(_records(data))
    for name, call in _open_calls(records).items():
        place = records.index(call) + 1
        while place < len(records) and any(_blocks(records[place], "tool_use")):
            place += 1  # parallel calls stay together
        parent = records[place - 1]["uuid"]
        block = {"type": "tool_result", "tool_use_id": name, "content": "unknown", "is_error": True}
        made = {
            **{key: call[key] for key in ("isSidechain", "cwd", "sessionId", "version", "timestamp")},
            "type": "user",
            "parentUuid": parent,
            "uuid": call["uuid"][:-12] + name[-12:].rjust(12, "0"),
            "message": {"role": "user", "content": [block]},
        }
        if place < len(records) and records[place].get("parentUuid") == parent:
            records[place] = {**records[place], "parentUuid": made["uuid"]}
        records.insert(place, made)
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


def cleaned_by_flag(claim: Claim) -> Fact:
    """Whether resuming with the flag ``of`` makes a conversation usable that is refused without it."""
    with bench(claim.variant, _workload(claim)) as here:
        state = here.record().final
        before, after = _answered(here, state), _told(here, state, claim.of)
    shown = f"without {claim.of}: {_brief(before)}. With it: {_brief(after)}"
    return Fact(value=before != ACCEPTED and after == ACCEPTED, shown=shown)


def acknowledged(claim: Claim) -> Fact:
    """How many records a run without a fault acknowledges."""
    with bench(claim.variant, _workload(claim)) as here:
        recording = here.record()
    said = recording.stderr_tail.decode("utf-8", "replace").strip().rpartition("\n")[2]
    shown = f"{len(recording.acks)} records acknowledged; exit code {recording.exit_code}"
    return Fact(value=len(recording.acks), shown=f"{shown}; {said}" if said else shown)


def sync_decides(claim: Claim) -> Fact:
    """Whether it is the fsync of the temporary file before its rename that keeps the transcript whole.

    Each fsync of this kind is left out of the recording, and what a power loss can then leave is explored again.
    """
    asked = msgspec.structs.replace(claim, finds=("B1", "B2", "B3", "B6"), damage=("torn", "empty", "nul"))
    with bench(claim.variant, workload_of(claim)) as here:
        recording, trace = recorded(here)
        found = audit(trace, load_profiles(claim.profiles), of_finds(asked)(here, recording))
    syncs = [each for each in found.barriers if each.kind == "fsync" and each.position == "before its rename"]
    bad = {item.under: item.states for each in syncs for item in each.removals if item.under != KILL}
    needed = [f"{states:,} under {name}" for name, states in bad.items() if states]
    count = sum(len(each.operations) for each in syncs)
    shown = f"{count} syncs of a temporary file before its rename"
    if count:
        shown += f"; without them states with a transcript that is not whole: {', '.join(needed) or 'none'}"
    return Fact(value=bool(needed), shown=shown)


MEASUREMENTS: Mapping[str, Callable[[Claim], Fact]] = MappingProxyType(
    {
        "acknowledged": acknowledged,
        "cleaned_by_flag": cleaned_by_flag,
        "outcome": outcome,
        "refusal": refusal,
        "refused": refused,
        "repaired_by_hand": repaired_by_hand,
        "still_refused": still_refused,
        "sync_decides": sync_decides,
    }
)
"""By the name that a claim gives."""
