"""Which failing system calls are worth a real run, most telling first.

What a program does after an error cannot be read off a trace of a run without one, so these plans are for engines.
The order is by what they find per run: a short write that nobody notices, a full disk at each write, then at the
operations that make names, then the rest of the table, each once and persistently.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from harness.core.apply import trees_before
from harness.core.fault import CrashPoint, Errno, Fault, FaultPlan, Short
from harness.core.operation import AnyOperation, Open, Write
from harness.core.point import at_phase, crash_points
from harness.core.trace import Trace

FAILURES: dict[str, tuple[int, ...]] = {
    "write": (errno.ENOSPC, errno.EIO),
    "open": (errno.EACCES,),
    "truncate": (errno.EIO,),
    "rename": (errno.EACCES, errno.ENOSPC, errno.EXDEV, errno.EPERM, errno.EBUSY),
    "link": (errno.EACCES, errno.ENOSPC),
    "unlink": (errno.EACCES,),
    "mkdir": (errno.ENOSPC, errno.EACCES),
    "mknod": (errno.ENOSPC, errno.EACCES),
    "sync": (errno.EIO,),
    "chmod": (errno.EACCES,),
    "utimens": (errno.EACCES,),
    "lock": (errno.EIO,),
}
"""The errors each operation can be met with in the field. An ``open`` that creates also meets ENOSPC."""

_NEEDS_SPACE = frozenset({"write", "mkdir", "mknod", "link", "open"})
"""Operations for which a full disk stays full: planned persistently too."""


def _strikeable(trace: Trace) -> list[tuple[AnyOperation, CrashPoint]]:
    points = crash_points(trace, trees_before(trace))
    return [
        (op, point)
        for op, point in zip(trace.operations, points, strict=False)
        if point is not None and not op.error and op.kind in FAILURES
    ]


def _errors(op: AnyOperation) -> tuple[int, ...]:
    if isinstance(op, Open):
        return (errno.ENOSPC, *FAILURES["open"]) if op.created else FAILURES["open"]
    return FAILURES[op.kind]


def _shorts(op: Write, point: CrashPoint) -> list[Short]:
    """Half, all but the last byte, one byte, and half followed by a full disk."""
    size = len(op.data)
    if size < 2:
        return []
    half = at_phase(point, "torn", size // 2)
    cuts = dict.fromkeys((size // 2, size - 1, 1))
    plans = [Short(at=at_phase(point, "torn", cut)) for cut in cuts]
    plans.insert(1, Short(at=half, then_errno=errno.ENOSPC))
    return plans


def _telling(writes: Sequence[tuple[Write, CrashPoint]]) -> list[tuple[Write, CrashPoint]]:
    """Return the writes most likely to matter, first: per role the largest, then first and last."""
    by_role: dict[str, list[tuple[Write, CrashPoint]]] = {}
    for write, point in writes:
        by_role.setdefault(point.role, []).append((write, point))
    chosen: dict[int, tuple[Write, CrashPoint]] = {}
    for same in sorted(by_role.values(), key=lambda items: -max(len(write.data) for write, _ in items)):
        largest = max(same, key=lambda item: len(item[0].data))
        for item in (largest, same[0], same[-1]):
            chosen[item[0].seq] = item
    return list(chosen.values())


def _in_order(trace: Trace) -> Iterator[Fault]:
    strikeable = _strikeable(trace)
    writes = [(op, point) for op, point in strikeable if isinstance(op, Write)]
    telling = _telling(writes)
    first_of_role: dict[str, tuple[Write, CrashPoint]] = {}
    for write, point in telling:
        first_of_role.setdefault(point.role, (write, point))
    for write, point in list(first_of_role.values())[:3]:
        yield from _shorts(write, point)[:1]
        yield Errno(at=point, errno=errno.ENOSPC, persistent=True)
        yield Errno(at=point, errno=errno.ENOSPC)
    for write, point in telling:
        yield from _shorts(write, point)
    for error_index in range(max(map(len, FAILURES.values()))):
        for op, point in strikeable:
            errors = _errors(op)
            if error_index < len(errors):
                yield Errno(at=point, errno=errors[error_index])
                if errors[error_index] == errno.ENOSPC and op.kind in _NEEDS_SPACE:
                    yield Errno(at=point, errno=errno.ENOSPC, persistent=True)
    for write, point in writes:
        yield from _shorts(write, point)


def errno_plans(trace: Trace) -> Iterator[FaultPlan]:
    """Yield every plan once, the most telling first; each has one fault.

    The caller stops at its budget, or skips the later occurrences of a point once a run was left untouched.
    """
    seen: set[Fault] = set()
    for fault in _in_order(trace):
        if fault not in seen:
            seen.add(fault)
            yield FaultPlan(faults=(fault,))
