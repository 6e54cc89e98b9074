"""One writer on one file system, cut everywhere: are all disks that were seen in the set that its profile allows?"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.core.profile import Profile
from harness.core.run import RunSpec
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.engines.block import observe, record_on_disk
from harness.engines.block.disk import Slow
from harness.engines.block.recording import Commit
from harness.explore.power.effects import effects_of
from harness.explore.power.membership import Membership
from harness.explore.power.order import order_of
from harness.explore.power.states import Explorer
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace
from tests.block.conftest import pattern_spec, tree_from
from tests.calibration import program

COMMITS: tuple[Commit, ...] = ("end", "each")
SLOW = Slow(min_bytes=16_384, ms=2)
SUBSETS = 12
"""Seeded subsets per flush epoch: more than a confirmation takes."""


class Strange(NamedTuple):
    """A disk that was seen and that the profile does not allow: ``where`` says when, ``what`` what was there."""

    where: str
    what: str


class Measured(NamedTuple):
    """What one writer left on one file system. ``observed`` and ``predicted`` count distinct trees."""

    pattern: str
    profile: str
    commit: Commit
    cuts: int
    unmountable: int
    observed: frozenset[int]
    predicted: frozenset[int]
    strange: tuple[Strange, ...]

    @property
    def share(self) -> float:
        """Of the distinct trees that the profile predicts, those that were seen."""
        return len(self.observed & self.predicted) / max(1, len(self.predicted))


def program_spec(seed: str, workspace: Workspace) -> RunSpec:
    """Return the run of the random writer ``seed``."""
    return RunSpec(
        argv=(real_python(), "-ISE", program.__file__, seed, workspace.root),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(),
        start=tree_from(program.START),
    )


def predicted(trace: Trace, profile: Profile) -> frozenset[int]:
    """Return the keys of the trees that exploring the trace yields."""
    explorer = Explorer(order_of(effects_of(trace, profile), profile))
    return frozenset(state.tree.key for state in explorer.states())


def describe(tree: Tree) -> str:
    """Return names, sizes and what kind of bytes: enough to see what a strange disk is."""
    shown = []
    for path, file in sorted(tree.files()):
        data = file.content.to_bytes()
        words = sorted({word.decode("ascii", "replace") for word in data.replace(b"\0", b" ").split()})
        nuls = data.count(0)
        shown.append(f"{path}:{len(data)}" + (f" NUL×{nuls}" if nuls else "") + f" {','.join(words[:12])}")
    return "; ".join(shown)


def measure(pattern: str, profile: Profile, commit: Commit, seed: int = 0, slow: Slow | None = SLOW) -> Measured:
    """Record a pattern on the file system of ``profile``, cut it everywhere, and hold what is left to the profile.

    ``slow``: large writes are held back at the disk, as one does that is busy; metadata overtakes data then.
    """
    place = tempfile.mkdtemp(prefix="tornwrite-calibration-")
    try:
        workspace = Workspace(f"{place}/workspace")
        spec = program_spec(pattern, workspace) if pattern.isdecimal() else pattern_spec(pattern, workspace)
        recorded = record_on_disk(spec, profile.filesystem, profile.mount_options, commit, slow=slow)
        trace = recorded.recording.trace
        assert trace is not None
        assert recorded.recording.exit_code == 0, recorded.recording.stderr_tail
        assert not recorded.recording.differences, recorded.recording.differences
        membership = Membership(order_of(effects_of(trace, profile), profile))
        cuts = unmountable = 0
        seen: dict[tuple[int, int, int], bool] = {}
        strange: list[Strange] = []
        for state in observe(recorded, seed=seed, subsets=SUBSETS):
            cuts += 1
            if state.tree is None:
                unmountable += 1
                continue
            key = (state.tree.key, state.low, state.high)
            if key in seen:
                continue
            seen[key] = membership.find(state.tree, state.low, state.high) is not None
            if not seen[key]:
                at = f"{pattern} {profile.name} {commit} epoch {state.cut.epoch} {state.cut.shape}"
                ops = f"operations {state.low} to {state.high} of {len(trace.operations)}"
                strange.append(Strange(f"{at}, {ops}", describe(state.tree)))
        return Measured(
            pattern=pattern,
            profile=profile.name,
            commit=commit,
            cuts=cuts,
            unmountable=unmountable,
            observed=frozenset(key[0] for key in seen),
            predicted=predicted(trace, profile),
            strange=tuple(strange),
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure_all(
    patterns: Sequence[str], profiles: Iterable[Profile], commits: Sequence[Commit], seed: int = 0
) -> Iterable[Measured]:
    """Measure every combination."""
    for profile in profiles:
        for pattern in patterns:
            for commit in commits:
                yield measure(pattern, profile, commit, seed)
