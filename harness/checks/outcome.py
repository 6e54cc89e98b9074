"""W1 and W8: what a program said about a refused or shortened operation, against what it left.

*Reported* is a non-zero exit, an error line, or an acknowledgement withheld. *Repaired* is success and the final
tree of the undisturbed run, temporary files aside. A fault that is neither was swallowed. What a reported failure
left behind is judged like any other tree (:class:`harness.checks.judge.Judge` under ``errno`` or ``short``).

Trees of two runs are compared by role, with uuids, timestamps and long numbers masked; roles in which even two
undisturbed runs differ (:func:`unsteady_roles`) are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.checks.binding import Bindings, FileBinding
from harness.checks.invariant import check, checks_of, select
from harness.checks.replaying import Names, replay_histories
from harness.checks.versions import History, held_by
from harness.core.apply import apply
from harness.core.operation import Write
from harness.core.point import operation_path
from harness.core.role import mask_bytes, path_role
from harness.core.run import Recording
from harness.core.tree import Tree
from harness.core.verdict import Violation

_LONG_NUMBER = re.compile(rb"[0-9]{10,}(?:\.[0-9]+)?")
"""Milliseconds or nanoseconds since the epoch: the clock, never data of a workload."""


class OutcomeView(NamedTuple):
    """Two runs of one workload: undisturbed, and with ``fault_class`` ("short" or "errno") delivered."""

    null: Recording
    run: Recording
    bindings: Bindings
    names: Names
    fault_class: str
    operation: str
    histories: Mapping[str, History] = {}
    unsteady: frozenset[str] = frozenset()


def judge_outcome(
    null: Recording,
    run: Recording,
    bindings: Iterable[FileBinding] | Bindings = (),
    invariants: Iterable[str] | None = None,
    unsteady: frozenset[str] = frozenset(),
) -> tuple[Violation, ...]:
    """Return W1 or W8 where ``run`` swallowed the fault it met; nothing where no fault was delivered.

    ``unsteady`` are the path roles that differ between undisturbed runs already: nothing is read from those.

    Raises ``ValueError`` when the undisturbed recording has no trace (temporary files could not be told).
    """
    if not run.delivered:
        return ()
    if null.trace is None:
        raise ValueError("the recording of the undisturbed run has no trace")
    bound = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    names, histories = replay_histories(null.trace, bound)
    first = run.delivered[0]
    fault_class = "short" if _is_short(run) else "errno"
    operation = first.operation.kind if first.operation is not None else ""
    view = OutcomeView(null, run, bound, names, fault_class, operation, histories, unsteady)
    return tuple(v for function in checks_of(select(invariants), "outcome", "errno") for v in function(view))


def _is_short(run: Recording) -> bool:
    first = run.delivered[0]
    op = first.operation
    return "short" in first.fault or (isinstance(op, Write) and not op.error and len(op.data) < len(op.intended))


def how_reported(null: Recording, run: Recording) -> str:
    """Return how ``run`` reported its trouble; empty if it did not."""
    if run.ending == "exited" and run.exit_code not in (None, 0):
        return f"exit code {run.exit_code}"
    if run.signal is not None:
        return f"died of signal {run.signal}"
    withheld = len(null.acks) - len(run.acks)  # by number: ids may be random
    if withheld > 0:
        return f"{withheld} acknowledgements withheld"
    known = {_masked(line) for line in null.stderr_tail.split(b"\n")}
    if any(line.strip() and _masked(line) not in known for line in run.stderr_tail.split(b"\n")):
        return "a line on standard error"
    return ""


def _masked(data: bytes) -> bytes:
    return _LONG_NUMBER.sub(b"<n>", mask_bytes(data))


def tree_differences(left: Tree, right: Tree, names: Names, bindings: Bindings) -> list[str]:
    """Return the roles whose files differ between two runs; temporary files and directories are left out."""
    ours, theirs = _fingerprints(left, names, bindings), _fingerprints(right, names, bindings)
    return sorted({role for role, _ in ((ours - theirs) + (theirs - ours)).elements()})


def _fingerprints(tree: Tree, names: Names, bindings: Bindings) -> Counter[tuple[str, bytes]]:
    found: Counter[tuple[str, bytes]] = Counter()
    for path, ino in tree.names.items():
        binding = bindings.of(path)
        if (binding is not None and binding.litter) or names.is_litter(path):
            continue
        held = held_by(tree.nodes[ino])
        if held is not None:
            key = path if path in names.start else path_role(path)
            data = _masked(held.to_bytes())
            found[key, hashlib.blake2b(data, digest_size=16).digest()] += 1
    return found


def unsteady_roles(null: Recording, again: Recording, bindings: Iterable[FileBinding] = ()) -> frozenset[str]:
    """Return the roles of files that two undisturbed runs leave differently, even after masking.

    Raises ``ValueError`` when the first recording has no trace (temporary files could not be told).
    """
    if null.trace is None:
        raise ValueError("the recording of the undisturbed run has no trace")
    bound = Bindings(bindings)
    names = replay_histories(null.trace, bound)[0]
    return frozenset(tree_differences(null.final, again.final, names, bound))


def swallowed(view: OutcomeView) -> list[str]:
    """Return the roles left different by a fault that nobody was told of."""
    if view.run.ending != "exited" or how_reported(view.null, view.run):
        return []
    different = tree_differences(view.null.final, view.run.final, view.names, view.bindings)
    return [role for role in different if role not in view.unsteady]


def _verdict(view: OutcomeView, invariant: str, what: str) -> Iterator[Violation]:
    different = swallowed(view)
    if different:
        struck = _struck_role(view)
        role = struck if struck in different else different[0]
        others = f" and {len(different) - 1} more" if len(different) > 1 else ""
        yield Violation(
            invariant=invariant,
            path=role,
            damage="silent",
            message=f"{what} {view.operation or 'operation'} was followed by success, "
            f"and {role}{others} differs from the undisturbed run{_sizes(view, role)}",
        )


def _struck_role(view: OutcomeView) -> str:
    """Return the role of the file the fault struck, as far as the trace of the run tells."""
    trace, seq = view.run.trace, view.run.delivered[0].seq
    if trace is None:
        return ""
    tree = trace.start
    for op in trace.operations:
        if op.seq == seq:
            path = operation_path(op, tree)
            return path if path in view.names.start else path_role(path)
        tree = apply(tree, op)
    return ""


def _sizes(view: OutcomeView, role: str) -> str:
    def size(tree: Tree) -> int:
        return sum(
            file.content.size
            for path, file in tree.files()
            if (path if path in view.names.start else path_role(path)) == role
        )

    return f" ({size(view.run.final)} bytes instead of {size(view.null.final)})"


@check("W1", "outcome")
def short_write_is_noticed(view: OutcomeView) -> Iterator[Violation]:
    """Success is reported only if all bytes were written."""
    if view.fault_class == "short":
        yield from _verdict(view, "W1", "a shortened")


@check("W8", "outcome")
def error_is_reported(view: OutcomeView) -> Iterator[Violation]:
    """A refused operation is reported or made good."""
    if view.fault_class == "errno":
        yield from _verdict(view, "W8", "a refused")
