"""Facts of a fork: by how many writes, under which name, it is made, and what becomes of its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from harness.campaign.work import distinct_states
from harness.catalog import Workload, parse_listing
from harness.core.apply import trees_before
from harness.core.fault import FaultClass
from harness.core.operation import Write
from harness.core.point import operation_path
from harness.core.run import Recording
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.explore import crash_states
from harness.explore.power.exploration import PowerPredicate
from harness.seeds.bench import Bench, NotThereError, bench
from harness.seeds.claim import Claim, Fact
from harness.seeds.losses import spell_states, states_with

WORKLOAD = Workload(sessions=1, updates=40, record_bytes=(600, 12_000))
NO_ORPHAN = "no kill of this writer leaves a half-written session"
LISTED = 8
"""About how many states are shown to the lister, spread evenly over the run."""


def writes_of_the_fork(claim: Claim) -> Fact:
    """How many writes go to a new session's own name, where readers look for it."""
    with bench(claim.variant, WORKLOAD) as here:
        recording = here.record()
    trace = recording.trace
    if trace is None or recording.exit_code:
        raise NotThereError(f"{claim.variant}: its run did not succeed")
    sizes = [
        len(op.data)
        for op, before in zip(trace.operations, trees_before(trace), strict=False)
        if isinstance(op, Write) and _is_new(operation_path(op, before), trace.start.names)
    ]
    shown = f"{len(sizes)} writes to the new session's own name" + (f", {sum(sizes):,} bytes" if sizes else "")
    return Fact(value=len(sizes), shown=shown)


def source_untouched(claim: Claim) -> Fact:
    """Whether the session that is forked has all its bytes in every state that a kill of the writer leaves."""
    with bench(claim.variant, WORKLOAD) as here:
        states, start = here.killed(), dict(here.start.files())
    harmed = sum(
        any(path not in found or found[path].content != file.content for path, file in start.items())
        for found in (dict(state.tree.files()) for state in states)
    )
    shown = (
        f"{len(states) - harmed:,} of {len(states):,} kill states still have all that was there before the fork"
    )
    return Fact(value=not harmed, shown=shown)


def source_kept_by_power(claim: Claim) -> Fact:
    """Whether the session that is forked has all its bytes in every state that a power loss can leave."""

    def look(here: Bench, recording: Recording) -> PowerPredicate:
        del recording
        start = dict(here.start.files())

        def wrong(tree: Tree, acked: int, fault_class: FaultClass) -> list[Violation]:
            del acked, fault_class
            found = dict(tree.files())
            harmed = [
                path for path, file in start.items() if path not in found or found[path].content != file.content
            ]
            return [Violation(invariant="B5", path=path, damage="lost", message="changed") for path in harmed]

        return wrong

    found = states_with(claim, look)
    return Fact(value=not any(each.bad for each in found), shown=f"source harmed: {spell_states(found)}")


class Orphan(NamedTuple):
    """A state with a half-written new session: its path, its size, and how large it was to be."""

    state: Tree
    path: str
    size: int
    whole: int


def _orphans(here: Bench) -> Iterator[Orphan]:
    """Yield the writer's kill states that have a half-written new session, in the order of the run."""
    recording = here.record()
    whole = {path: file.content.size for path, file in recording.final.files()}
    for state in distinct_states(crash_states(recording.trace, "kill")) if recording.trace else ():
        for path, file in state.tree.files():
            if _is_new(path, here.start.names) and file.content.size < whole.get(path, 0):
                yield Orphan(state.tree, path, file.content.size, whole[path])


def orphan_listed(claim: Claim) -> Fact:
    """Whether the target's own lister shows a half-written new session; of an empty one it has nothing to show."""
    with bench(claim.variant, WORKLOAD) as here:
        found = list(_orphans(here))
        asked = found[:: max(1, len(found) // LISTED)]
        listed = [each for each in asked if _session(each.path) in _listed(here, each.state)]
    if not found:
        return Fact(value=False, shown=NO_ORPHAN)
    shown = f"its lister shows {len(listed)} of {len(asked)} half-written sessions that it was asked about"
    sizes = f", the smallest of {listed[0].size:,} of {listed[0].whole:,} bytes" if listed else ""
    return Fact(value=bool(listed), shown=shown + sizes)


def _listed(here: Bench, state: Tree) -> frozenset[str]:
    result = here.list(state).result
    if result.exit_code:
        raise NotThereError(f"{here.subject.label}: its lister failed")
    return frozenset(parse_listing(result.stdout).ids)


def orphan_stays(claim: Claim) -> Fact:
    """Whether a half-written new session, left by a kill, is still there after the program has started again."""
    with bench(claim.variant, WORKLOAD) as here:
        found = next(_orphans(here), None)
        if found is None:
            return Fact(value=False, shown=NO_ORPHAN)
        stays = here.recover(found.state).after.node_at(found.path) is not None
    shown = f"a new session of {found.size:,} of {found.whole:,} bytes"
    return Fact(value=stays, shown=f"{shown} {'stays' if stays else 'goes'}")


def _session(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".jsonl")


def _is_new(path: str, names: Mapping[str, int]) -> bool:
    return path.endswith(".jsonl") and path not in names


MEASUREMENTS: Mapping[str, Callable[[Claim], Fact]] = MappingProxyType(
    {
        "orphan_listed": orphan_listed,
        "orphan_stays": orphan_stays,
        "source_kept_by_power": source_kept_by_power,
        "source_untouched": source_untouched,
        "writes_of_the_fork": writes_of_the_fork,
    }
)
"""By the name that a claim gives."""
