"""Three trees side by side: as the run began, as the fault left it, as the undisturbed run leaves it.

Outlines only: paths, sizes, digests, records by offset, size, type and id. Bytes only where content was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.core.apply import apply
from harness.core.fault import Kill, Short
from harness.core.operation import Write
from harness.core.outline import EntryOutline, TreeOutline, entry_outline, outline_of
from harness.core.tree import File, Tree
from harness.core.verdict import Finding
from harness.report.hexdump import hexdump
from harness.report.html.evidence import Recorded
from harness.report.sentence import plan_of

PATHS_SHOWN = 24
HEX_BYTES = 512
_BEFORE_BYTES = 128


class TreeRow(NamedTuple):
    """A path in the three trees; ``None`` where it has no such name or it is not known."""

    path: str
    began: EntryOutline | None
    left: EntryOutline | None
    ends: EntryOutline | None
    focus: bool


class Trees(NamedTuple):
    """The paths that differ, the number of those that do not, and those of the damaged file with their records."""

    rows: tuple[TreeRow, ...]
    same: int
    more: int
    focus: tuple[tuple[str, EntryOutline | None], ...]
    left_known: bool
    run_known: bool


def left_tree(finding: Finding, recorded: Recorded) -> Tree | None:
    """Return the tree that a kill leaves of the recorded run, at a short write too; ``None`` for other faults.

    And for one within another order of operations than the recorded one.
    """
    plan = plan_of(finding)
    fault = plan.faults[0] if len(plan.faults) == 1 and plan.schedule is None else None
    if not isinstance(fault, Kill) and not (isinstance(fault, Short) and fault.kill):
        return None
    index = recorded.index_of(fault.at)
    if index is None:
        return None
    tree = recorded.trace.start
    for op in recorded.trace.operations[:index]:
        tree = apply(tree, op)
    op = recorded.trace.operations[index]
    if fault.at.phase == "after":
        return apply(tree, op)
    if fault.at.phase == "torn" and isinstance(op, Write):
        node = tree.nodes.get(op.ino)
        if isinstance(node, File):
            torn = node.content.write(op.offset, op.data[: fault.at.bytes])
            return tree.with_node(op.ino, node._replace(content=torn))
    return tree


def trees_of(finding: Finding, recorded: Recorded | None, left: TreeOutline | None) -> Trees | None:
    """Return the three trees of a finding; ``None`` where nothing is known of them."""
    if left is None and recorded is not None:
        tree = left_tree(finding, recorded)
        left = outline_of(tree, finding.path) if tree is not None else None
    if recorded is None and left is None:
        return None
    after = {entry.path: entry for entry in left.entries} if left is not None else {}
    start, end = (recorded.trace.start, recorded.end) if recorded is not None else (None, None)
    paths = {*after, *(start.names if start else ()), *(end.names if end else ())}
    rows, same = [], 0
    for path in sorted(paths, key=lambda each: (each != finding.path, each)):
        began, ends, focus = _entry(start, path, finding), _entry(end, path, finding), path == finding.path
        row = TreeRow(path, began, after.get(path), ends, focus)
        if not focus and _alike([began, ends, *([row.left] if left is not None else [])]):
            same += 1
        else:
            rows.append(row)
    return Trees(
        rows=tuple(rows[:PATHS_SHOWN]),
        same=same,
        more=len(rows) - len(rows[:PATHS_SHOWN]),
        focus=_focus(rows, left is not None, recorded is not None),
        left_known=left is not None,
        run_known=recorded is not None,
    )


def _entry(tree: Tree | None, path: str, finding: Finding) -> EntryOutline | None:
    node = tree.node_at(path) if tree is not None else None
    return None if node is None else entry_outline(path, node, path == finding.path)


def _alike(entries: Sequence[EntryOutline | None]) -> bool:
    return len({(entry.size, entry.digest) if entry is not None else None for entry in entries}) == 1


def _focus(
    rows: Sequence[TreeRow], left_known: bool, run_known: bool
) -> tuple[tuple[str, EntryOutline | None], ...]:
    row = next((row for row in rows if row.focus), None)
    if row is None or not any(entry is not None and entry.records for entry in (row.began, row.left, row.ends)):
        return ()
    shown = [
        ("The run began with", row.began, run_known),
        ("The fault left", row.left, left_known),
        ("Undisturbed it ends with", row.ends, run_known),
    ]
    return tuple((title, entry) for title, entry, known in shown if known)


def hex_of(finding: Finding, recorded: Recorded | None) -> list[tuple[str, str]]:
    """Return the bytes of the damaged file as (title, dump), around the damage: only for who asked for content."""
    if recorded is None:
        return []
    trees = [("The fault left", left_tree(finding, recorded)), ("Undisturbed it ends with", recorded.end)]
    out = []
    for title, tree in trees:
        node = tree.node_at(finding.path) if tree is not None else None
        if isinstance(node, File):
            offset = finding.evidence.get("offset")
            middle = offset if isinstance(offset, int) and offset >= 0 else min(node.content.size, HEX_BYTES)
            start = max(0, middle - _BEFORE_BYTES) // 16 * 16
            data = node.content.read(start, start + HEX_BYTES)
            size = f"{node.content.size:,} bytes"
            out.append((f"{title} ({size}, from {start:,})", hexdump(data, start) or "no byte from there on"))
    return out
