"""What a power loss may leave of a run, and what documents owe, for the tests of trace edits, advice and audit."""

from __future__ import annotations

from collections.abc import Sequence

from harness.catalog.profiles import load_profile
from harness.core.apply import apply
from harness.core.fault import FaultClass
from harness.core.operation import Ack, Close, Rename
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.explore.power.effects import effects_of
from harness.explore.power.order import order_of
from harness.explore.power.states import Explorer

PROFILES = tuple(load_profile(name) for name in ("posix", "ext4", "xfs", "btrfs"))
MANY = 1 << 16
"""Lost sets up to which a crash point is explored in full: more than the small runs here have."""


def states(trace: Trace, profile: Profile) -> set[tuple[int, int]]:
    """Return every state that the profile allows, as (key, acknowledgements)."""
    explorer = Explorer(order_of(effects_of(trace, profile), profile), exhaustive=MANY)
    found = {(state.tree.key, state.acked) for state in explorer.states()}
    assert set(explorer.coverage) <= {"exhaustive", "kept"}
    return found


class Versions:
    """A predicate over documents: each holds a version that the run published, and none older than acknowledged.

    A name that ends in ``.tmp`` is a temporary. Built from the recorded run, as the judge of a campaign is.
    """

    def __init__(self, trace: Trace) -> None:
        tree = trace.start
        self.versions: dict[str, list[bytes | None]] = {}
        self.owed: list[dict[str, int]] = []
        self._publish(tree)
        self.owed.append({path: len(known) - 1 for path, known in self.versions.items()})
        for op in trace.operations:
            tree = apply(tree, op)
            if isinstance(op, Close | Rename):
                self._publish(tree)
            if isinstance(op, Ack):
                self.owed.append({path: len(known) - 1 for path, known in self.versions.items()})

    def _publish(self, tree: Tree) -> None:
        for path, file in tree.files():
            if path.endswith(".tmp"):
                continue
            known = self.versions.setdefault(path, [] if not self.owed else [None])
            data = file.content.to_bytes()
            if not known or known[-1] != data:
                known.append(data)

    def __call__(self, tree: Tree, acked: int, fault_class: FaultClass) -> Sequence[Violation]:
        """Return what is wrong with a tree."""
        found = []
        here = {path: file.content.to_bytes() for path, file in tree.files()}
        for path, known in self.versions.items():
            data = here.get(path)
            if data not in known:
                damage = "empty" if data == b"" else "missing" if data is None else "torn"
                found.append(Violation(invariant="M1", path=path, damage=damage, message=""))
            elif max(number for number, each in enumerate(known) if each == data) < self.owed[acked].get(path, 0):
                damage = "missing" if data is None else "stale"
                found.append(Violation(invariant="M1", path=path, damage=damage, message=""))
        return found
