"""M2 on what a concurrent reader saw: the old or the new version of a document, and never a third.

The reader is a tool of the scenario: it opens the same documents while the target writes, and reports each read as a
value. This module judges them; it reads nothing.

Non-goals: the order of reads. A reader may be slow, so an older version after a newer one proves nothing; but to open
is one moment, so a document that was absent at the start alone, and that one reader has opened, is not gone when it
opens it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from harness.checks.binding import FileBinding
from harness.checks.expectation import Expectation
from harness.checks.invariant import check, checks_of, select
from harness.checks.summary import parse_json
from harness.core.content import content_of
from harness.core.fault import FaultClass
from harness.core.verdict import Damage, Violation


class Read(NamedTuple):
    """One read of a document. ``digest`` is what versions are compared by, ``None`` for "no such file"."""

    digest: bytes | None
    size: int = 0
    parses: bool = False
    was_there: bool = False
    """Whether the same reader had opened it before: what is gone then has been there."""


ABSENT = Read(None)
"""The reader found no file of that name."""
GONE = Read(None, was_there=True)
"""The reader found no file of a name that it had opened before."""


def read_of(data: bytes, expectation: Expectation) -> Read:
    """Return what a reader that got ``data`` reports."""
    try:
        parse_json(data)
        parses = True
    except ValueError:
        parses = False
    return Read(expectation.document_digest(content_of(data)), len(data), parses)


class ReadsView(NamedTuple):
    """What a reader saw, by path. ``exact``: the versions of the undisturbed run are all that there can be."""

    reads: Mapping[str, tuple[Read, ...]]
    expectation: Expectation
    exact: bool


def judge_reads(
    reads: Mapping[str, Iterable[Read]],
    expectation: Expectation,
    fault_class: FaultClass = "concurrency",
    *,
    exact: bool = True,
    invariants: Iterable[str] | None = None,
) -> tuple[Violation, ...]:
    """Return what is wrong with what a concurrent reader saw, once per path and kind of damage.

    Give ``exact=False`` where writers interleave: then a version that nobody wrote in the undisturbed run counts as
    one as long as it is JSON, and only what is none (torn, empty, gone) is a third.
    """
    view = ReadsView({path: tuple(each) for path, each in reads.items()}, expectation, exact)
    return tuple(v for function in checks_of(select(invariants), "reads", fault_class) for v in function(view))


@check("M2", "reads")
def reader_sees_no_third_version(view: ReadsView) -> Iterable[Violation]:
    """Each read of a document is one of its versions."""
    for path, reads in sorted(view.reads.items()):
        binding = view.expectation.bindings.of(path)
        if binding is None or not binding.holds_document:
            continue
        wrong: dict[Damage, list[Read]] = {}
        for read in reads:
            damage = _damage(view, path, read, binding)
            if damage is not None:
                wrong.setdefault(damage, []).append(read)
        for damage, seen in wrong.items():
            sizes = sorted({read.size for read in seen})
            span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
            yield Violation(
                invariant="M2",
                path=path,
                damage=damage,
                message=f"{len(seen)} of {len(reads)} reads saw a third version, of {span} bytes",
            )


def _damage(view: ReadsView, path: str, read: Read, binding: FileBinding) -> Damage | None:
    document = view.expectation.documents.get(view.expectation.key_of(path))
    if document is None:
        return None
    index = document.index(read.digest)
    if index > 0 or (index == 0 and not read.was_there):
        return None
    if read.digest is None:
        return "missing"
    if not read.size:
        return "empty"
    if binding.json and read.parses:
        return "other" if view.exact else None
    return "torn" if binding.json or view.exact else None
