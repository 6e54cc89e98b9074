"""Facts of a fork: by how many writes, under which name, it is made, and what becomes of its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from harness.campaign.work import distinct_states
from harness.catalog import Workload
from harness.core.apply import trees_before
from harness.core.operation import Write
from harness.core.point import operation_path
from harness.explore import crash_states
from harness.seeds.bench import NotThereError, bench
from harness.seeds.claim import Claim, Fact

WORKLOAD = Workload(sessions=1, updates=40, record_bytes=(600, 12_000))


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
    shown = f"{harmed} of {len(states):,} kill states differ in what was there before the fork"
    return Fact(value=not harmed, shown=shown)


def orphan_stays(claim: Claim) -> Fact:
    """Whether a half-written new session, left by a kill, is still there after the program has started again."""
    with bench(claim.variant, WORKLOAD) as here:
        recording = here.record()
        whole = {path: file.content.size for path, file in recording.final.files()}
        for state in distinct_states(crash_states(recording.trace, "kill")) if recording.trace else ():
            for path, file in state.tree.files():
                if _is_new(path, here.start.names) and file.content.size < whole.get(path, 0):
                    stays = here.recover(state.tree).after.node_at(path) is not None
                    shown = f"a new session of {file.content.size:,} of {whole[path]:,} bytes"
                    return Fact(value=stays, shown=f"{shown} {'stays' if stays else 'goes'}")
    return Fact(value=False, shown="no kill of this writer leaves a half-written session")


def _is_new(path: str, names: Mapping[str, int]) -> bool:
    return path.endswith(".jsonl") and path not in names


MEASUREMENTS: Mapping[str, Callable[[Claim], Fact]] = MappingProxyType(
    {
        "orphan_stays": orphan_stays,
        "source_untouched": source_untouched,
        "writes_of_the_fork": writes_of_the_fork,
    }
)
"""By the name that a claim gives."""
