"""The end of a recording: the tree read from disk, whether replaying the trace gives it, and what it cost."""

from __future__ import annotations

import msgspec

from harness.core.apply import ReplayError, replay
from harness.core.content import FileTooLargeError
from harness.core.run import Ending, RunSpec
from harness.core.trace import Trace
from harness.core.tree import EMPTY_TREE, Tree, differences
from harness.sandbox.snapshot import UnreadableStateError, read_tree

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its dead children; 0 where the system does not tell."""
    if resource is None:
        return 0.0
    own, dead = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(own.ru_utime + own.ru_stime + dead.ru_utime + dead.ru_stime)


def read_final(spec: RunSpec, ending: Ending, detail: str) -> tuple[Tree, Ending, str]:
    """Return the tree on disk with the ending of the run; one that cannot be read is a limit that was passed."""
    try:
        return read_tree(spec.root, spec.limits.state_bytes).tree, ending, detail
    except UnreadableStateError as error:
        return EMPTY_TREE, "limit", detail or str(error)


def verified(trace: Trace, final: Tree, mapped: frozenset[int]) -> tuple[tuple[str, ...], Trace]:
    """Return how replaying the trace differs from ``final``, and the trace with its unseen paths completed."""
    try:
        expected = replay(trace.start, trace.operations)
    except (ReplayError, FileTooLargeError) as error:
        return (str(error),), trace
    unseen = {*trace.unseen_paths, *(path for ino in mapped for path in expected.names_of(ino))}
    if unseen != set(trace.unseen_paths):
        trace = msgspec.structs.replace(trace, unseen_paths=tuple(sorted(unseen)))
    return tuple(differences(expected, final, frozenset(unseen))), trace
