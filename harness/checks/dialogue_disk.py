"""What stands whole in a client's transcript at the end of a life: read from the tree, not from what was sent. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from harness.checks.conversation import Conversation, Record, record_of
from harness.checks.conversation_faults import faults_of
from harness.checks.summary import object_in
from harness.core.api_log import hash_of
from harness.core.dialogue import LifeSeen
from harness.core.tree import File, Tree
from harness.core.verdict import Violation

_IDS_SHOWN = 6


class OnDisk(NamedTuple):
    """``pairs`` are the ids of calls that stand with their results; ``last`` is what the last whole record holds.

    Of ``last``: ("call" or "result", id), or (role, hash of a text); ``texts`` are these of all records.
    """

    pairs: frozenset[str]
    last: frozenset[tuple[str, str]]
    texts: frozenset[tuple[str, str]] = frozenset()


def transcript_of(life: LifeSeen) -> str:
    """Return the path of the transcript that a life worked on: that of its session, else the largest; may be empty."""
    return find_transcript(life.tree, {client.session_id for client in life.clients if client.session_id})


def find_transcript(tree: Tree, sessions: set[str], before: Tree | None = None) -> str:
    """Return the path of a main transcript in a tree, one of ``sessions`` if there is one; else an empty string.

    With ``before`` it is one that is new or has changed since, where there is any: what a life has worked on.
    """
    found = [
        (path.rsplit("/", 1)[-1].removesuffix(".jsonl") in sessions, file.content.size, path)
        for path, file in tree.files()
        if "projects/" in path and path.endswith(".jsonl") and not path.rsplit("/", 1)[-1].startswith("agent-")
    ]
    changed = [each for each in found if before is not None and before.node_at(each[2]) != tree.node_at(each[2])]
    return max(changed or found)[2] if found else ""


def what_matters(tree: Tree) -> Hashable | None:
    """Return what of a tree decides what a resume of a conversation says; ``None`` where there is none to resume.

    That is the transcripts, byte by byte, and whether the settings beside them can be read.
    """
    files = dict(tree.files())
    transcripts = tuple(
        (path, file.content.digest)
        for path, file in sorted(files.items())
        if "projects/" in path and path.endswith(".jsonl") and file.content.size
    )
    settings = tuple(
        (path, object_in(file.content.to_bytes()) is not None)
        for path, file in sorted(files.items())
        if "/" not in path and path.endswith(".json")
    )
    return (transcripts, settings) if transcripts else None


def on_disk(life: LifeSeen) -> OnDisk:
    """Return what stands whole in the transcript of a life."""
    node = life.tree.node_at(transcript_of(life)) if transcript_of(life) else None
    calls: set[str] = set()
    results: set[str] = set()
    texts: set[tuple[str, str]] = set()
    last: frozenset[tuple[str, str]] = frozenset()
    for record in _records(_lines(node.content.to_bytes() if isinstance(node, File) else b"")):
        items = frozenset(_items(record)) if record.sent else frozenset()
        calls |= {name for kind, name in items if kind == "call"}
        results |= {name for kind, name in items if kind == "result"}
        texts |= {(kind, name) for kind, name in items if kind not in ("call", "result")}
        last = items
    return OnDisk(frozenset(calls & results), last, frozenset(texts))


def wrong_on_disk(lives: Sequence[LifeSeen], rows: Iterable[str]) -> tuple[Violation, ...]:
    """Return what is wrong in the transcripts that lives leave, by the rows of bytes and conversations among ``rows``.

    These are all that one of them worked on: 1.0.43 begins a new one with every resume. A turn that is still open at
    the end of one is no fault: the next resume may close it.
    """
    tree, wanted = lives[-1].tree, frozenset(rows)
    paths = dict.fromkeys(path for path in map(transcript_of, lives) if path)
    return tuple(each for path in paths for each in _wrong_in(path, tree.node_at(path), wanted))


def _wrong_in(path: str, node: object, wanted: frozenset[str]) -> list[Violation]:
    if not isinstance(node, File):
        return []
    found, lines = [], _lines(node.content.to_bytes())
    glued = [line for line in lines if line.value is None]
    if glued and "B2" in wanted:
        first = glued[0]
        text = f"a line of {first.size:,} bytes at offset {first.offset} is no JSON object" + (
            f" (and {len(glued) - 1} more)" if len(glued) > 1 else ""
        )
        found.append(Violation(invariant="B2", path=path, damage="torn", message=text, offset=first.offset))
    conversation = Conversation(tuple(_records(lines)))
    faults = [fault for fault in faults_of(conversation) if not fault.open and fault.invariant in wanted]
    for name in dict.fromkeys(fault.invariant for fault in faults):
        mine = [fault for fault in faults if fault.invariant == name]
        ids = tuple(dict.fromkeys(each for fault in mine for each in fault.ids))[:_IDS_SHOWN]
        text = mine[0].what + (f" (and {len(mine) - 1} more)" if len(mine) > 1 else "")
        found.append(Violation(invariant=name, path=path, damage=mine[0].damage, message=text, ids=ids))
    return found


class _Line(NamedTuple):
    """A whole line that is not empty; ``value`` is ``None`` where it is no JSON object."""

    offset: int
    size: int
    value: dict[str, Any] | None


def _lines(data: bytes) -> list[_Line]:
    lines, offset = [], 0
    for line in data[: data.rfind(b"\n") + 1].split(b"\n"):
        if line:
            lines.append(_Line(offset, len(line), object_in(line)))
        offset += len(line) + 1
    return lines


def _records(lines: Iterable[_Line]) -> list[Record]:
    values = (line.value for line in lines)
    return [record for value in values if value is not None and (record := record_of(value)) is not None]


def _items(record: Record) -> list[tuple[str, str]]:
    found = []
    for block in record.blocks:
        kind = block.get("type")
        if kind == "tool_use":
            found.append(("call", str(block.get("id"))))
        elif kind == "tool_result":
            found.append(("result", str(block.get("tool_use_id"))))
        elif kind == "text":
            found.append((record.type, hash_of(str(block.get("text")))))
    return found
