"""Shorthand of the tests in this folder: transcripts told record by record, and valid API messages by hypothesis."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from harness.checks import conversation_of
from harness.checks.conversation import Conversation
from harness.checks.conversation_faults import faults_of

Json = dict[str, Any]


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def use(name: str) -> Json:
    return {"type": "tool_use", "id": name, "name": "Read", "input": {}}


def result(name: str, content: str = "what it read", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": name, "content": content, **more}


class Tale:
    """Tells a transcript. Each record hangs below the one before unless ``parent`` says otherwise."""

    def __init__(self, session: str = "s0") -> None:
        self.session = session
        self.records: list[Json] = []
        self.lines_of: dict[str, str] = {}
        self.count = 0

    def record(self, kind: str, *, parent: str | None = "", **fields: Any) -> str:
        """Add a chain record and return its uuid; the empty parent is the last one told."""
        self.count += 1
        last = next((r["uuid"] for r in reversed(self.records) if "uuid" in r), None)
        record = {
            "parentUuid": last if parent == "" else parent,
            "isSidechain": False,
            "sessionId": self.session,
            "type": kind,
            "uuid": uuid(self.count),
            "timestamp": "2026-04-09T08:00:00.000Z",
            **fields,
        }
        self.records.append(record)
        return str(record["uuid"])

    def plain(self, kind: str, **fields: Any) -> None:
        """Add a record without a uuid."""
        self.records.append({"type": kind, **fields})

    def user(self, *blocks: Json | str, **more: Any) -> str:
        content: Any = [text(block) if isinstance(block, str) else block for block in blocks]
        if len(blocks) == 1 and isinstance(blocks[0], str):
            content = blocks[0]
        return self.record("user", message={"role": "user", "content": content}, **more)

    def line(self, message_id: str, *blocks: Json, **more: Any) -> str:
        """Add one line of an API response."""
        message = {"id": message_id, "type": "message", "role": "assistant", "content": list(blocks)}
        name = self.record("assistant", message=message, **more)
        for block in blocks:
            if block["type"] == "tool_use":
                self.lines_of[block["id"]] = name
        return name

    def assistant(self, *blocks: Json | str) -> None:
        """Add an API response, one line per block."""
        message_id = f"msg_{self.count}"
        for block in blocks:
            self.line(message_id, text(block) if isinstance(block, str) else block)

    def results(self, *names: str, tree: bool = True, **more: Any) -> None:
        """Add a user record per result: each below the call that it answers, or one below the other."""
        for name in names:
            parent = self.lines_of.get(name, "") if tree else ""
            self.user(result(name, **more), parent=parent)

    def turn(self, *names: str, tree: bool = True) -> Tale:
        """Prompt, parallel calls, their results, an answer."""
        self.user(f"do {' '.join(names)}")
        if names:
            self.assistant("let me see", *map(use, names))
            self.results(*names, tree=tree)
        self.assistant("done")
        return self

    def without(self, *names: str) -> Tale:
        """Drop the records of these uuids from the file: nobody else notices."""
        self.records = [record for record in self.records if record.get("uuid") not in names]
        return self

    @property
    def data(self) -> bytes:
        return lines(self.records)

    @property
    def conversation(self) -> Conversation:
        return conversation_of(self.records)

    def faults(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(fault.invariant, fault.ids) for fault in faults_of(self.conversation)]


def lines(records: Iterable[Json]) -> bytes:
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


@st.composite
def valid_messages(draw: st.DrawFn) -> list[Json]:
    """Messages that the API takes: every call answered at once, results first, ids unique."""
    messages: list[Json] = []
    count = 0
    pending: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        answers = [result(name) for name in draw(st.permutations(pending))]
        words = [text(f"words {count}") for _ in range(draw(st.integers(0 if answers else 1, 2)))]
        messages.append({"role": "user", "content": answers + words})
        names = [f"toolu_{count + n:02d}" for n in range(draw(st.integers(0, 3)))]
        count += len(names)
        said = [text(f"said {count}") for _ in range(draw(st.integers(0 if names else 1, 1)))]
        messages.append({"role": "assistant", "content": said + [use(name) for name in names]})
        pending = names
    if pending:
        messages.append({"role": "user", "content": [result(name) for name in draw(st.permutations(pending))]})
    return messages


turns = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=5)
"""Turns of a tale: parallel calls, and whether their results form a tree."""


def tale_of(shape: Iterable[tuple[int, bool]]) -> Tale:
    tale, count = Tale(), 0
    for calls, tree in shape:
        tale.turn(*(f"toolu_{count + n:02d}" for n in range(calls)), tree=tree)
        count += calls
    return tale
