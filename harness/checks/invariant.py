"""The registry of invariants: a row per id, plain functions per scope.

A row says which faults can violate it, in letters: P process kill, E errno or short write, C concurrent writer or
reader, L power loss, X refused lock or rename, S a signal that can be caught (P is SIGKILL and those), D a start on
documents that something else has damaged. An invariant is judged only under the fault classes of its row, except on
the null run, which every invariant judges.

A further family of invariants defines its rows and decorates its functions; nothing else knows the ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from harness.core.fault import FaultClass

Scope = Literal["file", "names", "tree", "trace", "outcome", "recovery", "listing", "reads"]
"""What a check sees: one file, the names of a tree, a tree with its files, the operations, two runs, a repair, a
listing, what a concurrent reader saw."""

_LETTERS: Mapping[str, tuple[FaultClass, ...]] = {
    "P": ("kill", "signal"),
    "E": ("errno", "short"),
    "C": ("concurrency",),
    "L": ("power",),
    "X": ("errno",),
    "S": ("signal",),
    "D": ("damage",),
}

Check = Callable[..., Any]
CheckT = TypeVar("CheckT", bound=Check)


class Joined(NamedTuple):
    """A function of a row; for scope "file", the formats it looks at (empty: all)."""

    function: Check
    formats: frozenset[str]


class Invariant(msgspec.Struct, frozen=True, kw_only=True):
    """One row. ``source`` names the public issue it was seen in."""

    id: str
    title: str
    faults: str
    source: str
    fault_classes: frozenset[FaultClass]
    checks: dict[Scope, list[Joined]] = {}

    def judges(self, fault_class: FaultClass) -> bool:
        """Whether the row names this fault class; the null run ("none") is judged by every row."""
        return fault_class == "none" or fault_class in self.fault_classes


_ROWS: dict[str, Invariant] = {}
INVARIANTS: Mapping[str, Invariant] = _ROWS
"""All rows by id."""


class UnknownInvariantError(ValueError):
    """An id that is no row; the message lists the valid ones."""


def define(invariant: str, title: str, *, faults: str, source: str) -> None:
    """Add a row. ``faults`` is a string of the letters above."""
    classes = frozenset(fault_class for letter in faults for fault_class in _LETTERS[letter])
    _ROWS[invariant] = Invariant(
        id=invariant, title=title, faults=faults, source=source, fault_classes=classes, checks={}
    )


def check(invariant: str, scope: Scope, formats: frozenset[str] = frozenset()) -> Callable[[CheckT], CheckT]:
    """Join a function to a row: called with the view of its scope, it returns violations."""

    def join(function: CheckT) -> CheckT:
        _ROWS[invariant].checks.setdefault(scope, []).append(Joined(function, formats))
        return function

    return join


def select(invariants: Iterable[str] | None) -> tuple[Invariant, ...]:
    """Return the rows of these ids in registry order; all for ``None`` or none named.

    Raises :class:`UnknownInvariantError`.
    """
    wanted = set(invariants or ())
    unknown = sorted(wanted - set(_ROWS))
    if unknown:
        raise UnknownInvariantError(f"unknown invariant {', '.join(unknown)}; valid: {', '.join(_ROWS)}")
    return tuple(row for name, row in _ROWS.items() if not wanted or name in wanted)


def checks_of(
    rows: Iterable[Invariant], scope: Scope, fault_class: FaultClass, file_format: str = ""
) -> tuple[Check, ...]:
    """Return the functions of ``scope`` that judge under ``fault_class``, for files of one format if given."""
    return tuple(
        joined.function
        for row in rows
        if row.judges(fault_class)
        for joined in row.checks.get(scope, ())
        if not joined.formats or not file_format or file_format in joined.formats
    )


define("B1", "a record file is empty or ends with a newline", faults="PEL", source="#52387")
define("B2", "every line is exactly one JSON object", faults="PCLD", source="#81843")
define("B3", "no NUL byte", faults="L", source="#49876, #59811")
define("B4", "valid UTF-8, no unpaired surrogate escape", faults="PE", source="#1832")
define("B5", "every acknowledged record is there, once, byte for byte", faults="PCLD", source="catalyst#3350")
define("B6", "everything before the record in flight is intact", faults="PEL", source="letta#3590")
define("B7", "after recovery the next append is a line of its own", faults="PED", source="oh-my-pi#8596")
define("B8", "a known record type carries its required fields", faults="C", source="#24663")
define("B9", "sessionId equals the stem of the file", faults="C", source="#29342")
define("G1", "no uuid twice among chain records", faults="CE", source="session-mcp")
define("G2", "every parentUuid is in the file", faults="PECL", source="#58554")
define("G3", "no cycle of parents", faults="C", source="changelog 2.1.30, 2.1.108")
define("G4", "resuming never cuts records off the conversation", faults="PC", source="#35024")
define("G5", "the conversation reaches the newest acknowledged record", faults="PCL", source="#48270")
define("G6", "a snapshot's messageId is no parent", faults="", source="cc_jsonl_fix")
define("G7", "no parent in a side chain's file", faults="C", source="#23375")
define("T1", "each tool_use is answered in the next user message", faults="PCL", source="#3003, #45286")
define("T2", "each tool_result names a tool_use of the message before", faults="PCL", source="#3003, #31328")
define("T3", "one result per tool_use", faults="PC", source="API text 3")
define("T4", "tool_use ids are unique", faults="C", source="#21088")
define("T5", "results come first, calls last in their messages", faults="PC", source="API docs")
define("T6", "the lines of one message are contiguous", faults="C", source="#63790")
define("T7", "compaction never separates a call and its result", faults="P", source="#8484")
define("T8", "no empty message or text; thinking first and unchanged", faults="P", source="#20705")
# What a repair makes up is judged after whatever made it necessary.
define("T9", "a made-up result is an error and claims no success", faults="PECL", source="repair practice")
define("M1", "a document is its old or its new version", faults="PELC", source="#59811")
define("M2", "a concurrent reader sees the old or the new version", faults="C", source="#29010")
define("M3", "no update of a concurrent writer is lost", faults="C", source="#1035")
define("M4", "one bad entry gives a warning and hides no other", faults="PLD", source="opencode#10904")
define("M5", "a registry entry names a transcript, a lease a registry entry", faults="PLD", source="#59811")
define("M6", "the index agrees with the transcripts and never goes back", faults="PCLD", source="#25032")
define(
    "M7", "the last title is found by a strict parse and by a tail scan", faults="PE", source="claude-agent-sdk"
)
define("M8", "recovery never destroys the only copy of anything", faults="PED", source="Roo-Code#6592")
define(
    "M9", "pin, title and archived flag survive, or recovery reports each as lost", faults="PLD", source="#59811"
)
define(
    "M10",
    "every intact session is listed or named in a warning, and resumed by its id",
    faults="PCLD",
    source="#59811, #25032",
)
define(
    "W1", "success is reported only if all bytes were written", faults="E", source="claude-agent-sdk-python#906"
)
define(
    "W2",
    "no new name is visible as a session before it is whole",
    faults="PE",
    source="claude-agent-sdk-python#906",
)
define("W3", "temporary files are bounded, beside their target, unlisted, swept", faults="P", source="#51325")
define(
    "W4",
    "a new version is durable before its name, and its name before it is acknowledged",
    faults="L",
    source="marktext#4852",
)
define("W5", "a refused rename is made good or surfaced, and the old file is intact", faults="X", source="#46881")
define("W6", "one write per record", faults="PC", source="penguin-harness#249")
define("W7", "a rewrite excludes those who append", faults="C", source="#81843")
define("W8", "a refused operation is reported", faults="E", source="opencode#7607")
define("W9", "what was acknowledged before a signal survives it", faults="S", source="claude-agent-sdk-python#625")
define("W10", "a repair is idempotent and copies before it destroys", faults="PELD", source="#22107")
