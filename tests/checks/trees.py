"""Shorthand of the tests in this folder: judge hand-written trees against a scripted run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from harness.checks import Expectation, FileBinding, Judge
from harness.core.fault import FaultClass
from harness.core.tree import tree_of
from harness.core.verdict import Violation
from harness.explore import explore
from harness.explore.script import Script

LOG = FileBinding("log.jsonl", "log", id_key="id")
HEALED = FileBinding("log.jsonl", "log", id_key="id", torn_tail="healed")
PLAIN = FileBinding("log.jsonl", "log")
DOCUMENT = FileBinding("state.json", "document")
TRANSCRIPT = FileBinding("p/*.jsonl", "transcript")
REGISTRY = FileBinding("r/*.json", "registry")


def record(number: int, text: str = "text") -> bytes:
    return json.dumps({"id": number, "text": text * number}).encode() + b"\n"


def log_run(count: int = 3, start: bytes = b"") -> Script:
    """An appender that acknowledges each record."""
    script = Script(tree_of({"log.jsonl": start})) if start else Script()
    for number in range(1, count + 1):
        fd = script.open("log.jsonl", append=True)
        script.write(fd, record(number))
        script.close(fd)
        script.ack(number)
    return script


def document_run(count: int = 3, write: Callable[[Script, str, bytes], None] = Script.replace) -> Script:
    script = Script()
    for number in range(1, count + 1):
        write(script, "state.json", b'{"version": %d}\n' % number)
        script.ack(number)
    return script


def judge(
    script: Script,
    bindings: FileBinding | Iterable[FileBinding],
    files: dict[str, bytes],
    acked: int | list[str] = 0,
    *,
    fault_class: FaultClass = "none",
    invariants: str | Iterable[str] | None = None,
    masked: bool = False,
) -> list[Violation]:
    bound = (bindings,) if isinstance(bindings, FileBinding) else tuple(bindings)
    expectation = Expectation.from_trace(script.trace(), bound, masked=masked)
    chosen = (invariants,) if isinstance(invariants, str) else invariants
    return list(Judge(bound, expectation, chosen).judge(tree_of(files), acked, fault_class))


def explored(script: Script, bindings: FileBinding | Iterable[FileBinding], *classes: str) -> set[tuple[str, str]]:
    """Return (invariant, damage) of everything violated in the crash states of a run."""
    bound = (bindings,) if isinstance(bindings, FileBinding) else tuple(bindings)
    trace = script.trace()
    found: set[tuple[str, str]] = set()
    for fault_class in classes or ("kill",):
        predicate = Judge(bound, Expectation.from_trace(trace, bound)).judge
        groups = explore(trace, fault_class, predicate).groups  # type: ignore[arg-type]
        found |= {(g.invariant, g.damage) for g in groups if g.severity == "violation"}
    return found


def names(violations: Iterable[Violation]) -> list[tuple[str, str]]:
    return [(v.invariant, v.damage) for v in violations if v.severity == "violation"]
