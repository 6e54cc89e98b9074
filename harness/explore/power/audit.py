"""Barrier audit: which syncs and renames of a writer hold something up, and under which profiles.

Every barrier is left out (a rename: replaced by rewriting its target in place), and the edited trace is explored under
each profile. Barriers of one kind at one place of the writer's cycle are a class: left out together, and one by one
where they are few. A barrier is load-bearing under a profile if anything is violated there without it that is not
violated with it; one that is load-bearing nowhere is *redundant* as far as these profiles and this run can tell.

Pure. What is owed is what the recorded run owes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.core.advice import AnyEdit, Audit, Barrier, DropSync, Removal, RewriteInPlace
from harness.core.operation import Ack, AnyOperation, Open, Rename, Sync, Unlink
from harness.core.profile import Profile
from harness.core.role import path_role
from harness.core.trace import Trace
from harness.core.tree import Directory, File
from harness.explore.power.candidates import Places
from harness.explore.power.measure import LIMIT, LimitReachedError, Measured, Meter, Predicate, key_of
from harness.explore.power.order import O_DSYNC, O_SYNC

SINGLES = 12
"""Barriers of one class that are left out one by one, at most: the first, the last, and evenly spread between."""


def audit(
    trace: Trace,
    profiles: Sequence[Profile],
    predicate: Predicate,
    *,
    seed: int = 0,
    singles: int = SINGLES,
    limit: int = LIMIT,
) -> Audit:
    """Return every class of barriers of ``trace`` with what leaving it out does under each profile.

    A predicate may raise :class:`LimitReachedError`; ``limit`` counts judged states. Then ``note`` says so, and classes
    that were not reached have no removals. Raises ``ReplayError`` where the trace contradicts itself.
    """
    meter = Meter(trace, profiles, seed, limit)
    names = tuple(profile.name for profile in profiles)
    classes = barriers(trace)
    done: list[Barrier] = []
    before = Measured((), ())
    note = ""
    try:
        before = meter.measure((), predicate)
        for found in classes:
            done.append(_audited(meter, predicate, before, found, singles))
    except LimitReachedError as reached:
        note = str(reached) or "the search ended before it was through"
    known = (*done, *classes[len(done) :])
    return Audit(profiles=names, before=before.tallies, barriers=known, judged=meter.judged, note=note)


def barriers(trace: Trace) -> tuple[Barrier, ...]:
    """Return the barriers of a trace by kind, role and position, in the order of the run; none is audited yet."""
    places = Places(trace)
    found: dict[tuple[str, str, str], Barrier] = {}
    for op in places.operations:
        described = _described(places, op)
        if described is None:
            continue
        kind, path, position = described
        known = found.get((kind, path_role(path), position))
        operations = (*known.operations, op.seq) if known is not None else (op.seq,)
        first = known.path if known is not None else path
        found[kind, path_role(path), position] = Barrier(
            kind=kind, role=path_role(path), path=first, position=position, operations=operations
        )
    return tuple(found.values())


def _described(places: Places, op: AnyOperation) -> tuple[str, str, str] | None:
    """Return (kind, path, position) of a barrier; ``None`` for what is none, or cannot be left out."""
    if op.error:
        return None
    tree = places.before[op.seq]
    if isinstance(op, Rename):
        moved = tree.node_at(op.path)
        replaced = tree.node_at(op.to)
        alone = tree.names_of(tree.names[op.path]) == (op.path,) and op.path != op.to
        plain = isinstance(moved, File) and not op.exchange and alone
        if not plain or not (replaced is None or isinstance(replaced, File)):
            return None
        return "rename", op.to, "over what is there" if replaced is not None else "to a new name"
    if isinstance(op, Open) and op.flags & O_DSYNC and op.path is not None:
        return ("O_SYNC" if op.flags & O_SYNC == O_SYNC else "O_DSYNC"), op.path, "at every write"
    if not isinstance(op, Sync) or op.scope == "range":
        return None
    if op.ino < 0:
        return "sync", ".", _leads_to(places, op, "")
    path = places.paths[op.seq]
    if op.ino == 0 or isinstance(tree.nodes.get(op.ino), Directory):
        return "fsync of the directory", path, _follows(places, op, "" if path == "." else path)
    return "fdatasync" if op.scope == "data" else "fsync", path, _leads_to(places, op, path)


def _leads_to(places: Places, op: AnyOperation, path: str) -> str:
    for later in places.operations[op.seq + 1 :]:
        if isinstance(later, Ack):
            return "before the acknowledgement"
        if path and isinstance(later, Rename) and later.path == path:
            return "before its rename"
    return "at the end"


def _follows(places: Places, op: AnyOperation, directory: str) -> str:
    """Return after which change of its entries a directory is synced."""
    for earlier in reversed(places.operations[: op.seq]):
        path = places.paths[earlier.seq]
        if path.rpartition("/")[0] != directory or earlier.error:
            continue
        if isinstance(earlier, Rename):
            return f"after the rename to {path_role(path)}"
        if isinstance(earlier, Unlink):
            return f"after the removal of {path_role(path)}"
        if earlier.kind in ("mkdir", "mknod", "link") or (isinstance(earlier, Open) and earlier.created):
            return f"after {path_role(path)} is made"
    return "without a change of its entries"


def _left_out(places: Sequence[AnyOperation], operations: Sequence[int]) -> tuple[AnyEdit, ...]:
    return tuple(
        RewriteInPlace(at=number) if isinstance(places[number], Rename) else DropSync(at=number)
        for number in operations
    )


def _audited(meter: Meter, predicate: Predicate, before: Measured, barrier: Barrier, singles: int) -> Barrier:
    operations, kill = meter.trace.operations, barrier.kind == "rename"
    without = meter.measure(_left_out(operations, barrier.operations), predicate, kill=kill)
    removals = {item.under: item for item in _removals(before, without)}
    tried = _spread(barrier.operations, singles) if len(barrier.operations) > 1 else ()
    for number in tried:
        one = meter.measure(_left_out(operations, (number,)), predicate, kill=kill)
        for item in _removals(before, one):
            if item.states:
                known = removals[item.under]
                removals[item.under] = msgspec.structs.replace(known, singles=known.singles + 1)
    return msgspec.structs.replace(barrier, removals=tuple(removals.values()), tried=len(tried))


def _removals(before: Measured, without: Measured) -> list[Removal]:
    """Return, per profile, what is violated now and was not before."""
    known = {(cause.under, *key_of(cause)) for cause in before.causes}
    clean = {tally.under: not tally.violated for tally in before.tallies}
    out = []
    for tally in without.tallies:
        causes = tuple(
            cause
            for cause in without.causes
            if cause.under == tally.under and (cause.under, *key_of(cause)) not in known
        )
        most = max((cause.states for cause in causes), default=0)
        out.append(
            Removal(under=tally.under, states=tally.violated if clean[tally.under] else most, causes=causes)
        )
    return out


def _spread(numbers: Sequence[int], count: int) -> Sequence[int]:
    if len(numbers) <= count:
        return numbers
    step = (len(numbers) - 1) / max(1, count - 1)
    return [numbers[round(index * step)] for index in range(count)]
