"""Runs made up by hypothesis, and writers by hand, for the tests of trace edits, advice and audit."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from harness.catalog.profiles import load_profile
from harness.core.apply import apply
from harness.core.fault import FaultClass
from harness.core.operation import Ack, Close, Rename
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.core.tree import Tree, tree_of
from harness.core.verdict import Violation
from harness.explore.power.effects import effects_of
from harness.explore.power.order import order_of
from harness.explore.power.states import Explorer
from harness.explore.script import Script

PROFILES = tuple(load_profile(name) for name in ("posix", "ext4", "xfs", "btrfs"))
NAMES = ("a", "b", "d/c")
START = tree_of({"a": b"A" * 700, "d/e": b"E"})
MANY = 1 << 16
"""Lost sets up to which a crash point is explored in full: more than the small runs here have."""


@st.composite
def runs(draw: st.DrawFn, steps: int = 5) -> Trace:
    """Return a run of a few steps: rewrites, appends, replacements, renames, removals, syncs, acknowledgements."""
    script = Script(START)
    acks = 0
    for _ in range(draw(st.integers(1, steps))):
        name = draw(st.sampled_from(NAMES))
        data = draw(st.sampled_from((b"x", b"y" * 600, b"z" * 1100)))
        step = draw(st.sampled_from(("put", "append", "replace", "rename", "unlink", "sync", "ack")))
        if step == "put":
            script.put(name, data)
        elif step == "append":
            fd = script.open(name, append=True)
            script.write(fd, data)
            if draw(st.booleans()):
                script.fsync(fd)
            script.close(fd)
        elif step == "replace":
            script.replace(name, data)
        elif step == "rename" and name in script.tree.names:
            script.rename(name, draw(st.sampled_from(NAMES)))
        elif step == "unlink" and name in script.tree.names:
            script.unlink(name)
        elif step == "sync":
            script.sync_directory(draw(st.sampled_from(("", "d"))))
        elif step == "ack":
            acks += 1
            script.ack(acks)
    return script.trace()


@st.composite
def tangled_runs(draw: st.DrawFn, calls: int = 14) -> Trace:
    """Return a run of single calls of two processes that hold files open across renames, removals and each other."""
    script = Script(START, actors=2)
    opened: list[tuple[int, int]] = []
    acks = 0
    for _ in range(draw(st.integers(1, calls))):
        actor = draw(st.integers(0, 1))
        name, other = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
        call = draw(
            st.sampled_from(("open", "write", "write", "truncate", "fsync", "close", "rename", "link", "ack"))
        )
        mine = [fd for fd, owner in opened if owner == actor]
        if call == "open":
            how = draw(st.sampled_from(({}, {"truncate": True}, {"append": True})))
            opened.append((script.open(name, actor=actor, **how), actor))
        elif call == "rename" and name in script.tree.names:
            script.rename(name, other, exchange=draw(st.booleans()) and other in script.tree.names, actor=actor)
        elif call == "link" and name in script.tree.names and other not in script.tree.names:
            script.link(name, other, actor=actor)
        elif call == "ack":
            acks += 1
            script.ack(f"record-{acks}", actor=actor)
        elif mine and call in ("write", "truncate", "fsync", "close"):
            fd = draw(st.sampled_from(mine))
            if call == "write":
                at = draw(st.sampled_from((None, 0, 300)))
                script.write(
                    fd, draw(st.sampled_from((b"x" * 200, b"record-1 record-2", b"z" * 900))), at=at, actor=actor
                )
            elif call == "truncate":
                script.truncate(fd, draw(st.sampled_from((0, 100))), actor=actor)
            elif call == "fsync":
                script.fsync(fd, actor=actor)
            else:
                script.close(fd, actor=actor)
                opened.remove((fd, actor))
    return script.trace()


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
