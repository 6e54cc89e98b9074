"""W4 on the operations of a run: write, fsync the temporary file, rename, fsync the directory, acknowledge.

A remark, never a violation by itself: what a power loss leaves is judged on states, per file system
(:mod:`harness.explore.power`), and some writers keep their word in another order. The remark says where to look.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.discipline import TraceView
from harness.checks.invariant import check
from harness.core.operation import Ack, AnyOperation, Open, Rename, Sync, Truncate, Write
from harness.core.role import path_role
from harness.core.tree import File, Tree
from harness.core.verdict import Violation

_EVERYTHING = ("filesystem", "all")


@check("W4", "trace")
def content_is_durable_before_it_gets_its_name(view: TraceView) -> Iterator[Violation]:
    """A file that is renamed to a document's name has nothing that no fsync covers."""
    unsynced: dict[int, int] = {}
    for op, before, _ in view.steps():
        if isinstance(op, Write):
            unsynced[op.ino] = unsynced.get(op.ino, 0) + len(op.data)
        elif isinstance(op, Truncate) or (isinstance(op, Open) and op.truncated):
            unsynced.setdefault(op.ino, 0)
        elif isinstance(op, Sync):
            if op.scope in _EVERYTHING:
                unsynced.clear()
            elif op.scope in ("file", "data"):
                unsynced.pop(op.ino, None)
        elif isinstance(op, Rename) and _publishes(view, op, before) and before.names[op.path] in unsynced:
            yield Violation(
                invariant="W4",
                severity="information",
                path=op.to,
                damage="other",
                message=f"operation {op.seq} renames {path_role(op.path)} to {path_role(op.to)}, and no fsync covers "
                f"{unsynced[before.names[op.path]]} bytes of it",
            )


@check("W4", "trace")
def name_is_durable_before_it_is_acknowledged(view: TraceView) -> Iterator[Violation]:
    """Between the rename to a document's name and the next acknowledgement its directory is synced."""
    renamed: dict[int, Rename] = {}
    for op, before, after in view.steps():
        if isinstance(op, Rename) and _publishes(view, op, before):
            renamed[_directory_of(after, op.to)] = op
        elif isinstance(op, Sync):
            if op.scope in _EVERYTHING:
                renamed.clear()
            else:
                renamed.pop(op.ino, None)
        elif isinstance(op, Ack):
            for rename in renamed.values():
                yield Violation(
                    invariant="W4",
                    severity="information",
                    path=rename.to,
                    damage="other",
                    message=f"operation {op.seq} acknowledges after the rename to {path_role(rename.to)} at operation "
                    f"{rename.seq}, and no fsync of the directory is between them",
                )
            renamed.clear()


def _publishes(view: TraceView, op: AnyOperation, before: Tree) -> bool:
    """Whether a rename gives a file the name of a document or a log."""
    if not isinstance(op, Rename) or op.exchange or not isinstance(before.node_at(op.path), File):
        return False
    binding = view.bindings.of(op.to)
    return binding is not None and not binding.litter and (binding.holds_document or binding.holds_records)


def _directory_of(tree: Tree, path: str) -> int:
    directory = path.rpartition("/")[0]
    return tree.names[directory] if directory else 0
