"""Bytes and a name → an explanation: which causes could have made this file, on what evidence.

Nothing is known but the bytes: no recording, no writer, no older version. So an answer is about what a cause *can* do
to a file (:mod:`harness.checks.explain.rules`), and a file that is whole may still be old. Time and memory are linear
in the size. No content leaves: sentences hold sizes, offsets and, of transcripts, ids.

Non-goals: repair (:mod:`harness.report.remedy` tells a user what to do), relations between files, reading files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from harness.checks.explain.document import cut_at_end, document_damage, repeated_keys
from harness.checks.explain.explanation import CAUSES, Answer, Cause, CauseAnswer, Explanation, Seen, Shape, State
from harness.checks.explain.nuls import nul_runs
from harness.checks.explain.prevention import prevention
from harness.checks.explain.records import Records, read_records
from harness.checks.explain.rules import answers
from harness.checks.explain.scan import Scan
from harness.checks.explain.shape import UTF_16, shape_of
from harness.checks.explain.sqlite import MAGIC, ROUGHLY, sqlite_damage
from harness.checks.explain.transcript import FOLLOWS, is_transcript, transcript_damage
from harness.checks.summary import is_json

_RANK: dict[Answer, int] = {"could not": 0, "unlikely": 1, "could": 2}
_MAY_BE_OLD = "nothing is wrong with the bytes; it could still be an old version, or lack a lost update"
_NOT_JUDGED = "no format that is known here: only emptiness and NULs were looked for"


def explain(content: bytes, name: str, shape: Shape | None = None) -> Explanation:
    """Explain a file. ``name`` says what it is meant to be, unless ``shape`` does. Never raises."""
    meant = shape or shape_of(content, name)
    notes: list[str] = []
    seen = tuple(
        msgspec.structs.replace(item, causes=answers(item.pattern))
        for item in _grouped(_damage(content, meant, notes))
    )
    state: State = "damaged" if seen else "not judged" if meant in ("binary", "unknown", "text") else "sound"
    causes, several = _joined(seen)
    possible = [answer.cause for answer in causes if answer.answer == "could"]
    return Explanation(
        name=name,
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        shape=meant,
        state=state,
        summary=seen[0].what if seen else _NOT_JUDGED if state == "not judged" else _MAY_BE_OLD,
        seen=seen,
        causes=causes,
        several=several,
        prevention=prevention(possible, meant, [item.pattern for item in seen]) if seen else (),
        notes=tuple(notes),
    )


def _damage(data: bytes, shape: Shape, notes: list[str]) -> Iterator[Seen]:
    if shape == "binary":
        return  # NULs, and nothing at all, mean nothing there
    if not data:
        yield Seen(pattern="empty", what="the file has no bytes")
        return
    if shape == "sqlite" and data.startswith(MAGIC):
        notes.append(ROUGHLY)
        yield from sqlite_damage(data)
    elif data.startswith(UTF_16):
        if shape != "text":
            yield Seen(pattern="encoding", what="the file begins with the mark of UTF-16", size=2)
    elif 0 in data:
        runs = nul_runs(data)
        if shape == "sqlite":
            yield from islice(runs, 1)  # NULs further on are its own
            return
        yield from runs
        if shape == "records" and data.strip(b"\0"):
            yield from _of_records(read_records(data), notes, holed=True)
    elif shape == "records":
        yield from _whole_or_records(data, notes)
    elif shape == "document":
        yield from _of_document(data, notes)
    elif shape == "text":
        yield from _cut_character(data)


def _of_document(data: bytes, notes: list[str]) -> Iterator[Seen]:
    if not is_json(data):
        yield from document_damage(data)
        return
    repeated = repeated_keys(data)
    if repeated:
        notes.append(
            f"{repeated:,} keys stand twice in their object, which serializers do not write: pages of two versions may "
            "have met without a trace in the grammar"
        )


def _whole_or_records(data: bytes, notes: list[str]) -> Iterator[Seen]:
    records = read_records(data)
    if not records.values and is_json(data):
        notes.append("the file is one JSON document over several lines, or no object, under a name of records")
        return
    if not records.values and not records.seen:
        yield Seen(pattern="empty", what="the file has no records, only blank lines")
    yield from _of_records(records, notes)


def _of_records(records: Records, notes: list[str], *, holed: bool = False) -> Iterator[Seen]:
    if records.whole_tail:
        notes.append(
            "the last record is whole and has no newline: a writer that writes it apart may have died before it, and "
            "the next record would be glued to this one"
        )
    if records.more:
        notes.append(f"{records.more:,} more lines are no records; they were counted and not looked at")
    yield from records.seen
    if not is_transcript(records.values):
        return
    unreadable = holed or any(item.pattern.partition("/")[0] != "torn_tail" for item in records.seen)
    followed = 0
    for item in transcript_damage(records.values, records.numbers):
        if unreadable and item.pattern in FOLLOWS:
            followed += 1
        else:
            yield item
    if followed:
        notes.append(
            f"{followed:,} faults of the conversation may be those of lines that cannot be read: not explained apart"
        )


def _cut_character(data: bytes) -> Iterator[Seen]:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            found = Scan("cut", len(data), inside=True, character=True)
            yield cut_at_end(data, found, "cut", "the text")


def _grouped(found: Iterable[Seen]) -> Iterator[Seen]:
    """Yield one of each pattern, the first, with how often it is there."""
    first: dict[str, Seen] = {}
    times: dict[str, int] = {}
    for item in found:
        first.setdefault(item.pattern, item)
        times[item.pattern] = times.get(item.pattern, 0) + item.times
    for pattern, item in first.items():
        yield msgspec.structs.replace(item, times=times[pattern])


def _joined(seen: Sequence[Seen]) -> tuple[tuple[CauseAnswer, ...], bool]:
    """Return the answers for a file that shows all of ``seen``, and whether no single cause explains it."""
    if not seen:
        return (), False
    worst = tuple(_pick(seen, cause, best=False) for cause in CAUSES)
    if any(answer.answer == "could" for answer in worst):
        return worst, False
    if len(seen) == 1:
        return worst, False
    return tuple(_pick(seen, cause, best=True) for cause in CAUSES), True


def _pick(seen: Sequence[Seen], cause: Cause, *, best: bool) -> CauseAnswer:
    index = CAUSES.index(cause)
    offered = [item.causes[index] for item in seen]
    chosen = max if best else min
    return chosen(offered, key=lambda answer: _RANK[answer.answer])
