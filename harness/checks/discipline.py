"""W3 and W6 on the operations of a run: temporary files used safely, records written whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.checks.binding import Bindings, FileBinding
from harness.checks.invariant import check, checks_of, select
from harness.checks.replaying import Names, as_asked, replay_histories
from harness.core.apply import apply
from harness.core.operation import AnyOperation, Close, Open, Rename, Truncate, Unlink, Write
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import File, Tree
from harness.core.verdict import Severity, Violation

_O_EXCL = 0o200
"""Of Linux and of recorded traces everywhere: flags are stored as the kernel of the recording had them."""
_TEMPORARIES_PER_PROCESS = 4
"""More unfinished temporary files of one role at once, per process, and nothing bounds them."""


class TraceView:
    """A trace with the tree before each operation, and the names of the whole run."""

    def __init__(self, trace: Trace, bindings: Bindings) -> None:
        self.trace = trace
        self.bindings = bindings
        self.names: Names = replay_histories(trace, bindings)[0]

    def steps(self) -> Iterator[tuple[AnyOperation, Tree, Tree]]:
        """Yield (operation, tree before, tree after); failed operations are left out."""
        tree = self.trace.start
        for op in self.trace.operations:
            if op.error:
                continue
            before, tree = tree, apply(tree, as_asked(op))
            yield op, before, tree

    def is_temporary(self, path: str) -> bool:
        """Whether the run uses ``path`` as a temporary file."""
        binding = self.bindings.of(path)
        return (binding is not None and binding.litter) or path in self.names.litter


def judge_trace(
    trace: Trace, bindings: Iterable[FileBinding] | Bindings, invariants: Iterable[str] | None = None
) -> tuple[Violation, ...]:
    """Return what is undisciplined about a run, whatever it left on disk; once per cause."""
    view = TraceView(trace, bindings if isinstance(bindings, Bindings) else Bindings(bindings))
    found: dict[tuple[str, str, str], Violation] = {}
    for function in checks_of(select(invariants), "trace", "none"):
        for violation in function(view):
            found.setdefault((violation.invariant, path_role(violation.path), violation.damage), violation)
    return tuple(found.values())


def _severity(view: TraceView, path: str) -> Severity:
    """Return how much an unusual temporary weighs: a violation only where the target declares such names."""
    binding = view.bindings.of(path)
    return "violation" if binding is not None and binding.litter else "information"


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


@check("W3", "trace")
def temporary_is_beside_target(view: TraceView) -> Iterator[Violation]:
    """A temporary file is renamed within its directory: elsewhere the rename may cross file systems.

    Of a program nobody described it is said only: here the rename went well.
    """
    for op, before, _ in view.steps():
        if not isinstance(op, Rename) or op.exchange or not view.is_temporary(op.path):
            continue
        if isinstance(before.node_at(op.path), File) and _directory(op.path) != _directory(op.to):
            yield Violation(
                invariant="W3",
                severity=_severity(view, op.path),
                path=op.path,
                damage="other",
                message=f"operation {op.seq} renames a temporary file into another directory "
                f"({path_role(op.path)} to {path_role(op.to)})",
            )


@check("W3", "trace")
def temporary_is_unique(view: TraceView) -> Iterator[Violation]:
    """No two processes have the same temporary file open for writing at once."""
    writers: dict[int, dict[int, int]] = {}
    actors = view.trace.actors
    for op, before, _ in view.steps():
        if isinstance(op, Close):
            open_by = writers.get(op.ino, {})
            process = _process(actors, op)
            open_by[process] = open_by.get(process, 1) - 1
        elif isinstance(op, Open) and op.path is not None and view.is_temporary(op.path):
            open_by = writers.setdefault(op.ino, {})
            process = _process(actors, op)
            if op.path in before.names and any(n > 0 for other, n in open_by.items() if other != process):
                yield Violation(
                    invariant="W3",
                    path=op.path,
                    damage="other",
                    message=f"operation {op.seq} opens a temporary file that another process is still writing",
                )
            open_by[process] = open_by.get(process, 0) + 1


def _process(actors: tuple[object, ...], op: AnyOperation) -> int:
    actor = actors[op.actor] if op.actor < len(actors) else None
    return getattr(actor, "process", 0)


@check("W3", "trace")
def temporary_has_a_name_of_its_own(view: TraceView) -> Iterator[Violation]:
    """The temporary of a document has a name that is not used again without O_EXCL.

    Else a second writer would write into the same file. To open again a file that is still there, as after mkstemp,
    is no second use. What is removed and never renamed (a journal, a lock) stands for the file it belongs to and has
    to have one name. A violation where the target declares the name as a
    temporary; of a program nobody described it is said only, because nobody can tell whether there is ever a second
    writer.
    """
    renamed = {op.path for op, _, _ in view.steps() if isinstance(op, Rename)}
    used: set[str] = set()
    for op, _, _ in view.steps():
        if not isinstance(op, Open) or not op.created or op.path not in renamed or not view.is_temporary(op.path):
            continue
        if op.path in used and not op.flags & _O_EXCL:
            yield Violation(
                invariant="W3",
                path=op.path,
                damage="other",
                severity=_severity(view, op.path),
                message=f"operation {op.seq} makes a temporary file under a name used before, without O_EXCL",
            )
        used.add(op.path)


@check("W3", "trace")
def temporaries_are_bounded(view: TraceView) -> Iterator[Violation]:
    """At no moment are there more unfinished temporary files of one role than a few per process.

    A role is judged whose names carry something that changes (a pid, a counter, a random infix); names that the
    run leaves for good, acknowledgement after acknowledgement, are counted too unless a binding knows them.
    """
    processes = len({getattr(actor, "process", 0) for actor in view.trace.actors}) or 1
    limit = _TEMPORARIES_PER_PROCESS * processes
    alive: dict[str, set[str]] = {}
    for op, before, after in view.steps():
        if before.names is after.names:
            continue
        if isinstance(op, Open) and op.created and op.path is not None and _may_pile_up(view, op.path):
            same = alive.setdefault(path_role(op.path), set())
            same.add(op.path)
            if len(same) > limit:
                yield Violation(
                    invariant="W3",
                    path=op.path,
                    damage="extra",
                    message=f"{len(same)} temporary files of one role exist at once after operation {op.seq}",
                )
        elif isinstance(op, Rename | Unlink):
            alive.get(path_role(op.path), set()).discard(op.path)


def _may_pile_up(view: TraceView, path: str) -> bool:
    if view.is_temporary(path):
        return True
    if view.bindings.of(path) is not None or path in view.names.start:
        return False
    # A leftover nobody bound, of a role that the run otherwise treats as temporary.
    role = path_role(path)
    return role != path and any(path_role(name) == role for name in view.names.litter)


@check("W6", "trace")
def record_is_one_write(view: TraceView) -> Iterator[Violation]:
    """Each write to a record file begins and ends between records.

    A lone newline that ends a tail this run found torn is a repair. A file no reader sees yet (temporary, unnamed)
    may be written in any pieces.
    """
    torn_before = {
        ino: node.content.size
        for ino, node in view.trace.start.nodes.items()
        if isinstance(node, File) and node.content.size and not _ends_line(node, node.content.size)
    }
    for op, before, _ in view.steps():
        if isinstance(op, Truncate):
            torn_before.pop(op.ino, None)
        if not isinstance(op, Write) or not op.intended:
            continue
        path = _visible_record_path(view, op, before)
        node = before.nodes.get(op.ino)
        if path is None or not isinstance(node, File):
            continue
        begins = op.offset == 0 or _ends_line(node, op.offset) or torn_before.get(op.ino) == op.offset
        if begins and op.intended.endswith(b"\n"):
            continue
        how = "begins inside a record" if not begins else "ends inside a record"
        yield Violation(
            invariant="W6",
            path=path,
            damage="torn",
            message=f"operation {op.seq} writes {len(op.intended)} bytes at offset {op.offset} and {how}",
            offset=op.offset,
        )


def _ends_line(node: File, offset: int) -> bool:
    return offset == 0 or node.content.read(offset - 1, offset) == b"\n"


def _visible_record_path(view: TraceView, op: Write, before: Tree) -> str | None:
    for path in before.names_of(op.ino):
        binding = view.bindings.of(path)
        # Without JSON nobody said that lines are records.
        if binding is not None and binding.holds_records and binding.json and not view.is_temporary(path):
            return path
    return None
