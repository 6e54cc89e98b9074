"""W5: a rename that the system refuses is made good (retry, fallback) or surfaced, and the old file is intact.

Refusals of the field: EXDEV (a temporary on another file system), EPERM and EBUSY (somebody holds the destination: a
sharing violation). That it was not swallowed is W8's question too, asked here of these refusals alone; that whatever
was at the destination before is still there, or a version that follows it, is asked nowhere else for files that are
no documents.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from harness.checks.invariant import check
from harness.checks.outcome import OutcomeView, swallowed
from harness.checks.summary import is_json
from harness.core.apply import apply
from harness.core.content import Content
from harness.core.operation import Rename
from harness.core.role import path_role
from harness.core.tree import File, Tree
from harness.core.verdict import Damage, Violation

REFUSALS = frozenset({errno.EXDEV, errno.EPERM, errno.EBUSY})
"""The errors with which a rename is refused although disk and permissions are in order."""


def _refused(view: OutcomeView) -> Rename | None:
    operation = view.run.delivered[0].operation
    return operation if isinstance(operation, Rename) and operation.error in REFUSALS else None


@check("W5", "outcome")
def refused_rename_is_made_good(view: OutcomeView) -> Iterator[Violation]:
    """Retried, replaced by something else, or reported; and the destination is not damaged by it."""
    rename = _refused(view)
    if view.fault_class != "errno" or rename is None:
        return
    name = errno.errorcode[rename.error]
    to = rename.to if rename.to in view.names.start else path_role(rename.to)
    different = swallowed(view)
    if different:
        yield Violation(
            invariant="W5",
            path=to,
            damage="silent",
            message=f"a rename refused with {name} was followed by success, and {len(different)} roles differ from "
            "the undisturbed run",
        )
    old = _before(view)
    damage = _damage(view, rename, old) if old is not None else None
    if old is not None and damage is not None:
        yield Violation(
            invariant="W5",
            path=to,
            damage=damage,
            message=f"a rename refused with {name} cost the old file: {_size(view.run.final, rename.to)} "
            f"instead of {old.size} bytes",
        )


def _before(view: OutcomeView) -> Content | None:
    """Return what the destination held when the rename was refused, as far as the trace of the run tells."""
    trace, first = view.run.trace, view.run.delivered[0]
    if trace is None or not isinstance(first.operation, Rename):
        return None
    tree = trace.start
    for op in trace.operations:
        if op.seq == first.seq:
            break
        tree = apply(tree, op)
    return _content(tree, first.operation.to)


def _content(tree: Tree, path: str) -> Content | None:
    node = tree.node_at(path)
    return node.content if isinstance(node, File) else None


def _size(tree: Tree, path: str) -> str:
    content = _content(tree, path)
    return "nothing" if content is None else f"{content.size}"


def _damage(view: OutcomeView, rename: Rename, old: Content) -> Damage | None:
    """Return what happened to the destination, or ``None``: it is as it was, a known version, or goes on from there."""
    now = _content(view.run.final, rename.to)
    history = view.histories.get(rename.to)
    if now is None:
        return None if history is not None and history.last is None else "missing"
    if now == old or (history is not None and now in history.versions):
        return None
    binding = view.bindings.of(rename.to)
    if not now.size:
        return "empty" if old.size else None
    if binding is not None and binding.holds_records:
        return None if now.size >= old.size and now.read(0, old.size) == old.to_bytes() else "lost"
    if binding is not None and binding.holds_document and binding.json and is_json(now.to_bytes()):
        return None  # after a refusal the program may go on to versions of its own
    if history is None:
        return None if _content(view.null.final, rename.to) == now else "other"
    return "torn"
